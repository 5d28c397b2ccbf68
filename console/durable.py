"""Writing that a power loss does not take back: bytes written whole, names synced, directories made to stay."""

import os
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return the id of this boot: what was read from memory in another one may not be on disk. Raises OSError."""
    return _BOOT.read_text().strip()


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content` at the descriptor's place. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(folder: Path) -> None:
    """Make the names in `folder` durable (fsync). Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(folder: Path) -> None:
    """Make `folder` (mode 0700) and what is missing above it, and make their names durable. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_directory(each.parent)
