"""Copying files out of a database into the state directory: reflink where the file system has it, synced, read again.

The copy belongs to walmedic alone (0600); owner, mode and times of the original go into the manifest.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.durable import sync_directory, write_all
from console.errors import WalmedicError
from console.questdb.reading import open_for_reading
from console.text import clean_line

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_BLOCK = 4 << 20
_NO_REFLINK = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)

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
    reading = open_for_reading(source)
    try:
        before = os.fstat(reading)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
            sync_directory(target.parent)  # else a power loss may bring it back, half written, under a finished name
        writing = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            reflinked = reflink(reading, writing)
            digest = _read_through(reading, None if reflinked else writing, before.st_size, on_bytes)
            os.fsync(writing)
            if not reflinked:
                # What is read back must come from the disk, not from the pages just written.
                with contextlib.suppress(OSError):
                    os.posix_fadvise(writing, 0, 0, os.POSIX_FADV_DONTNEED)
            again = _read_through(writing, None, before.st_size, None)
        finally:
            os.close(writing)
        after = os.fstat(reading)
    finally:
        os.close(reading)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise CopyError(f"{clean_line(name)} changed while it was copied; stop what writes it and capture again")
    if digest != again:
        raise CopyError(
            f"the copy of {clean_line(name)} reads back differently; do not trust the disk of {target.parent}"
        )
    return Copied(
        name, before.st_size, digest, before.st_uid, before.st_gid, stat.S_IMODE(before.st_mode), before.st_mtime_ns,
        before.st_ino, reflinked,
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
    """Return the SHA-256 of a file of the state directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def reflink(reading: int, writing: int) -> bool:
    """Make the empty file `writing` share the blocks of `reading`; return False where the file system cannot."""
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno in _NO_REFLINK:
            return False
        raise
    return True


def _read_through(descriptor: int, writing: int | None, size: int, on_bytes: OnBytes | None) -> str:
    digest = hashlib.sha256()
    at = 0
    while at < size:
        block = os.pread(descriptor, min(_BLOCK, size - at), at)
        if not block:
            break
        digest.update(block)
        if writing is not None:
            written = 0
            while written < len(block):
                written += os.pwrite(writing, block[written:], at + written)
        at += len(block)
        if on_bytes is not None:
            on_bytes(len(block))
    return digest.hexdigest()
