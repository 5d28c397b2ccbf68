"""The place of one rehearsal, and what is left of those that were killed.

`rehearsals/ID.json` in the state directory says where the clone lies, `rehearsals/ID.lock` is held with flock while the
rehearsal lives. A record whose lock can be won belongs to a rehearsal that was killed: its server is ended and its
folder removed by the next one.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from pathlib import Path

import psutil

from console.errors import WalmedicError
from console.recovery.store.state import StateDir, write_private
from console.text import clean_line

_PREFIX, _MARKER = "walmedic-rehearsal-", ".walmedic-rehearsal"


class RehearsalFolder:
    """A folder of its own for one rehearsal, below `to` or the state directory; removed at the end unless kept."""

    def __init__(self, state: StateDir, to: Path | None = None) -> None:
        self.id = f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        self._state = state
        self._records = state.root / "rehearsals"
        self.place = (to.resolve() if to is not None else self._records) / f"{_PREFIX}{self.id}"
        self.kept = False
        self._lock = -1

    @property
    def root(self) -> Path:
        """The clone's data root, which holds `db/` and its own `conf/`."""
        return self.place / "clone"

    @property
    def db(self) -> Path:
        return self.root / "db"

    @property
    def state(self) -> Path:
        return self.place / "state"

    def __enter__(self) -> "RehearsalFolder":
        self._state.made(self._records)
        self._lock = _locked(self._records / f"{self.id}.lock", create=True)
        write_private(self._record, json.dumps({"id": self.id, "place": str(self.place)}).encode())
        try:
            if not self.place.parent.is_dir():
                raise NotADirectoryError(20, "it is not a directory", str(self.place.parent))
            self.place.mkdir(mode=0o700)
            (self.place / _MARKER).write_text(self.id)
            self.root.mkdir(mode=0o700)
        except OSError as error:
            self._let_go()
            raise WalmedicError(
                f"no clone can be made in {clean_line(str(self.place.parent))} "
                f"({(error.strerror or str(error)).lower()}); name another directory with --to"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self.kept:
            write_private(self._record, json.dumps({"id": self.id, "place": str(self.place), "kept": True}).encode())
            os.close(self._lock)
            return
        self._let_go()

    def _let_go(self) -> None:
        try:
            _remove(self.place, self.id)
            self._record.unlink(missing_ok=True)
            self._record.with_suffix(".lock").unlink(missing_ok=True)
        finally:
            os.close(self._lock)

    @property
    def _record(self) -> Path:
        return self._records / f"{self.id}.json"


def remove_leftovers(state: StateDir) -> tuple[str, ...]:
    """Remove what killed rehearsals left, their servers first; return the ids. One that is kept stays."""
    records = state.root / "rehearsals"
    removed = []
    for path in sorted(records.glob("*.json")):
        try:
            document = json.loads(path.read_bytes())
            rehearsal, place = str(document["id"]), Path(str(document["place"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if document.get("kept") or rehearsal != path.stem or place.name != f"{_PREFIX}{rehearsal}":
            continue
        try:
            lock = _locked(path.with_suffix(".lock"), create=True)
        except OSError:
            continue  # it lives
        try:
            end_servers(place)
            _remove(place, rehearsal)
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
            removed.append(rehearsal)
        finally:
            os.close(lock)
    return tuple(removed)


def end_servers(place: Path, timeout: float = 20.0) -> None:
    """End the servers that a killed rehearsal left on its clone in `place`: known by that very path as an argument."""
    clone = str(place / "clone")
    left = [p for p in psutil.process_iter(["cmdline"]) if clone in (p.info["cmdline"] or ())]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=timeout)


def _locked(path: Path, *, create: bool) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(place: Path, rehearsal: str) -> None:
    """Remove a rehearsal's folder; only one that carries its own mark, and never through a link."""
    marker = place / _MARKER
    if place.is_symlink() or not place.is_dir():
        return
    inside = [path for path in place.iterdir() if path != marker]
    if inside and (marker.is_symlink() or not marker.is_file() or marker.read_text(errors="replace") != rehearsal):
        return
    for path in inside:
        shutil.rmtree(path)
    # The mark goes last: what a kill leaves half removed is known by it.
    marker.unlink(missing_ok=True)
    place.rmdir()
