"""A cheap proof that a native partition is whole, so that the faults of its files need not be looked for.

It costs one listing, one `stat` for each file, and a few bytes of the files that say how long others are. What it
compares is what partition_files compares; whatever does not fit, or is not known here, is left to that.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.bitmap_index import KEY_HEADER, parse_index_header
from console.questdb.column_files import column_file
from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.column_versions import DEFAULT_PARTITION, ColumnVersions
from console.questdb.file_owner import FileOwner
from console.questdb.partition_spans import UNPARTITIONED, PartitionSpan
from console.questdb.reading import DamageError
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.variable_columns import aux_shape, checked_end

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ABSENT: Final = -1


@dataclass(frozen=True, slots=True)
class _Variable:
    """The two files of a column of variable width, the shape of the auxiliary one, and the column top."""

    aux: str
    data: str
    tag: ColumnTag | None
    entry: int
    more: int
    top: int


@dataclass(frozen=True, slots=True)
class _Shape:
    """Names of the files of a partition, the same for all with the same entries in `_cv`.

    `fixed` has (name, bytes of a row, column top), `indexed` (`.k`, `.v`, column top).
    """

    fixed: tuple[tuple[str, int, int], ...]
    variable: tuple[_Variable, ...]
    indexed: tuple[tuple[str, str, int], ...]
    timestamp: str


class PartitionProof:
    """Says of the native partitions of one table whether their files are whole. `owner` None: not looked at.

    `first` is where the partition begins that has the oldest row, by the account of `_txn`; None: it does not tell.
    """

    def __init__(
        self,
        table: Path,
        area: TxnArea,
        metadata: TableMetadata,
        versions: ColumnVersions,
        owner: FileOwner | None,
    ) -> None:
        self._table, self._area, self._metadata, self._versions = os.fspath(table), area, metadata, versions
        self._owner = [owner.uid, owner.gid] if owner is not None else None
        self._added = np.sort(versions.of_partition(DEFAULT_PARTITION)["top"])
        self._listed = frozenset(np.unique(versions.entries["partition"]).tolist())
        self._known: tuple[object, _Shape | None] = (None, None)
        self._way_is_plain = os.path.realpath(self._table) == self._table
        held = area.partitions["timestamp"][area.partitions["rows"] > 0]
        self.first = int(held[0]) if len(held) and metadata.partition_unit != UNPARTITIONED else None

    def whole(self, span: PartitionSpan) -> bool:
        """Return whether the partition is proven to be whole. False says nothing."""
        shape = self._shape(span) if span.parquet_size is None and self._way_is_plain else None
        if shape is None:
            return False
        try:
            descriptor = os.open(f"{self._table}/{span.directory}", _DIRECTORY)
        except (OSError, ValueError):
            return False
        try:
            sizes = self._sizes(descriptor)
            return sizes is not None and self._fits(span, shape, descriptor, sizes)
        except (OSError, DamageError):
            return False
        finally:
            os.close(descriptor)

    def _shape(self, span: PartitionSpan) -> _Shape | None:
        """Return the files of a partition: the last one's, if no entry of `_cv` differs. None: a name is no name."""
        entries: tuple[bytes, ...] = ()
        if span.start in self._listed:
            own = self._versions.of_partition(span.start)
            entries = tuple(own[name].tobytes() for name in ("column", "name_txn", "top"))
        key = (int(self._added.searchsorted(span.start, "right")) if len(self._added) else 0, entries)
        if self._known[0] != key:
            self._known = (key, self._named(span))
        return self._known[1]

    def _named(self, span: PartitionSpan) -> _Shape | None:
        fixed: list[tuple[str, int, int]] = []
        variable: list[_Variable] = []
        indexed: list[tuple[str, str, int]] = []
        timestamp = ""
        for column in self._metadata.columns:
            top = None if column.dropped else self._versions.top(span.start, column.index)
            if top is None:
                continue
            name_txn = self._versions.name_txn(span.start, column.index)
            try:
                data, aux, keys, values = (column_file(column.raw_name, each, name_txn) for each in "dikv")
            except DamageError:
                return None
            if is_variable(column.type_code):
                variable.append(_Variable(aux, data, column.tag, *aux_shape(column.tag), top))
            else:
                fixed.append((data, storage_size(column.type_code) or 0, top))
            if column.indexed and column.tag is ColumnTag.SYMBOL:
                indexed.append((keys, values, top))
            if column.index == self._metadata.timestamp_index:
                timestamp = data
        return _Shape(tuple(fixed), tuple(variable), tuple(indexed), timestamp)

    def _sizes(self, descriptor: int) -> dict[str, int] | None:
        """Return the lengths of the files; None if one is no plain file, or the owner of `_txn` may not write it."""
        names = os.listdir(descriptor)
        files = [os.stat(name, dir_fd=descriptor, follow_symlinks=False) for name in names]
        # by position, which is faster than by name: mode, owner and group, and below the size
        kinds = {(status[0], status[4], status[5]) for status in files}
        if not all(stat.S_ISREG(mode) for mode, _, _ in kinds):
            return None
        if self._owner is not None:
            own = os.fstat(descriptor)
            kinds.add((own.st_mode, own.st_uid, own.st_gid))
            if not all(mode & stat.S_IWUSR and owner == self._owner for mode, *owner in kinds):
                return None
        return {name: status[6] for name, status in zip(names, files, strict=True)}

    def _fits(self, span: PartitionSpan, shape: _Shape, folder: int, sizes: dict[str, int]) -> bool:
        for name, width, top in shape.fixed:
            rows = span.rows - top
            if rows > 0 and sizes.get(name, _ABSENT) < width * rows:
                return False
        for each in shape.variable:
            rows = span.rows - each.top
            if rows > 0 and not _variable_fits(each, rows, folder, sizes):
                return False
        return all(self._index_fits(span, index, folder, sizes) for index in shape.indexed) and (
            not shape.timestamp or self._ends_fit(span, shape.timestamp, folder, sizes)
        )

    def _index_fits(self, span: PartitionSpan, index: tuple[str, str, int], folder: int, sizes: dict[str, int]) -> bool:
        keys, values, top = index
        if span.rows <= top:
            return True
        size = sizes.get(keys, _ABSENT)
        if size < KEY_HEADER:
            return False
        head, _ = _read(folder, keys, KEY_HEADER)
        header = parse_index_header(head, size)
        empty = not header.keys and span.rows - top > self._lag(span)
        return not empty and sizes.get(values, _ABSENT) >= header.value_bytes

    def _ends_fit(self, span: PartitionSpan, name: str, folder: int, sizes: dict[str, int]) -> bool:
        rows = span.rows - self._lag(span)
        if rows <= 0:
            return True
        if sizes.get(name, _ABSENT) < 8 * rows:
            return False
        first, last = _read(folder, name, 8, 8 * (rows - 1))
        low, high = (int.from_bytes(each, "little", signed=True) for each in (first, last))
        if low < span.start and self._metadata.partition_unit != UNPARTITIONED:
            return False
        if span.start == self.first and low != self._area.min_ts:
            return False
        return low <= high and (high == self._area.max_ts if span.end is None else high < span.end)

    def _lag(self, span: PartitionSpan) -> int:
        return self._area.lag_rows if span.last else 0


def _variable_fits(each: _Variable, rows: int, folder: int, sizes: dict[str, int]) -> bool:
    count = rows + each.more
    if sizes.get(each.aux, _ABSENT) < each.entry * count:
        return False
    first, last = _read(folder, each.aux, each.entry, each.entry * (count - 1))
    size, end = sizes.get(each.data, _ABSENT), checked_end(each.tag, first, last, rows)
    return size >= end and (end > 0 or size == 0 or each.tag is not ColumnTag.ARRAY)  # nothing but NULL is looked into


def _read(folder: int, name: str, size: int, last: int = 0) -> tuple[bytes, bytes]:
    """Return `size` bytes at offset 0 and at `last` of a file in the open directory `folder`. Raises OSError."""
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        first = os.pread(descriptor, size, 0)
        return first, os.pread(descriptor, size, last) if last else first
    finally:
        os.close(descriptor)
