"""Inodes kept: what is removed below a directory goes to a folder beside, and a tree is laid out of the very inodes."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Attributes = tuple[int, int, int, int]
"""Mode, owner, group, mtime in ns."""
Image = dict[str, tuple[int, Attributes, bytes | None]]
"""By path below the top: inode, attributes, and the content of a file (of a link its target; None for a directory)."""


class Vault:
    """Where inodes go that are removed below `top`, so that a state may bring them back."""

    def __init__(self, top: Path, place: Path) -> None:
        self.top, self._place = top, place
        place.mkdir()
        self.known: set[int] = set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Move known inodes here where they would be removed."""
        unlink, rmdir, rename = os.unlink, os.rmdir, os.rename

        def removed(original: Callable[..., Any], path: Any, *, dir_fd: int | None = None) -> None:
            inode = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
            empty = not stat.S_ISDIR(inode.st_mode) or (original is rmdir and not _listed(path, dir_fd))
            if inode.st_ino in self.known and empty:
                rename(path, self._place / str(inode.st_ino), src_dir_fd=dir_fd)
            else:
                original(path, dir_fd=dir_fd)

        def renamed(old: Any, new: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
            try:
                there = os.stat(new, dir_fd=dst_dir_fd, follow_symlinks=False)
                os.stat(old, dir_fd=src_dir_fd, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and stat.S_ISREG(there.st_mode) and there.st_ino in self.known:
                rename(new, self._place / str(there.st_ino), src_dir_fd=dst_dir_fd)
            rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

        with pytest.MonkeyPatch.context() as patch:
            for name in ("unlink", "remove"):
                patch.setattr(os, name, lambda path, *, dir_fd=None: removed(unlink, path, dir_fd=dir_fd))
            patch.setattr(os, "rmdir", lambda path, *, dir_fd=None: removed(rmdir, path, dir_fd=dir_fd))
            for name in ("rename", "replace"):
                patch.setattr(os, name, renamed)
            yield

    def lay(self, image: Image) -> None:
        """Make the tree below the top what `image` says, of the very inodes that it names."""
        here = {path: (inode, status) for path, inode, status in walked(self.top)}
        stays: set[str] = {""}
        for path in sorted(here):
            parent = path.rpartition("/")[0]
            if parent in stays and path in image and image[path][0] == here[path][0]:
                stays.add(path)
        for path in sorted(set(here) - stays, reverse=True):
            inode, status = here[path]
            if inode in self.known:
                (self.top / path).rename(self._place / str(inode))
            elif stat.S_ISDIR(status.st_mode):
                (self.top / path).rmdir()
            else:
                (self.top / path).unlink()
        for path in sorted(image):
            inode, (mode, uid, gid, mtime), content = image[path]
            place = self.top / path
            kept = self._place / str(inode)
            if path not in stays and os.path.lexists(kept):
                kept.rename(place)
            elif path not in stays:  # another process has removed it
                place.mkdir() if content is None else place.touch()
            if stat.S_ISLNK(mode):
                continue
            if content is not None and place.read_bytes() != content:
                place.write_bytes(content)
            os.chown(place, uid, gid)
            place.chmod(stat.S_IMODE(mode))
            if content is not None:
                os.utime(place, ns=(mtime, mtime))


def walked(top: Path) -> Iterator[tuple[str, int, os.stat_result]]:
    """Yield each path below `top` with its inode and status, directories before what is in them."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(top / folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                path = f"{folder}/{entry.name}" if folder else entry.name
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)
                yield path, status.st_ino, status


def _listed(path: Any, dir_fd: int | None) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        return os.listdir(descriptor)  # noqa: PTH208 - by descriptor
    finally:
        os.close(descriptor)
