"""Copying files out of a database into the state directory: reflink where the file system has it, synced, read again.

The copy belongs to walmedic alone (0600); owner, mode and times of the original go into the manifest.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.copying import blocks_of, copy_data, reflink
from console.durable import sync_directory, write_all
from console.errors import WalmedicError
from console.questdb.reading import open_for_reading
from console.text import clean_line

OnBytes = Callable[[int], None]


class CopyError(WalmedicError):
    """A copy that does not hold what its original holds."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One file as it was copied; `path` relative to the db directory or a name of ours. Sizes in bytes, times in ns."""

    path: str
    size: int
    sha256: str
    uid: int
    gid: int
    mode: int
    mtime_ns: int
    inode: int
    reflinked: bool


def copy_out(source: Path, target: Path, name: str, on_bytes: OnBytes | None = None) -> Copied:
    """Copy the regular file `source` to `target` (made anew), sync it, read it again and compare.

    Raises OSError, and CopyError where the second reading differs or the original changed meanwhile.
    """
    digest, again = hashlib.sha256(), hashlib.sha256()

    def seen(block: bytes) -> None:
        digest.update(block)
        if on_bytes is not None:
            on_bytes(len(block))

    reading = open_for_reading(source)
    try:
        before = os.fstat(reading)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
            sync_directory(target.parent)  # else a power loss may bring it back, half written, under a finished name
        writing = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            reflinked = reflink(reading, writing)
            if reflinked:
                _each_block(reading, before.st_size, seen)
            else:
                copy_data(reading, writing, before.st_size, seen)
            os.fsync(writing)
            if not reflinked:
                # What is read back must come from the disk, not from the pages just written.
                with contextlib.suppress(OSError):
                    os.posix_fadvise(writing, 0, 0, os.POSIX_FADV_DONTNEED)
            _each_block(writing, before.st_size, again.update)
        finally:
            os.close(writing)
        after = os.fstat(reading)
    finally:
        os.close(reading)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise CopyError(f"{clean_line(name)} changed while it was copied; stop what writes it and capture again")
    if digest.digest() != again.digest():
        raise CopyError(
            f"the copy of {clean_line(name)} reads back differently; do not trust the disk of {target.parent}"
        )
    return Copied(
        name, before.st_size, digest.hexdigest(), before.st_uid, before.st_gid, stat.S_IMODE(before.st_mode),
        before.st_mtime_ns, before.st_ino, reflinked,
    )  # fmt: skip


def write_out(target: Path, content: bytes, name: str) -> Copied:
    """Write bytes of our own making (a redacted file, a command's output) beside the copies."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    digest = hashlib.sha256(content).hexdigest()
    return Copied(
        name, len(content), digest, status.st_uid, status.st_gid, 0o600, status.st_mtime_ns, status.st_ino, False
    )


def sync_tree(folder: Path) -> None:
    """Make all names below `folder` durable."""
    for place, _, _ in os.walk(folder, topdown=False):
        sync_directory(Path(place))
    sync_directory(folder.parent)


def digest_of_file(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _each_block(descriptor: int, size: int, on_block: Callable[[bytes], None]) -> None:
    for block in blocks_of(descriptor, 0, size):
        on_block(block)
