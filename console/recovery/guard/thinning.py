"""Which copies stay: all of the last minutes, fewer the older they are, and never more bytes than were allowed."""

import os
import shutil
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Final

from console.durable import sync_directory
from console.questdb.layout import GUARD_MIRROR
from console.recovery.guard.copies import GuardCopy, all_copies

_STEPS: Final = ((120, 0), (3600, 60), (86_400, 900), (14 * 86_400, 86_400))
"""Up to this age (s), one copy for each of that many seconds; 0: all. What is older goes."""
_SECTOR: Final = 512  # unit of st_blocks


def outlived(copies: Iterable[GuardCopy], now: float) -> list[GuardCopy]:
    """Return those of `copies` (oldest first) that are too many for their age; the newest never is."""
    known = list(copies)
    gone, taken = [], set()
    for copy in known[:-1]:
        step = next((each for oldest, each in _STEPS if now - copy.seconds <= oldest), None)
        place = (step, copy.seconds // step) if step else None
        if step is None or (place is not None and place in taken):
            gone.append(copy)
        taken.add(place)
    return gone


def thin(folder: Path, now: float) -> None:
    """Remove what has outlived itself in the guard's directory of a table: copies, and mirrors that none rests on."""
    copies = all_copies(folder)
    gone = outlived(copies, now)
    for copy in gone:
        shutil.rmtree(copy.folder)
    if not gone:
        return
    kept = {copy.mirror for copy in copies if copy not in gone}
    newest = copies[-1].mirror
    for path in folder.glob(f"{GUARD_MIRROR}*"):
        name = path.name.removesuffix(".sha256")
        if name not in kept and name != newest:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    sync_directory(folder)


def make_room(root: Path, most: int, dropped: Callable[[], Container[str]] = tuple) -> int:
    """Remove copies until the guard's folder takes at most `most` bytes; return what it takes.

    First those of tables that `dropped` names, then the oldest of any table. The newest copy of a table that is there
    is never removed, so that it can take more.
    """
    if (used := bytes_used(root)) <= most:
        return used
    names, found = dropped(), [(folder, all_copies(folder)) for folder in root.iterdir() if folder.is_dir()]
    gone = sorted((copies[-1].seconds, folder) for folder, copies in found if copies and folder.name in names)
    older = sorted((copy.seconds, copy.folder) for _, copies in found for copy in copies[:-1])
    for _, folder in (*gone, *older):
        shutil.rmtree(folder, ignore_errors=True)  # a copy may have gone with its table's folder
        if (used := bytes_used(root)) <= most:
            break
    return used


def bytes_used(root: Path) -> int:
    """Return the bytes that all files below `root` take on disk; what has two names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - hot
            except FileNotFoundError:
                continue
            seen[status.st_dev, status.st_ino] = status.st_blocks * _SECTOR
    return sum(seen.values())
