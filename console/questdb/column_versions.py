"""`_cv`: names and tops of column files per partition (ColumnVersionReader). formats/table.py has the fields."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import I64_MIN, Fields
from console.questdb.formats.table import CV_ENTRY, CV_HEADER
from console.questdb.reading import DamageError, Problem, ProblemKind, join_problems, read_small

DEFAULT_PARTITION: Final = I64_MIN
"""Partition timestamp of a column's default entry; its top then is the partition in which the column was added."""
SYMBOL_PARTITION: Final = I64_MIN + 1
"""Partition timestamp of the entry that names a symbol column's dictionary files."""
_ATTEMPTS: Final = 8
_LIMIT: Final = 256 << 20

COLUMN_VERSION: Final = CV_ENTRY.dtype
"""One entry, ordered by partition, then column. `name_txn` -1 means a file name without suffix."""


@dataclass(frozen=True, slots=True)
class ColumnVersions:
    """The current area. `version` is None and `entries` empty where the file is missing or damaged."""

    path: Path
    version: int | None
    entries: NDArray[np.void]
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

    def of_partition(self, partition: int) -> NDArray[np.void]:
        """Return the entries of one partition; most have none."""
        low, high = self._range(partition)
        return self.entries[low:high]

    def _range(self, partition: int) -> tuple[int, int]:
        partitions = self.entries["partition"]
        low = int(partitions.searchsorted(partition))
        if low == len(partitions) or partitions[low] != partition:
            return low, low
        return low, int(partitions.searchsorted(partition, "right"))

    def _entry(self, partition: int, column: int) -> np.void | None:
        low, high = self._range(partition)
        if low == high:
            return None
        matches = np.flatnonzero(self.entries["column"][low:high] == column)
        found: np.void | None = self.entries[low + int(matches[0])] if len(matches) else None
        return found


def parse_column_versions(data: bytes) -> tuple[int, NDArray[np.void]]:
    """Return version and entries in the bytes of a `_cv`. Raises DamageError where they make no sense."""
    fields = Fields(data)
    version = CV_HEADER.value("version", fields)
    area = "a" if version % 2 == 0 else "b"
    offset, size = CV_HEADER.value(f"{area}_offset", fields), CV_HEADER.value(f"{area}_size", fields)
    if size == 0:
        return version, np.empty(0, COLUMN_VERSION)
    if offset < CV_HEADER.size or size < 0 or size % CV_ENTRY.size:
        raise DamageError(f"an area of {size:,} bytes at offset {offset:,}", CV_HEADER.at(f"{area}_offset"))
    entries = CV_ENTRY.array(fields, offset, size // CV_ENTRY.size)
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
            return ColumnVersions(path, None, none, join_problems(file.problem))
        if read_small(path, 8).data == file.data[:8]:
            break
        file = read_small(path, _LIMIT)
    if not file.data:
        return ColumnVersions(path, None, none, (Problem(ProblemKind.SHORT, "it is empty", path, 0),))
    try:
        version, entries = parse_column_versions(file.data)
    except DamageError as damage:
        return ColumnVersions(path, None, none, (damage.problem(path),))
    return ColumnVersions(path, version, entries, join_problems(file.problem))


def content_of_version(table: Path, version: int) -> bytes | None:
    """Return the `_cv` of a table as it was at `version`, if that is the one before and its area is whole.

    The area beside the current one holds the version before it, never the one after it.
    """
    data = bytearray(read_small(table / "_cv", _LIMIT).data)
    if len(data) < CV_HEADER.size or CV_HEADER.value("version", Fields(bytes(data))) != version + 1:
        return None
    offset = CV_HEADER.value("b_offset" if version % 2 else "a_offset", Fields(bytes(data)))
    CV_HEADER.put(data, 0, version=version)
    try:
        _, entries = parse_column_versions(bytes(data))
    except DamageError:
        return None
    whole = bool((entries["column"] >= 0).all() and (entries["name_txn"] >= -1).all())
    return bytes(data) if offset and whole else None
