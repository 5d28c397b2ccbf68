"""The folder of one salvage, and what is noted of it in the entry's folder: one that was killed goes on from there."""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.durable import sync_directory, write_all


@dataclass(frozen=True, slots=True)
class Folder:
    folder: Path  # what is written
    notes: Path  # the entry's own folder
    form: str

    @property
    def _done(self) -> Path:
        return self.notes / f"{self.folder.name}.written.jsonl"

    def done(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._done.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    said = json.loads(line)
                    found[said["name"]] = said
        return found

    def note(self, said: dict[str, Any]) -> None:
        """Note durably that a file is done; its name in the folder is durable first."""
        sync_directory(self.folder)
        descriptor = os.open(self._done, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, b"\n" + json.dumps(said).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(self.notes)
