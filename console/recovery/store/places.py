"""Where a database and our own files lie: what a db directory is known by, and how much room is left."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.json"
"""Lists what a salvage has written; it comes last."""
_RESERVE_SHARE, _RESERVE_MOST = 0.10, 5 << 30


@dataclass(frozen=True, slots=True, eq=False)
class RootKey:
    """A db directory, as journal and evidence know it.

    A file system can have another `device` number after a reboot. `filesystem` is its own (f_fsid of statvfs on ext4,
    btrfs, ZFS; 0: it has none, as on XFS, which gives its device number). A snapshot has the same one, and then `db`,
    the path, tells them apart. Equality is not transitive: a key is compared, and never looked up.
    """

    device: int
    inode: int
    filesystem: int = 0
    db: str = ""

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "RootKey":
        """Return what `record` returned, read back. Raises KeyError, TypeError, ValueError for what is none."""
        numbers = (int(record["device"]), int(record["inode"]), int(record.get("filesystem", 0)))
        return cls(*numbers, str(record.get("db", "")))

    def record(self) -> dict[str, Any]:
        return asdict(self)

    def __eq__(self, other: object) -> bool:
        """Return whether both are one directory: the same inode of one file system."""
        if not isinstance(other, RootKey) or self.inode != other.inode:
            return False
        if self.filesystem and other.filesystem and self.filesystem != other.filesystem:
            return False
        return self.device == other.device or (self.filesystem == other.filesystem != 0 and self.db == other.db)

    def __hash__(self) -> int:
        return hash(self.inode)

    def __str__(self) -> str:
        return f"{self.device}-{self.inode}"


def root_key(db: Path) -> RootKey:
    """Return what journal and evidence know a db directory by. Raises OSError."""
    status = db.stat()
    filesystem = os.statvfs(db).f_fsid
    return RootKey(status.st_dev, status.st_ino, filesystem if filesystem != status.st_dev else 0, str(db.resolve()))


def salvage_folder(stage: Mapping[str, Any], entry: str) -> Path:
    """Return the folder that a stage of a salvage writes into, named after table and entry: no other is ever met."""
    return Path(str(stage["to"])) / f"{stage['name']}-{entry}"


def existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def free_space(path: Path) -> tuple[int, int]:
    """Return the bytes free for us where `path` lies, and the bytes that must stay free (10 % or 5 GiB, the lesser)."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize, min(
        int(status.f_blocks * status.f_frsize * _RESERVE_SHARE), _RESERVE_MOST
    )
