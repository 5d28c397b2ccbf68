"""What a new file under a database root is made of: its owner, its bytes, its blocks. By descriptors only."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.copying import blocks_of, write_at
from console.errors import WalmedicError
from console.text import clean_line


@dataclass(frozen=True, slots=True)
class Owner:
    """Owner and modes that new files of a table get: those of its own `_txn` and directory, never of a backup."""

    uid: int
    gid: int
    file_mode: int
    directory_mode: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `at` an offset of a new file: `length` bytes of `source` (a file, opened O_NOFOLLOW) from `source_at`."""

    at: int
    source: Path
    source_at: int
    length: int


OnBytes = Callable[[int], None]


def allocate(descriptor: int, size: int) -> None:
    """Give a new file its size and its blocks, so that no later write meets a full disk. Raises OSError."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.ftruncate(descriptor, size)


def copy_piece(descriptor: int, piece: Piece, on_bytes: OnBytes | None) -> None:
    """Copy a piece. Raises OSError, and WalmedicError where its source ends too early."""
    source = os.open(piece.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        done = 0
        for block in blocks_of(source, piece.source_at, piece.source_at + piece.length):
            write_at(descriptor, block, piece.at + done)
            done += len(block)
            if on_bytes is not None:
                on_bytes(len(block))
        if done < piece.length:
            raise WalmedicError(
                f"{clean_line(str(piece.source))} ends {piece.length - done:,} bytes before the plan says; "
                "it was changed: make the plan again"
            )
    finally:
        os.close(source)


def hand_over(descriptor: int, owner: Owner, mode: int) -> None:
    """Give a file or directory its owner and mode. Raises OSError."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        os.fchown(descriptor, owner.uid, owner.gid)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)
