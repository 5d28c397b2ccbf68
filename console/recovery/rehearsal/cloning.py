"""Making the clone: blocks shared where the file system can (FICLONE), else copied with their holes. Never hard links.

Symbol files of WAL directories are hard links to the table's own; in the clone each is a file by itself, because a
server may write the table's in place. Times and modes are kept (owners too, for root): plans and proofs rest on them.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.copying import copy_data, reflink
from console.questdb.layout import DatabaseRoot
from console.questdb.reading import open_for_reading
from console.recovery.rehearsal.selection import CloneError, CloneSelection
from console.recovery.store.locks import SERVER_LOCK_NAME
from console.recovery.store.places import free_space
from console.text import clean_line

OnBytes = Callable[[str, int], None]
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes that a rehearsal will take in its place, and what is there; `reserve` must stay free."""

    needed: int
    free: int
    reserve: int

    @property
    def enough(self) -> bool:
        return self.free - self.needed >= self.reserve


def shares_blocks(source: Path, folder: Path) -> bool:
    """Return whether a file like `source` can be cloned into `folder` without taking space: tried, not guessed."""
    trial = folder / ".reflink"
    reading = open_for_reading(source)
    try:
        writing = os.open(trial, _CREATE, 0o600)
        try:
            return reflink(reading, writing)
        finally:
            os.close(writing)
            trial.unlink()
    finally:
        os.close(reading)


def space_in(folder: Path, needed: int) -> Space:
    """Return what `needed` bytes mean where `folder` lies."""
    free, reserve = free_space(folder)
    return Space(needed, free, reserve)


def make_clone(
    database: DatabaseRoot, selection: CloneSelection, db: Path, *, share: bool, on_bytes: OnBytes | None = None
) -> None:
    """Make the clone of `selection` at the new directory `db`. Raises CloneError where the original changes meanwhile.

    The originals are opened for reading only, no link is followed.
    """
    db.mkdir(mode=0o700)
    for directory in selection.directories:
        # The owner's rights are completed: what is cloned must be removable again.
        (db / directory).mkdir(mode=0o700)
    for file in selection.files:
        _clone_file(database.db / file.path, db / file.path, file.path, share=share)
        if on_bytes is not None:
            on_bytes(file.path, file.size)
    for directory in reversed(selection.directories):
        status = (database.db / directory).lstat()
        _hand_over(db / directory, status, stat.S_IMODE(status.st_mode) | 0o700)
    (db / SERVER_LOCK_NAME).touch(mode=0o600)


def _clone_file(source: Path, target: Path, name: str, *, share: bool) -> None:
    reading = open_for_reading(source)
    try:
        before = os.fstat(reading)
        writing = os.open(target, _CREATE, 0o600)
        try:
            if not (share and reflink(reading, writing)):
                copy_data(reading, writing, before.st_size)
        finally:
            os.close(writing)
        after = os.fstat(reading)
    finally:
        os.close(reading)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise CloneError(f"{clean_line(name)} changed while it was cloned; stop what writes it and rehearse again")
    _hand_over(target, before, stat.S_IMODE(before.st_mode))


def _hand_over(target: Path, status: os.stat_result, mode: int) -> None:
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    target.chmod(mode & 0o777)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
