"""`_cv`: names and tops of column files per partition (ColumnVersionReader). All integers are little-endian.

Header of 40 bytes: i64 version, offset and size of area A, offset and size of area B; the lowest bit of the version
chooses (even: A). An area is 32-byte entries: partition timestamp, column index, column name txn, column top.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import I64_MIN, Fields
from console.questdb.reading import DamageError, FileStamp, Problem, ProblemKind, join_problems, read_small

HEADER_SIZE: Final = 40
DEFAULT_PARTITION: Final = I64_MIN
"""Partition timestamp of a column's default entry; its top then is the partition in which the column was added."""
SYMBOL_PARTITION: Final = I64_MIN + 1
"""Partition timestamp of the entry that names a symbol column's dictionary files."""
_ATTEMPTS: Final = 8
_LIMIT: Final = 256 << 20

COLUMN_VERSION: Final = np.dtype([("partition", "<i8"), ("column", "<i8"), ("name_txn", "<i8"), ("top", "<i8")])
"""One entry, ordered by partition, then column. `name_txn` -1 means a file name without suffix."""


@dataclass(frozen=True, slots=True)
class ColumnVersions:
    """The current area. `version` is None and `entries` empty where the file is missing or damaged."""

    path: Path
    version: int | None
    entries: NDArray[np.void]
    stamp: FileStamp | None
    problems: tuple[Problem, ...]

    def name_txn(self, partition: int, column: int) -> int:
        """Return the suffix of the column's files in a partition, -1 for none (getColumnNameTxn)."""
        entry = self._entry(partition, column)
        if entry is None:
            entry = self._entry(DEFAULT_PARTITION, column)
        return -1 if entry is None else int(entry["name_txn"])

    def symbol_name_txn(self, column: int) -> int:
        """Return the suffix of a symbol column's dictionary files, -1 for none (getSymbolTableNameTxn)."""
        entry = self._entry(SYMBOL_PARTITION, column)
        if entry is None:
            entry = self._entry(DEFAULT_PARTITION, column)
        return -1 if entry is None else int(entry["name_txn"])

    def top(self, partition: int, column: int) -> int | None:
        """Return the rows of the partition that lie before the column's first stored row; None: no file, all null.

        Source: ColumnVersionReader.getColumnTop: without an entry of its own a column is whole from the partition in
        which it was added, and absent before it.
        """
        entry = self._entry(partition, column)
        if entry is not None:
            return int(entry["top"])
        default = self._entry(DEFAULT_PARTITION, column)
        return 0 if default is None or int(default["top"]) <= partition else None

    def _entry(self, partition: int, column: int) -> np.void | None:
        low = int(np.searchsorted(self.entries["partition"], partition, "left"))
        high = int(np.searchsorted(self.entries["partition"], partition, "right"))
        matches = np.flatnonzero(self.entries["column"][low:high] == column)
        found: np.void | None = self.entries[low + int(matches[0])] if len(matches) else None
        return found


def parse_column_versions(data: bytes) -> tuple[int, NDArray[np.void]]:
    """Return version and entries in the bytes of a `_cv`. Raises DamageError where they make no sense."""
    fields = Fields(data)
    version = fields.i64(0)
    at = 8 if version % 2 == 0 else 24
    offset, size = fields.i64(at), fields.i64(at + 8)
    if size == 0:
        return version, np.empty(0, COLUMN_VERSION)
    if offset < HEADER_SIZE or size < 0 or size % COLUMN_VERSION.itemsize:
        raise DamageError(f"an area of {size:,} bytes at offset {offset:,}", at)
    fields.need(offset, size)
    entries = np.frombuffer(data, COLUMN_VERSION, size // COLUMN_VERSION.itemsize, offset)
    if (entries["partition"][1:] < entries["partition"][:-1]).any():
        raise DamageError("its entries are not in the order of their partitions", offset)
    return version, entries


def read_column_versions(table: Path) -> ColumnVersions:
    """Return `_cv` of the table directory `table`, read again until its version stands still."""
    path = table / "_cv"
    none = np.empty(0, COLUMN_VERSION)
    file = read_small(path, _LIMIT)
    for _ in range(_ATTEMPTS):
        if not file.present:
            return ColumnVersions(path, None, none, None, join_problems(file.problem))
        if read_small(path, 8).data == file.data[:8]:
            break
        file = read_small(path, _LIMIT)
    if not file.data:
        return ColumnVersions(path, None, none, file.stamp, (Problem(ProblemKind.SHORT, "it is empty", path, 0),))
    try:
        version, entries = parse_column_versions(file.data)
    except DamageError as damage:
        return ColumnVersions(path, None, none, file.stamp, (damage.problem(path),))
    return ColumnVersions(path, version, entries, file.stamp, join_problems(file.problem))
