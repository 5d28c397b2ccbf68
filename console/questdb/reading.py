"""Bounded, read-only access to files that a running server may be writing: the only way in for every reader.

A file is opened once, read with `pread` and never mapped, because a mapping of a file that another process cuts ends in
SIGBUS. What is damaged is a value (`Problem`), never an exception: the readers go on with what is left.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from console.questdb.soft_links import is_followed, is_way_to
from console.text import clean_line

SMALL_FILE: Final = 16 << 20
"""Most that a reader of small files (`_meta`, `_txn`, `_cv`, registry …) takes; a larger file is damaged or hostile."""

PAUSES: Final = (0.002, 0.03, 0.15)
"""Seconds between looks at files that a server may be changing just now."""


class ProblemKind(StrEnum):
    """What is wrong with a file, so far as bytes alone can say."""

    MISSING = "missing"  # there is no such file or directory
    UNREADABLE = "unreadable"  # permission, I/O error, a symlink, not a regular file
    SHORT = "short"  # the file ends before what its content promises
    INVALID = "invalid"  # bytes that no server writes there


@dataclass(frozen=True, slots=True)
class Problem:
    """One observation of a reader: `what` is a clean sentence part, `offset` the byte of `file` it is about."""

    kind: ProblemKind
    what: str
    file: Path
    offset: int | None = None


class DamageError(Exception):
    """Raised inside a parser where bytes make no sense; each public reader turns it into a `Problem`."""

    def __init__(self, what: str, offset: int | None = None, kind: ProblemKind = ProblemKind.INVALID) -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset
        self.kind = kind

    def problem(self, file: Path) -> Problem:
        return Problem(self.kind, self.what, file, self.offset)


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Tells whether a file is the one that was read, unchanged so far as the kernel's metadata says.

    Stores through a mapping need not move `mtime_ns`: an equal stamp proves nothing about a file of a live server.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int


def open_for_reading(path: Path) -> int:
    """Return a descriptor of the regular file `path`, which must be canonical (`Path.resolve` of the root came first).

    No component may be a symlink but those of soft_links: the last is refused by O_NOFOLLOW, the others by comparing
    the path that the kernel resolved. Raises OSError: ENOENT, EACCES, ELOOP for symlinks, EINVAL for what is no regular
    file.
    """
    name = os.fspath(path)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a NUL, or what no encoding of file names has: such a name came from damaged bytes
        raise OSError(errno.EINVAL, "no file can have that name", repr(str(path))) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        resolved = _resolved_path(fd)
        # The name is compared before it is made absolute, which costs more than all the rest of the opening.
        if resolved not in (None, name) and not _leads(os.path.abspath(name), str(resolved)):  # noqa: PTH100 (no link)
            raise OSError(errno.ELOOP, "reached through a symbolic link", str(path))
    except OSError:
        os.close(fd)
        raise
    return fd


def open_directory(path: Path) -> int:
    """Return a descriptor of the directory `path`; a link only if it is one of soft_links. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR) or not path.is_symlink():
            raise
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "the link leads to nothing", str(path)) from error
        if not is_followed(path):
            raise
    fd = os.open(path, flags)
    if _resolved_path(fd) in (None, str(path.resolve())) and is_followed(path):
        return fd
    os.close(fd)
    raise OSError(errno.ELOOP, "reached through a symbolic link", str(path))


def _leads(name: str, resolved: str) -> bool:
    return name == resolved or is_way_to(Path(name), Path(resolved))


def _resolved_path(fd: int) -> str | None:
    """Return the path the kernel has for `fd`; None where it cannot be known (no /proc, file removed meanwhile)."""
    try:
        resolved = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
    except OSError:
        return None
    return None if resolved.endswith(" (deleted)") or not resolved.startswith("/") else resolved


