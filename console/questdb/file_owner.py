"""Who owns a file, and whether the owner of a table can write it."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileOwner:
    """Owner and permission bits of a file."""

    path: Path
    uid: int
    gid: int
    mode: int

    @classmethod
    def of(cls, path: Path, status: os.stat_result) -> "FileOwner":
        return cls(path, status.st_uid, status.st_gid, status.st_mode)

    def differs(self, model: "FileOwner") -> bool:
        return (self.uid, self.gid) != (model.uid, model.gid)

    @property
    def locked(self) -> bool:
        return not self.mode & stat.S_IWUSR


def difference(owner: FileOwner, model: FileOwner) -> str:
    """Return in a few words why the owner of `model` may not write the other file."""
    if owner.differs(model):
        return f"{owner.path.name}: {owner.uid}:{owner.gid}, _txn: {model.uid}:{model.gid}"
    return f"{owner.path.name}: mode {owner.mode & 0o7777:04o}"


def owner_of(path: Path, entry: "os.DirEntry[str] | None" = None) -> FileOwner | None:
    """Return the owner of a file, which `entry` may have been listed with; None if it cannot be known."""
    try:
        status = path.lstat() if entry is None else entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return FileOwner.of(path, status)
