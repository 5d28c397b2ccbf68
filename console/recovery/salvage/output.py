"""Files of rows outside the database: made anew and private, never over another, never below a db root."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from console.durable import write_all
from console.errors import WalmedicError
from console.questdb.row_values import FixedValues
from console.questdb.segment_rows import Column, Rows
from console.text import clean_line


class SalvageError(WalmedicError):
    """A file of rows that could not be written, or does not hold what was written into it."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How many rows, and their least and greatest designated timestamp in the table's unit; None where no rows."""

    rows: int = 0
    min_ts: int | None = None
    max_ts: int | None = None

    def with_rows(self, rows: Rows, at: int) -> "Extent":
        """Return the extent with more rows; `at` is the position of the designated timestamp among the columns."""
        column = rows.values[at]
        assert isinstance(column, FixedValues)  # noqa: S101 (a designated timestamp has fixed width and no nulls)
        low, high = int(np.min(column.values)), int(np.max(column.values))
        least = low if self.min_ts is None else min(self.min_ts, low)
        most = high if self.max_ts is None else max(self.max_ts, high)
        return Extent(self.rows + len(rows), least, most)


class RowFormat(Protocol):
    """A format of files."""

    suffix: str

    def write(self, path: Path, columns: tuple[Column, ...], chunks: Iterable[Rows]) -> str:
        """Write a new file, private and synced, and return the SHA-256 of what was written.

        Raises SalvageError where there is one already, or where it does not decode to what was written; OSError.
        """


def refuse_inside(target: Path, db: Path) -> str:
    """Return why files must not be written to `target`, empty where they may: it lies in the database, by any name."""
    status = db.stat()
    place = target
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        resolved = place.resolve()
        for folder in (resolved, *resolved.parents):
            found = folder.stat()
            if (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino):
                return f"{clean_line(str(target))} lies inside the database directory {db}"
    except OSError as error:
        return f"{clean_line(str(target))} cannot be used ({error.strerror})"
    return ""


class NewFile(io.RawIOBase):
    """A file that did not exist. What is written is hashed on its way."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor, self._hash, self._length = descriptor, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        """Write all of `content`, and return its length. Raises OSError."""
        write_all(self._descriptor, content)
        self._hash.update(content)
        self._length += len(content)
        return len(content)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._length

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[NewFile]:
    """Yield a file that did not exist; synced at the end, removed where writing it failed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise SalvageError(f"{clean_line(str(path))} is there already; nothing is written over it") from None
    try:
        yield NewFile(descriptor)
        os.fsync(descriptor)
        with contextlib.suppress(OSError):  # what is read back must come from the disk
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def reads_differently(path: Path, row: int = 0) -> SalvageError:
    return SalvageError(f"{clean_line(str(path))} reads back differently near row {row:,}; do not trust its disk")