class ArraySource(Protocol):
    """What has items at offsets: a file, or bytes that were made to stand in for one."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def array(self, offset: int, dtype: DTypeLike, count: int) -> NDArray[Any]:
        """Return up to `count` whole items of `dtype` at `offset`; short at the end."""


class DbFile:
    """An open file: `size` and `stamp` are those at the time of opening; reads end there and at the real end of file.

    Use as a context manager. Every method may raise OSError (an I/O error of the device), none reads past the end.
    """

    __slots__ = ("_fd", "path", "stamp")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = open_for_reading(path)
        status = os.fstat(self._fd)
        self.stamp = FileStamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def __enter__(self) -> "DbFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def size(self) -> int:
        """Length in bytes when the file was opened."""
        return self.stamp.size

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes at `offset`: fewer at the end of the file, none past it."""
        count = min(count, self.size - offset)
        if offset < 0 or count <= 0:
            return b""
        parts: list[bytes] = []
        while count > 0:
            part = os.pread(self._fd, count, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def array(self, offset: int, dtype: DTypeLike, count: int) -> NDArray[Any]:
        """Return up to `count` whole items of `dtype` at `offset`, in the file's byte order; short at the end."""
        item = np.dtype(dtype).itemsize
        count = max(0, min(count, (self.size - offset) // item)) if offset >= 0 else 0
        buffer = np.empty(count * item, dtype=np.uint8)
        filled = self.read_into(offset, buffer.data) if count else 0
        return buffer[: filled - filled % item].view(dtype)

    def blocks(self, dtype: DTypeLike, count: int, at_once: int) -> Iterator[NDArray[Any]]:
        """Yield the first `count` items of `dtype` in blocks of `at_once`, as far as the file has them.

        Each block is in the place of the one before.
        """
        size = np.dtype(dtype).itemsize
        count = min(count, self.size // size)
        buffer = np.empty(size * min(count, at_once), np.uint8)
        for at in range(0, count, at_once):
            wanted = size * min(at_once, count - at)
            filled = self.read_into(size * at, buffer.data[:wanted])
            if filled >= size:
                yield buffer[: filled // size * size].view(dtype)
            if filled < wanted:
                return

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` and return how many bytes came; for loops that must not allocate."""
        filled = 0
        while filled < len(buffer):
            got = os.preadv(self._fd, [buffer[filled:]], offset + filled)
            if got == 0:
                break
            filled += got
        return filled

    def next_data(self, offset: int) -> int:
        """Return the first byte from `offset` on that is in no hole of a sparse file; the size where none is.

        A file system that knows no holes says `offset` itself.
        """
        if offset >= self.size:
            return self.size
        try:
            return min(self.size, os.lseek(self._fd, offset, os.SEEK_DATA))
        except OSError as error:
            return self.size if error.errno == errno.ENXIO else offset


@dataclass(frozen=True, slots=True)
class FileBytes:
    """The content of a small file, or why there is none. `data` is empty where `problem` says missing or unreadable."""

    path: Path
    data: bytes
    stamp: FileStamp | None
    problem: Problem | None = None

    @property
    def present(self) -> bool:
        return self.stamp is not None


def problem_of(error: OSError | DamageError, path: Path) -> Problem:
    """Return an error of the operating system, or damage, as a value about the file `path`."""
    if isinstance(error, DamageError):
        return error.problem(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Problem(ProblemKind.MISSING, "there is no such file", path)
    reason = clean_line(error.strerror or str(error)) or "unknown error"
    return Problem(ProblemKind.UNREADABLE, f"it cannot be read ({reason[:1].lower()}{reason[1:]})", path)


def said_of(error: OSError | DamageError, table: Path) -> str:
    """Return in one clause what is wrong with the file that an error of a reader names, with its path below `table`."""
    if isinstance(error, DamageError):
        return clean_line(error.what)
    path = Path(str(error.filename or table))
    shown = path.relative_to(table) if path.is_relative_to(table) else path
    return f"{clean_line(str(shown))}: {problem_of(error, path).what}"


def read_small(path: Path, limit: int = SMALL_FILE) -> FileBytes:
    """Return the first `limit` bytes of `path`; missing, unreadable and larger files are reported by `problem`."""
    try:
        with DbFile(path) as file:
            problem = None
            if file.size > limit:
                problem = Problem(
                    ProblemKind.INVALID, f"it is {file.size:,} bytes long, far more than such a file holds", path
                )
            return FileBytes(path, file.read(0, limit), file.stamp, problem)
    except OSError as error:
        return FileBytes(path, b"", None, problem_of(error, path))


@contextmanager
def opened(path: Path) -> Iterator[DbFile | Problem]:
    try:
        file = DbFile(path)
    except OSError as error:
        yield problem_of(error, path)
        return
    with file:
        yield file


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory, as lstat sees it; a link of soft_links is a directory too."""

    name: str
    parent: Path
    is_directory: bool
    is_file: bool
    is_symlink: bool

    @property
    def path(self) -> Path:
        return self.parent / self.name


def list_directory(
    path: Path, limit: int = 1_000_000, named: re.Pattern[str] | None = None
) -> tuple[tuple[Entry, ...], Problem | None]:
    """Return the entries of `path` sorted by name (at most `limit`), and the problem where it cannot be listed.

    `named` leaves out the names that do not match it whole.
    """
    entries: list[Entry] = []
    try:
        fd = open_directory(path)
    except OSError as error:
        return (), problem_of(error, path)
    try:
        with os.scandir(fd) as found:
            for each in found:
                if named is not None and named.fullmatch(each.name) is None:
                    continue
                if len(entries) >= limit:
                    return tuple(entries), Problem(ProblemKind.INVALID, f"it has more than {limit:,} entries", path)
                link = each.is_symlink()
                folder = is_followed(path / each.name) if link else each.is_dir(follow_symlinks=False)
                entries.append(Entry(each.name, path, folder, each.is_file(follow_symlinks=False), link))
    except OSError as error:
        return tuple(sorted(entries, key=lambda e: e.name)), problem_of(error, path)
    finally:
        os.close(fd)
    return tuple(sorted(entries, key=lambda e: e.name)), None


def later_looks() -> Iterator[None]:
    """Yield a few times, after a pause that grows: for what looks damaged, and may only be in the making."""
    for pause in PAUSES:
        time.sleep(pause)
        yield


def join_problems(*groups: Sequence[Problem | None] | Problem | None) -> tuple[Problem, ...]:
    """Return the problems of `groups` in order, without the Nones."""
    found: list[Problem] = []
    for group in groups:
        if isinstance(group, Problem):
            found.append(group)
        elif group is not None:
            found.extend(each for each in group if each is not None)
    return tuple(found)
