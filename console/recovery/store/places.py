"""Where a database and our own files lie: what a db directory is known by, and how much room is left."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.json"
"""Lists what a salvage has written; it comes last."""
_RESERVE_SHARE, _RESERVE_MOST = 0.10, 5 << 30


def root_key(db: Path) -> tuple[int, int]:
    """Return device and inode of a db directory: what locks, journal and evidence know a database by."""
    status = db.stat()
    return status.st_dev, status.st_ino


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
