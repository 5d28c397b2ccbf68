"""Whose the files of a table must be: those that another user owns, or that their owner may not write."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.questdb.layout import TableDirectory

_FILE, _DIRECTORY = stat.S_IRUSR | stat.S_IWUSR, stat.S_IRWXU


@dataclass(frozen=True, slots=True)
class OwnerOf:
    """Owner and mode of one file, `path` relative to the db directory: what it has, and what it must have."""

    path: str
    was: tuple[int, int, int]
    wanted: tuple[int, int, int]

    @property
    def given_away(self) -> bool:
        """Return whether owner or group change, which only root may do."""
        return self.was[:2] != self.wanted[:2]


def in_words(owner: tuple[int, int, int]) -> str:
    """Return e.g. `1000:1000 mode 0644`."""
    uid, gid, mode = owner
    return f"{uid}:{gid} mode {mode:04o}"


def owner_to_have(table: TableDirectory) -> tuple[int, int]:
    """Return the owner and group of the table: those of `_txn`.

    If `_txn` itself was changed, its directory and the db directory agree on another: then these. Raises OSError.
    """
    folder, db = table.path.lstat(), table.path.parent.lstat()
    around = (folder.st_uid, folder.st_gid)
    try:
        txn = (table.path / "_txn").lstat()
    except FileNotFoundError:
        return around
    return around if around == (db.st_uid, db.st_gid) else (txn.st_uid, txn.st_gid)


def wrong_owners(table: TableDirectory) -> Iterator[OwnerOf]:
    """Yield what must change, a directory before what is in it. Copies of the sequencer are left as they are.

    Raises OSError for a directory that cannot be listed.
    """
    uid, gid = owner_to_have(table)
    left = {path.name for path in table.sequencer_backups()}
    for path, status in _walk(table.path, left):
        mode = stat.S_IMODE(status.st_mode)
        wanted = (uid, gid, mode | (_DIRECTORY if stat.S_ISDIR(status.st_mode) else _FILE))
        was = (status.st_uid, status.st_gid, mode)
        if was != wanted:
            yield OwnerOf(str(path.relative_to(table.path.parent)), was, wanted)


def _walk(path: Path, left: set[str]) -> Iterator[tuple[Path, os.stat_result]]:
    status = path.lstat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return
    yield path, status
    if stat.S_ISDIR(status.st_mode):
        for name in sorted(os.listdir(path)):  # noqa: PTH208 - names only
            if name not in left and ".walmedic-" not in name:
                yield from _walk(path / name, set())
