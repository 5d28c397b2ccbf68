"""Files of the partitions that `_txn` names: which must exist, how long each must be, and whether its ends make sense.

Lengths follow from row counts, sizes of the types, and the column tops of `_cv`. They are lower bounds: a server keeps
files longer, in whole pages. Of the content only a few bytes are read: the first and the last timestamp, the first and
the last entry of an auxiliary file, the header of an index, both ends of a Parquet file.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from console.questdb.column_files import column_path
from console.questdb.column_types import is_variable, storage_size
from console.questdb.column_versions import DEFAULT_PARTITION, ColumnVersions, read_column_versions
from console.questdb.fields import I64_MAX
from console.questdb.file_owner import FileOwner, difference
from console.questdb.parquet_frame import check_parquet_frame, of_version_8
from console.questdb.partition_columns import (
    FaultKind,
    Files,
    PartitionFault,
    PartitionFile,
    StoredColumn,
    index_faults,
    length_faults,
    needed_bytes,
    needed_index_bytes,
    variable_faults,
)
from console.questdb.partition_proof import PartitionProof
from console.questdb.partition_spans import UNPARTITIONED, PartitionSpan, spans_of
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem, open_directory, problem_of
from console.questdb.row_values import null_bytes
from console.questdb.soft_links import links_in
from console.questdb.table_metadata import TableColumn, TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.timestamps import rising_rows
from console.questdb.variable_columns import aux_shape

PARQUET: Final = "data.parquet"


_CHUNK: Final = 1 << 17
_LAST: Final = 8
"""Rows at the end of a partition of which one has a value in some column."""
_FIRST: Final = FaultKind.FIRST_DIFFERS
_BY_ROW_COUNT: Final = (FaultKind.FILE_INVALID, FaultKind.INDEX_INVALID)


class PartitionFiles:
    """The files of one table's partitions, compared with what `_txn`, `_meta` and `_cv` say.

    `owner` is whom the table's files belong to; None: that is not looked at.
    """

    def __init__(
        self,
        table: Path,
        area: TxnArea,
        metadata: TableMetadata,
        versions: ColumnVersions,
        owner: FileOwner | None = None,
    ) -> None:
        self.table, self._area, self._metadata, self._versions = table, area, metadata, versions
        self._columns = tuple(column for column in metadata.columns if not column.dropped)
        self._owner = owner
        self._proof = PartitionProof(table, area, metadata, versions, owner)
        self.spans = spans_of(area, metadata)

    @classmethod
    def of(cls, table: Path) -> "PartitionFiles | None":
        area, metadata = read_table_txn(table).current, read_table_metadata(table)
        if area is None or isinstance(metadata, Problem) or metadata.unusable:
            return None
        return cls(table, area, metadata, read_column_versions(table))

    def files(self, span: PartitionSpan) -> tuple[PartitionFile, ...]:
        """Return the files that a partition needs, in the order of its columns, then the others that it has.

        Raises OSError if the directory cannot be listed.
        """
        folder = self.table / span.directory
        _, files = _listed(folder)
        named: dict[str, int | None] = {}
        if span.parquet_size is not None:
            named[PARQUET] = span.parquet_size
        for each in self.columns_of(span):
            if isinstance(each, PartitionFault):
                continue
            native = span.parquet_size is None
            pairs = needed_bytes(each) if native else needed_index_bytes(each) if each.indexed else ()
            named.update({path.name: needed for path, needed in pairs})
        names = (*named, *sorted(files.keys() - named.keys()))
        return tuple(_file(folder / name, files.get(name), named.get(name)) for name in names)

    def directories(self) -> frozenset[str]:
        try:
            return frozenset(os.listdir(self.table))  # noqa: PTH208 - names only
        except OSError:
            return frozenset()

    def links(self) -> tuple[Path, ...]:
        names = {link.name for link in links_in(self.table)}
        return tuple(self.table / span.directory for span in self.spans if span.directory in names)

    def faults(self, spans: Sequence[PartitionSpan] | None = None) -> Iterator[PartitionFault]:
        """Yield the faults of the partitions in order of time; those that are proven whole cost little."""
        for span in self.spans if spans is None else spans:
            if self._proof.whole(span):
                continue
            folder = self.table / span.directory
            try:
                own, files = _listed(folder)
            except FileNotFoundError:
                others = self._others(span)
                yield PartitionFault(FaultKind.PARTITION_MISSING, span, folder, others=others, rows=span.rows)
                continue
            except OSError as error:
                yield PartitionFault(FaultKind.UNREADABLE, span, folder, what=problem_of(error, folder).what)
                continue
            yield from self._owners(span, folder, own, files)
            if span.parquet_size is not None:
                yield from self._parquet(span, folder, files, span.parquet_size)
            else:
                yield from self._native(span, folder, files)

    def columns_of(self, span: PartitionSpan) -> Iterator[StoredColumn | PartitionFault]:
        """Yield the columns that have files in a partition, and a fault for each whose name no file can have."""
        folder = self.table / span.directory
        for column in self._columns:
            top = self._versions.top(span.start, column.index)
            if top is None or top >= span.rows:
                continue
            name_txn = self._versions.name_txn(span.start, column.index)
            try:
                data, aux = (column_path(folder, column.raw_name, suffix, name_txn) for suffix in ("d", "i"))
            except DamageError as damage:
                what = f"_meta gives {damage.what}"
                yield PartitionFault(FaultKind.UNREADABLE, span, folder, column.name, what=what)
                continue
            yield StoredColumn(span, column, data, aux, span.rows - top, name_txn)

    def is_timestamp(self, column: TableColumn) -> bool:
        return self._metadata.timestamp is not None and self._metadata.timestamp.index == column.index

    @property
    def metadata(self) -> TableMetadata:
        return self._metadata

    @property
    def versions(self) -> ColumnVersions:
        return self._versions

    @property
    def area(self) -> TxnArea:
        return self._area

    @property
    def newest(self) -> int:
        return int(self._area.max_ts)

    def timestamp(self, span: PartitionSpan) -> StoredColumn | None:
        found = (each for each in self.columns_of(span) if not isinstance(each, PartitionFault))
        return next((each for each in found if self.is_timestamp(each.column)), None)

    def symbols(self, column: TableColumn) -> int:
        dense = [each.index for each in self._metadata.symbols].index(column.index)
        counts = self._area.symbols["count"]
        return int(counts[dense]) if dense < len(counts) else 0

    def symbol_name_txn(self, column: TableColumn) -> int:
        """Return the suffix of the files of a column's symbol map, -1 for none."""
        return self._versions.symbol_name_txn(column.index)

    def _native(self, span: PartitionSpan, folder: Path, files: Files) -> Iterator[PartitionFault]:
        faults: list[PartitionFault] = []
        for each in self.columns_of(span):
            faults += (each,) if isinstance(each, PartitionFault) else self._column(each, files)
        timestamp = self._metadata.timestamp
        short = next((each for each in faults if timestamp is not None and each.column == timestamp.name), None)
        if short is not None and self._counts_too_many(span, short):
            what = f"its timestamps end before row {span.rows:,}, and the newest row of the table is among them"
            yield PartitionFault(FaultKind.ROWS_DIFFER, span, short.file, short.column, what=what, rows=span.rows)
            return
        if timestamp is not None and not any(fault.column == timestamp.name for fault in faults):
            beyond = list(self._last_row(span, folder, timestamp))
            if any(
                each.kind is FaultKind.ROWS_DIFFER for each in beyond
            ):  # a row count that is wrong makes every other end look wrong
                faults = [fault for fault in faults if fault.kind not in _BY_ROW_COUNT]
            faults += beyond
        yield from faults

    def _counts_too_many(self, span: PartitionSpan, fault: PartitionFault | None) -> bool:
        """Return whether the timestamps end before the rows that are counted, and yet have the newest one of all."""
        if fault is None or fault.kind is not FaultKind.FILE_SHORT or not span.last:
            return False
        try:
            with DbFile(fault.file) as file:
                chunks = (file.array(at, "<i8", _CHUNK) for at in range(0, file.size, 8 * _CHUNK))
                return any(bool((chunk == self._area.max_ts).any()) for chunk in chunks)
        except OSError:
            return False

    def _column(self, each: StoredColumn, files: Files) -> Iterator[PartitionFault]:
        if is_variable(each.column.type_code):
            yield from variable_faults(each, files)
        else:
            yield from length_faults(each, files)
        if each.indexed:
            yield from index_faults(each, files, self._lag(each.span))

    def _parquet(self, span: PartitionSpan, folder: Path, files: Files, size: int) -> Iterator[PartitionFault]:
        path = folder / PARQUET
        status = files.get(PARQUET)
        if status is None:
            yield PartitionFault(FaultKind.FILE_MISSING, span, path, needed=size, rows=span.rows)
        elif status.st_size < size:
            yield PartitionFault(FaultKind.FILE_SHORT, span, path, "", status.st_size, size, rows=span.rows)
        else:
            try:
                with DbFile(path) as file:
                    check_parquet_frame(file, size)
                    if of_version_8(file, size):
                        yield PartitionFault(FaultKind.PARQUET_OLD, span, path, rows=span.rows)
            except DamageError as damage:
                yield PartitionFault(
                    FaultKind.PARQUET_INVALID, span, path, what=damage.what, offset=damage.offset, rows=span.rows
                )
            except OSError as error:
                yield PartitionFault(FaultKind.UNREADABLE, span, path, what=problem_of(error, path).what)
        for each in self.columns_of(span):
            if not isinstance(each, PartitionFault) and each.indexed:
                yield from index_faults(each, files, self._lag(each.span))

    def _owners(self, span: PartitionSpan, folder: Path, own: os.stat_result, files: Files) -> Iterator[PartitionFault]:
        if self._owner is None:
            return
        model = self._owner
        named = [(folder, own), *((folder / name, status) for name, status in files.items())]
        owners = [FileOwner.of(path, status) for path, status in named]
        wrong = [each for each in owners if each.differs(model) or each.locked]
        if wrong:
            what = difference(wrong[0], model)
            yield PartitionFault(FaultKind.OWNER_DIFFERS, span, wrong[0].path, what=what, rows=len(wrong))

    def _last_row(self, span: PartitionSpan, folder: Path, column: TableColumn) -> Iterator[PartitionFault]:
        """Compare the timestamp of the last row with the bounds: a row count too high points behind the rows."""
        rows = span.rows - self._lag(span)
        path = column_path(folder, column.raw_name, "d", self._versions.name_txn(span.start, column.index))
        if rows <= 0:
            return
        try:
            with DbFile(path) as file:
                first, last = (file.array(8 * row, "<i8", 1) for row in (0, rows - 1))
        except OSError as error:
            yield PartitionFault(FaultKind.UNREADABLE, span, path, column.name, what=problem_of(error, path).what)
            return
        if not len(first) or not len(last):
            return
        low, high = int(first[0]), int(last[0])
        offset, kind, whole = 8 * (rows - 1), FaultKind.ROWS_DIFFER, 0
        if span.last and high != self._area.max_ts:
            what = f"its last row has timestamp {high}, and _txn says {self._area.max_ts}"
        elif low < span.start and self._metadata.partition_unit != UNPARTITIONED:
            what, offset = f"its first row has timestamp {low}, before the partition's {span.start}", 0
            if span.start <= high and (span.end is None or high < span.end):
                kind = FaultKind.FILE_INVALID  # the last row is where _txn has it
        elif span.start == self._proof.first and low != self._area.min_ts:
            what, offset, kind = f"its first row has timestamp {low}, and _txn says {self._area.min_ts}", 0, _FIRST
        elif high < low or (span.end is not None and high >= span.end):
            what = f"its last row has timestamp {high}, outside the partition"
        else:
            return
        if kind is FaultKind.ROWS_DIFFER and self._outside(span, high):
            rising = min(span.rows, rows_in_order(path, span))
            if self._held_behind(span, rising):
                kind, whole, offset = FaultKind.TIMES_INVALID, rising, 8 * rising
        yield PartitionFault(kind, span, path, column.name, what=what, offset=offset, rows=span.rows - whole)

    def _outside(self, span: PartitionSpan, time: int) -> bool:
        """Return whether no row of the partition can have this time, nor one that was split off from it."""
        end = Partitioning.of(self._metadata).unit_end(span.start)
        return self._metadata.partition_unit != UNPARTITIONED and not span.start <= time < (end or I64_MAX)

    def _held_behind(self, span: PartitionSpan, whole: int) -> bool:
        """Return whether another column has a value in one of the last rows, the first `whole` ones left out.

        Then the row count is not too high: it is the timestamps that are lost. A column that was added tells nothing:
        its file can hold what came later.
        """
        entries = self._versions.entries
        added = set(entries["column"][entries["partition"] == DEFAULT_PARTITION].tolist())
        for each in self.columns_of(span):
            if isinstance(each, PartitionFault) or each.column.index in added or self.is_timestamp(each.column):
                continue
            variable = is_variable(each.column.type_code)
            width, more = aux_shape(each.column.tag) if variable else (storage_size(each.column.type_code) or 1, 0)
            null = bytes(width) if variable else null_bytes(each.column.type_code)
            rows = each.rows - self._lag(span)
            first = max(0, rows - _LAST, whole - (span.rows - each.rows)) + more  # where the value before it ends
            try:
                with DbFile(each.aux if variable else each.data) as file:
                    held = file.read(width * first, width * max(0, rows + more - first))
            except OSError:
                continue
            values = {held[at : at + width] for at in range(0, len(held) - width + 1, width)}
            if values - {null, bytes(width)}:
                return True
        return False

    def _lag(self, span: PartitionSpan) -> int:
        return self._area.lag_rows if span.last else 0

    def _others(self, span: PartitionSpan) -> tuple[str, ...]:
        """Return directories of the partition under another name, which the server deletes when it opens the table."""
        pattern = re.compile(re.escape(span.name) + r"(\.\d+)?")
        return tuple(sorted(name for name in self.directories() if pattern.fullmatch(name) and name != span.directory))


def rows_in_order(path: Path, span: PartitionSpan) -> int:
    """Return how many timestamps at the beginning of a column file rise and lie in the partition; 0: unreadable."""
    try:
        with DbFile(path) as file:
            return rising_rows(file, 0, span.start, I64_MAX if span.end is None else span.end)
    except OSError:
        return 0


def _listed(folder: Path) -> tuple[os.stat_result, Files]:
    """Return the stat of a directory, and those of the regular files in it by name. Raises OSError."""
    descriptor = open_directory(folder)
    try:
        with os.scandir(descriptor) as entries:
            return os.fstat(descriptor), {
                entry.name: entry.stat(follow_symlinks=False)
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            }
    finally:
        os.close(descriptor)


def _file(path: Path, status: os.stat_result | None, needed: int | None) -> PartitionFile:
    if status is None:
        return PartitionFile(path, None, needed, None)
    return PartitionFile(path, status.st_size, needed, status.st_uid)
