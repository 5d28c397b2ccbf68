"""The full check of a table's own files: every byte of every column once, with no server.

The quick check's findings are not repeated. A server that writes meanwhile adds rows behind those that are read, or
puts a partition or a column into new files; what was found in files that are replaced is dropped, and reported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.diagnosis.deep_findings import DeepFindings
from console.diagnosis.deep_parquet import check_parquet
from console.diagnosis.deep_readings import DeepReadings, Read, Reading
from console.diagnosis.deep_record import DeepRecord
from console.diagnosis.deep_scope import EVERYTHING, DeepScope
from console.diagnosis.deep_symbols import check_symbol_map
from console.diagnosis.deep_zeros import Share, weighed, zero_columns
from console.diagnosis.findings.table_files import damage_of
from console.diagnosis.model import Finding, Part, Severity
from console.questdb.bitmap_index import read_index_header
from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.column_versions import ColumnVersions, read_column_versions
from console.questdb.index_check import check_index
from console.questdb.layout import TableDirectory
from console.questdb.parquet_symbols import parquet_keys
from console.questdb.partition_columns import PartitionFault, StoredColumn
from console.questdb.partition_files import PARQUET, PartitionFiles
from console.questdb.partition_spans import PartitionSpan, contradiction
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem
from console.questdb.table_metadata import TableColumn, TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.value_check import (
    Advance,
    BadRows,
    Wrong,
    bad_symbol_keys,
    bad_timestamps,
    bad_values,
    share_of_zeros,
    suspect_empty_values,
    suspect_zeros,
)
from console.questdb.variable_columns import aux_shape, rows_within

_ALL: Final = frozenset({Part.COLUMN_VALUES, Part.SYMBOL_VALUES, Part.INDEX_ENTRIES})
_WHOLE_FILE: Final = -1
"""Stands for the column of a Parquet file in the record."""


@dataclass(frozen=True, slots=True)
class DeepLook:
    """What reading every value of a table found, what was seen by it, and what was left out and why."""

    findings: tuple[Finding, ...]
    seen: frozenset[Part]
    left_out: tuple[str, ...] = ()


class DeepFiles:
    """The full check of one table as its `_txn` is when this is made. `advance` is given the bytes as they are read.

    `scope` says what is read of it, `record` what an earlier check that was cut off has read already.
    """

    def __init__(
        self,
        table: TableDirectory,
        advance: Advance = lambda _: None,
        scope: DeepScope = EVERYTHING,
        record: DeepRecord | None = None,
    ) -> None:
        self.table, self._scope = table, scope
        self._record = record if record is not None else DeepRecord(None)
        self._findings = DeepFindings(table)
        self._readings = DeepReadings(table, self._findings, self._record, advance)
        self._shares: dict[int, list[Share]] = {}
        txn, metadata = read_table_txn(table.path), read_table_metadata(table.path)
        versions = read_column_versions(table.path)
        self.why = _unreadable(txn.current if not txn.problems else None, metadata, versions)
        if txn.current is None or isinstance(metadata, Problem) or self.why:
            return
        self._area, self._metadata, self._versions = txn.current, metadata, versions
        self._files = PartitionFiles(table.path, txn.current, metadata, versions)
        self._partitioning = Partitioning.of(metadata)

    def size(self) -> int:
        """Return about how many bytes there are to read."""
        if self.why:
            return 0
        total = 0
        names = tuple(f"{each.raw_name}." for each in self._metadata.columns if self._scope.column(each.raw_name))
        for span in filter(self._scope.partition, self._files.spans):
            try:
                entries = list((self.table.path / span.directory).iterdir())
                total += sum(path.lstat().st_size for path in entries if path.name.startswith((*names, PARQUET)))
            except OSError:
                continue
        return total

    def names(self) -> tuple[frozenset[str], frozenset[str]] | None:
        """Return the names of the partitions (also those of their directories) and columns, None if not known."""
        if self.why:
            return None
        spans = frozenset(name for span in self._files.spans for name in (span.name, span.directory))
        return spans, frozenset(each.raw_name.lower() for each in self._metadata.columns if not each.dropped)

    def look(self) -> DeepLook:
        """Read everything and return what was found. What `advance` raises ends it."""
        if self.why:
            return DeepLook((), frozenset(), (f"the values of {self.table.name}: {self.why}",))
        with self._readings:
            self._symbol_maps()
            for span in filter(self._scope.partition, self._files.spans):
                before = len(self._findings.found)
                if span.parquet_size is not None:
                    self._parquet(span)
                else:
                    self._native(span)
                if len(self._findings.found) > before and self._replaced(span):
                    del self._findings.found[before:]
                    self._findings.skip(f"partition {span.name}", "QuestDB rewrote it while it was read")
        self._zero_columns()
        return replace(self.so_far(), seen=self._seen())

    def so_far(self) -> DeepLook:
        self._record.write()
        return DeepLook(tuple(self._findings.found), frozenset(), tuple(self._findings.left_out))

    def _seen(self) -> frozenset[Part]:
        """Return what was read whole. The symbol maps are the table's, whichever partitions are named."""
        named = (column.raw_name for column in self._metadata.columns if not column.dropped)
        if self._findings.left_out or not all(map(self._scope.column, named)):
            return frozenset()
        return _ALL if all(map(self._scope.partition, self._files.spans)) else frozenset({Part.SYMBOL_VALUES})

    def _parquet(self, span: PartitionSpan) -> None:
        folder = self.table.path / span.directory
        indexed = [
            each
            for each in self._files.columns_of(span)
            if isinstance(each, StoredColumn) and each.column.indexed and self._scope.column(each.column.raw_name)
        ]

        def keys_of(each: StoredColumn) -> NDArray[np.int32]:
            name_txn = self._versions.symbol_name_txn(each.column.index)
            stored = (span.rows - each.rows, span.rows)
            return parquet_keys(self.table.path, each, stored, self._symbols(each.column), name_txn)

        def read(findings: DeepFindings) -> None:
            check_parquet(findings, folder, span, indexed, keys_of, self._readings.advance, self._scope)

        paths = [folder / PARQUET, *(path for each in indexed for path in _index_paths(each))]
        symbols = [self._symbols(each.column) for each in indexed if each.column.tag is ColumnTag.SYMBOL]
        judged_by = (span.rows, sorted(self._scope.columns), symbols)
        self._readings.take(self._readings.ask(span.directory, _WHOLE_FILE, paths, judged_by, read))

    def _zero_columns(self) -> None:
        self._findings.found = [weighed(finding, self._shares) for finding in self._findings.found]
        for each in zero_columns(self._shares):
            what = "every value is zero, and most are not in the other partitions"
            self._findings.rows(each, BadRows(Wrong.ZERO_PAGES, each.data, 0, each.rows, 0, what), Severity.NOTE)

    def _native(self, span: PartitionSpan) -> None:
        readings: list[tuple[StoredColumn, Reading]] = []
        for each in self._files.columns_of(span):
            if isinstance(each, PartitionFault):
                continue  # the quick check tells it
            rows = each.rows - (self._area.lag_rows if span.last else 0)
            if rows <= 0 or not self._scope.column(each.column.raw_name):
                continue
            column = each.column
            paths = [each.data, *([each.aux] if is_variable(column.type_code) else [])]
            count = None
            if column.tag is ColumnTag.SYMBOL:
                count = self._symbols(column)
                paths += _index_paths(each) if column.indexed else []
            judged_by = (column.type_code, rows, count, span.start, self._high(span))
            now = replace(each, rows=rows)
            read = partial(self._stored, now)
            readings.append((now, self._readings.ask(span.directory, column.index, paths, judged_by, read)))
        for now, reading in readings:
            share = self._readings.take(reading)
            if share is not None:
                self._shares.setdefault(now.column.index, []).append(Share(now, share))

    def _stored(self, each: StoredColumn, findings: DeepFindings) -> float | None:
        try:
            proven = each.column.tag is ColumnTag.SYMBOL and each.column.indexed and self._index_agrees(each, findings)
            for bad in self._column(each, proven):
                at_an_edge = is_variable(each.column.type_code) and not 0 < bad.first_row < each.rows - bad.rows
                suspect = bad.wrong is Wrong.ZERO_PAGES and at_an_edge
                findings.rows(each, bad, Severity.NOTE if suspect else None)
            timestamps = each.column.index == self._metadata.timestamp_index
            if proven or timestamps or is_variable(each.column.type_code):
                return None
            with DbFile(each.data) as file:
                return share_of_zeros(file, storage_size(each.column.type_code) or 0, each.rows)
        except FileNotFoundError:
            pass  # the quick check tells it
        except OSError as error:
            findings.skip(f"{each.data.name} of partition {each.span.name}", error)
        return None

    def _column(self, each: StoredColumn, proven: bool) -> Iterator[BadRows]:
        """Yield the bad rows of a column. Its zeros are values if it is `proven`: its index says the same."""
        column, span = each.column, each.span
        if is_variable(column.type_code):
            with DbFile(each.aux) as aux, DbFile(each.data) as data:
                entry, more = aux_shape(column.tag)
                rows = min(each.rows, max(0, aux.size // entry - more))
                rows = min(rows, rows_within(column.tag, aux, rows, data.size)) or rows
                held, wrong = replace(each, rows=rows), False
                for bad in bad_values(held, aux, data, self._readings.advance):
                    wrong = True
                    yield bad
                yield from () if wrong else suspect_empty_values(held, aux, data)
            return
        with DbFile(each.data) as file:
            if column.index == self._metadata.timestamp_index:
                yield from bad_timestamps(file, each.rows, span.start, self._high(span), self._readings.advance)
                return
            if not proven:
                yield from suspect_zeros(file, each, self._readings.advance)
            if column.tag is ColumnTag.SYMBOL:
                yield from bad_symbol_keys(file, each.rows, self._symbols(column), self._readings.advance)

    def _index_agrees(self, each: StoredColumn, findings: DeepFindings) -> bool:
        """Return whether the index has every row of the column under its symbol; tell it if not."""
        top = self._versions.top(each.span.start, each.column.index) or 0
        paths = _index_paths(each)
        try:
            with DbFile(each.data) as file, DbFile(paths[0]) as keys, DbFile(paths[1]) as values:
                rows, symbols = (top, top + each.rows), self._symbols(each.column)
                check_index(file, keys, values, rows, symbols, self._readings.advance)
                if (count := read_index_header(keys).keys) > symbols + 1:
                    findings.more_keys(each, count, symbols)
        except DamageError as damage:
            findings.index(each, damage)
            return False
        except FileNotFoundError:
            return False  # the quick check tells it
        except OSError as error:
            findings.skip(f"the index of {each.column.name} in partition {each.span.name}", error)
            return False
        return True

    def _symbols(self, column: TableColumn) -> int:
        place = [each.index for each in self._metadata.symbols].index(column.index)
        counts = self._area.symbols["count"]
        return max(0, int(counts[place])) if place < len(counts) else 0

    def _symbol_maps(self) -> None:
        for column in self._metadata.symbols:
            name_txn = self._versions.symbol_name_txn(column.index)
            try:
                paths = [column_path(self.table.path, column.raw_name, suffix, name_txn) for suffix in "ockv"]
            except DamageError:
                continue  # the quick check tells it
            if self._scope.column(column.raw_name):
                count = self._symbols(column)
                self._readings.take(self._readings.ask("", column.index, paths, count, self._map_reader(column, paths)))

    def _map_reader(self, column: TableColumn, paths: Sequence[Path]) -> Read:
        return lambda findings: check_symbol_map(findings, column, paths, self._symbols(column), self._readings.advance)

    def _high(self, span: PartitionSpan) -> int | None:
        if span.last:
            return self._area.max_ts + 1
        end = self._partitioning.unit_end(span.start)
        return end if span.end is None or end is None else min(span.end, end)

    def _replaced(self, span: PartitionSpan) -> bool:
        """Return whether the server has put the partition, or a column of it, into other files meanwhile."""
        now = read_table_txn(self.table.path).current
        if now is None or now.column_version != self._area.column_version:
            return True
        metadata = read_table_metadata(self.table.path)
        if isinstance(metadata, Problem):
            return True
        spans = PartitionFiles(self.table.path, now, metadata, self._versions).spans
        return span.directory not in {each.directory for each in spans}


def _index_paths(each: StoredColumn) -> list[Path]:
    return [column_path(each.data.parent, each.column.raw_name, suffix, each.name_txn) for suffix in ("k", "v")]


def _unreadable(area: TxnArea | None, metadata: TableMetadata | Problem, versions: ColumnVersions) -> str:
    """Return why no value can be found by the metadata, empty if they can."""
    if area is None:
        return "_txn is damaged"
    if isinstance(metadata, Problem) or damage_of(metadata) is not None or metadata.unusable:
        return "_meta is damaged"
    if area.column_version and (versions.version is None or versions.version < area.column_version):
        return "_cv is damaged"
    if contradiction(area, metadata):
        return "_txn contradicts itself"
    return ""
