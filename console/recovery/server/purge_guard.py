"""Holding the purge of a server by its own setting: an interval so long that no sweep comes.

The first sweep comes half an interval after the start of the job (WalPurgeJob, delayByHalfInterval), so that a long
interval keeps every WAL on all versions; measured on 8.2.0, 9.1.0, 9.3.2 and 9.3.4. From 9.3.3 on nothing else does:
WAL locks are in memory there, and a lock file that another process holds is not looked at.

The setting comes from the unit's environment, which wins over server.conf, or from a block at the end of server.conf,
where the last of two equal keys wins.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from console.durable import sync_directory, write_all
from console.errors import WalmedicError
from console.questdb.reading import read_small
from console.services.model import ServiceControl

INTERVAL_MS: Final = 31_536_000_000
"""One year. A server multiplies it by 1,000 in a 64-bit integer, so that it must not be much more."""
LONG: Final = 86_400.0
"""Seconds from which an interval counts as out of reach."""
VARIABLE: Final = "QDB_CAIRO_WAL_PURGE_INTERVAL"
SETTING: Final = "cairo.wal.purge.interval"
CONFIGURATION: Final = Path("conf") / "server.conf"
_BLOCK: Final = f"\n# walmedic: the purge is held until the tables are proven\n{SETTING}={INTERVAL_MS}\n".encode()


class GuardError(WalmedicError):
    """The purge cannot be held by the server's configuration."""


class Guard(StrEnum):
    """Where the setting goes."""

    ENVIRONMENT = "environment"
    CONFIGURATION = "configuration"


def guard_of(services: ServiceControl | None, root: Path) -> Guard | None:
    """Return how the purge of the station's server can be held; None where it cannot."""
    if services is not None and services.can_set_environment:
        return Guard.ENVIRONMENT
    file = root / CONFIGURATION
    with contextlib.suppress(OSError):
        if stat.S_ISREG(file.lstat().st_mode) and os.access(file, os.R_OK | os.W_OK):
            return Guard.CONFIGURATION
    return None


def hold_by_configuration(root: Path) -> None:
    """Add the block to server.conf, once. Raises GuardError where the file cannot be written."""
    file = root / CONFIGURATION
    if _BLOCK in _content(file):
        return
    let_go_by_configuration(root)  # what a write that was cut off has left of it
    status = file.lstat()
    if status.st_nlink == 1 and os.geteuid() in (0, status.st_uid) and os.access(file.parent, os.W_OK):
        with contextlib.suppress(OSError):  # a file that is mounted by itself cannot be replaced
            _replace(file, _content(file) + _BLOCK)
            return
    with _opened(file, os.O_WRONLY | os.O_APPEND) as descriptor:
        write_all(descriptor, _BLOCK)
        os.fsync(descriptor)


def let_go_by_configuration(root: Path) -> None:
    """Take the block out of server.conf again, byte for byte; nothing happens where it is not there.

    A part of the block at the end, left by a write that was cut off, goes too.
    """
    file = root / CONFIGURATION
    content = _content(file)
    if (beside := _beside(file)).exists():  # of a replacement that was cut off
        beside.unlink()
        sync_directory(file.parent)
    if _BLOCK in content:
        rest = content.replace(_BLOCK, b"")
    else:
        length = next((n for n in range(len(_BLOCK) - 1, 12, -1) if content.endswith(_BLOCK[:n])), 0)
        rest = content[: len(content) - length]
    if rest == content:
        return
    if content.startswith(rest):
        with _opened(file, os.O_WRONLY) as descriptor:
            os.ftruncate(descriptor, len(rest))
            os.fsync(descriptor)
        return
    _replace(file, rest)  # somebody has added lines behind the block meanwhile


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.walmedic")


def _replace(file: Path, content: bytes) -> None:
    """Put new content in a file's place, with its owner and mode; there is never half of it."""
    status, new = file.lstat(), _beside(file)
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    with _opened(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
        if os.geteuid() == 0:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        write_all(descriptor, content)
        os.fsync(descriptor)
    new.replace(file)
    sync_directory(file.parent)


def _content(file: Path) -> bytes:
    read = read_small(file)
    if not read.present or read.problem is not None:
        raise GuardError(f"{file} cannot be used: {read.problem.what if read.problem else 'it is not there'}")
    return read.data


@contextlib.contextmanager
def _opened(file: Path, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GuardError(f"{file} cannot be written ({error.strerror}); run as its owner") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
