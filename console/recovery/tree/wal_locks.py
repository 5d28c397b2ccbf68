"""Keeping WAL from the purge: flock on each `walN.lock` and each `walN/M.lock` of a table.

The purge (WalPurgeJob.discoverWalSegments) takes a WAL directory only with flock on `<table>/walN.lock`, and a segment
only with flock on `<table>/walN/M.lock`; both are opened with create, so that a missing lock file protects nothing and
is made here. A segment is judged by its own lock alone: `walN.lock` alone keeps the directory and loses its segments.

From 9.3.3 on the server's locks are in memory and these hold nothing: `console.recovery.server.purge_guard` does.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.recovery.tree.tree import Tree, parts_of
from console.text import clean_line
from console.waiting import looks


class WalLockError(WalmedicError):
    """A WAL that could not be locked; the server must not be started."""


class WalLocks:
    """All WAL locks of some tables, held until `release`. Never waits longer than `patience` seconds for one."""

    def __init__(self, db: Path, patience: float = 5.0) -> None:
        self._db = db
        self._patience = patience
        self._descriptors: dict[str, int] = {}
        self.made: list[str] = []

    def __enter__(self) -> "WalLocks":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def held(self) -> tuple[str, ...]:
        """Paths of the lock files held, relative to the db directory."""
        return tuple(sorted(self._descriptors))

    def hold(self, table: TableDirectory, *, skip_busy: bool = False) -> int:
        """Lock every WAL and segment of `table` that is not held yet; return how many are held of it.

        Raises WalLockError where one cannot be had: a server that is up holds those it writes, and the purge those that
        it is deleting. With `skip_busy` (a server is up) such are left out: what the server itself holds is not purged.
        """
        with Tree(self._db) as tree:
            for wal in table.wals():
                base = f"{table.directory}/wal{wal.id}"
                # The directory first: while it is held no segment below it can go with it.
                paths = [f"{base}.lock", *(f"{base}/{segment}.lock" for segment in wal.segments)]
                for path in paths:
                    try:
                        self._lock(tree, path)
                    except WalLockError:
                        if not skip_busy:
                            raise
        return sum(1 for path in self._descriptors if path.startswith(f"{table.directory}/"))

    def release(self) -> None:
        """Let all go; the next sweep may then remove what is applied."""
        for descriptor in self._descriptors.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors.clear()

    def _lock(self, tree: Tree, relative: str) -> None:
        if relative in self._descriptors:
            return
        owner = tree.owner_of_table(parts_of(relative)[0])
        for late in looks(self._patience, 0.02):
            existed = tree.exists(relative)
            with tree.directory(parts_of(relative)[:-1]) as folder:
                name = parts_of(relative)[-1]
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(name, flags, owner.file_mode, dir_fd=folder)
                try:
                    if not existed:
                        os.fchown(descriptor, owner.uid, owner.gid)
                        os.fchmod(descriptor, owner.file_mode)
                        self.made.append(relative)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # A sweep may have removed the file between open and lock: then this one protects nothing.
                    if _same_file(descriptor, name, folder):
                        self._descriptors[relative] = descriptor
                        return
                except OSError as error:
                    if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                        os.close(descriptor)
                        raise
            os.close(descriptor)
            if late:
                raise WalLockError(
                    f"{clean_line(relative)} is held by another process, so its rows cannot be kept from the purge; "
                    "stop the server and try again"
                )


def _same_file(descriptor: int, name: str, folder: int) -> bool:
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
