"""What was held down, and how it was before: kept on disk, so that another process can put it back, also after a boot.

Docker forgets the restart policy that `update` replaces, Kubernetes the number of replicas, and by hand nobody knows.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from console.digests import digest_of
from console.durable import sync_directory, write_all
from console.paths import make_private, read_file
from console.services.model import ServiceError
from console.settings import Settings

_MOST = 1 << 16  # bytes of one record


class Holds:
    """One small file for each unit that is held, below the state directory."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.state_path / "held"
        services = settings.services
        self._station = (services.backend, services.namespace, settings.questdb.db_root)

    def noted(self, unit: str) -> Mapping[str, str] | None:
        """Return what was noted when `unit` was held; None where it is not held, or the note cannot be read."""
        try:
            said = json.loads(read_file(self._file(unit), _MOST))
        except (OSError, ValueError):
            return None
        return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else None

    def note(self, unit: str, before: Mapping[str, str]) -> None:
        """Note durably that `unit` is held, and how it was before; what was noted first stays.

        Raises ServiceError where it cannot be written: then nothing may be held.
        """
        if self.noted(unit) is not None:
            return
        file = self._file(unit)
        beside = file.with_suffix(".new")
        try:
            make_private(self._folder)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, json.dumps(dict(before)).encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            beside.replace(file)
            sync_directory(self._folder)
        except OSError as error:
            raise ServiceError(f"{file} cannot be written ({error.strerror}), so {unit} is not held down") from error

    def forget(self, unit: str) -> None:
        """Take the note away; nothing happens if there is none. Raises ServiceError if it cannot be removed."""
        file = self._file(unit)
        try:
            file.unlink()
            sync_directory(self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ServiceError(f"{file} cannot be removed ({error.strerror}); remove it as its owner") from error

    def _file(self, unit: str) -> Path:
        return self._folder / f"{digest_of(*self._station, unit)[:32]}.json"
