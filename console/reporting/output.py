"""Writing what leaves the machine: outside the database, for its owner alone, whole or not at all, over no file."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from console.durable import sync_directory, write_all
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.text import clean_line, plural


class OutputError(WalmedicError):
    """A file could not be written; the message says which, why and what to do. Nothing of it is left behind."""


class DiskFullError(OutputError):
    """There is not enough room where the file should go."""


def write_new(path: Path, content: bytes, database: DatabaseRoot) -> Path:
    """Write a new file of mode 0600 and return its absolute path: beside, fsync, link into place, fsync of the folder.

    Raises OutputError where it exists already, lies in the database, or cannot be written; DiskFullError where the
    disk is full.
    """
    place = checked_place(path, database)
    shown = clean_line(str(place))
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _appear(beside, place)
        sync_directory(place.parent)
    except FileExistsError:
        raise OutputError(f"{shown} exists already and is not overwritten; name another with --to") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"{shown} cannot be written: the disk is full ({plural(len(content), 'byte')} are needed); "
                "name a place on another disk with --to"
            ) from error
        why = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{shown} cannot be written: {why}; name another place with --to") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return place


def checked_place(path: Path, database: DatabaseRoot) -> Path:
    """Return the absolute path of a file to be written. Raises OutputError where it lies in the database, or exists."""
    try:
        folder = path.parent.resolve(strict=True)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{clean_line(str(path.parent))}: {why}; name a directory that exists with --to") from error
    place = folder / path.name
    roots = {_identity(database.root), _identity(database.db)} - {None}
    # By device and inode: a bind mount or a link may give the database another name.
    if any(_identity(above) in roots for above in (folder, *folder.parents)):
        raise OutputError(
            f"{clean_line(str(place))} lies in the database, where nothing is written; name another place with --to"
        )
    if os.path.lexists(place):
        raise OutputError(f"{clean_line(str(place))} exists already and is not overwritten; name another with --to")
    return place


def _appear(beside: Path, place: Path) -> None:
    """Give the finished file its name, only where nothing has it. Raises OSError."""
    try:
        os.link(beside, place)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name was free a moment ago
        if os.path.lexists(place):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place)) from None
        beside.rename(place)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
