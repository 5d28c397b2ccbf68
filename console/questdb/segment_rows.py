"""Rows of a WAL segment as values, in chunks of bounded size, symbols resolved: what the server would show of them.

All files are opened at once and stay open, so that a purge takes none of them away while rows are read.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_files import TIMESTAMP_ROW, column_path
from console.questdb.column_types import ColumnTag, is_variable, tag_of, value_dtype
from console.questdb.column_versions import read_column_versions
from console.questdb.reading import DamageError, DbFile, Problem, problem_of
from console.questdb.row_values import FixedValues, Numbers, Values, fixed_values, joined, nulls
from console.questdb.segment import Segment
from console.questdb.segment_details import SymbolDiff, read_symbols
from console.questdb.sequencer_metadata import SequencerColumn
from console.questdb.symbol_values import EMPTY, Dictionary, diff_dictionary, read_dictionary, symbol_texts
from console.questdb.variable_values import data_span, variable_values

CHUNK: Final = 1 << 14
"""Most rows of a chunk."""
CHUNK_BYTES: Final = 32 << 20
"""About how many bytes of one variable-width column a chunk holds at most; a single row may be larger."""

Span = tuple[int, int]
"""First row, and the row after the last."""


@dataclass(frozen=True, slots=True)
class Column:
    """A live column: `index` is its position in segment metadata and symbol diffs."""

    index: int
    name: str
    raw_name: str
    type_code: int
    type_name: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows first..end - 1 of a segment, a `Values` for each of its live columns."""

    first: int
    end: int
    values: tuple[Values, ...]

    def __len__(self) -> int:
        return self.end - self.first


class SegmentRows:
    """The rows of a segment. Use as a context manager.

    `holes` are spans of rows by column index that cannot be read or trusted: their values come as null. `problems` says
    what could not be opened or resolved so far; `unresolved` counts by column the symbols that nothing names.
    """

    def __init__(
        self,
        segment: Segment,
        table: Path | None,
        holes: Mapping[int, Sequence[Span]] | None = None,
        only: Collection[int] | None = None,
    ) -> None:
        """Raise DamageError where the segment's metadata or its designated timestamp are not there.

        `only` names the columns to read, by index, where not all are wanted: each takes one or two open files.
        """
        if segment.metadata is None or segment.metadata.timestamp is None:
            raise DamageError("its _meta does not say what its columns are")
        self._segment = segment
        self._table = table
        self._holes = {index: sorted(spans) for index, spans in (holes or {}).items()}
        self._timestamp = segment.metadata.timestamp_index
        self.columns = tuple(
            _column(index, column)
            for index, column in enumerate(segment.metadata.columns)
            if not column.dropped and (only is None or index in only)
        )
        self.problems: list[Problem] = []
        self.unresolved: dict[str, int] = {}
        self._files: dict[tuple[int, str], DbFile] = {}
        self._open = contextlib.ExitStack()
        self._dictionaries: dict[int, Dictionary] = {}
        self._diffs: dict[int, tuple[SymbolDiff, ...]] = {}
        events = segment.events[segment.data]
        self._events = events[events["end_row"] > events["start_row"]]
        self._named: dict[int, list[tuple[int, int, int, Numbers, Dictionary]]] = {}

    def __enter__(self) -> "SegmentRows":
        for column in self.columns:
            for suffix in ("d", "i") if is_variable(column.type_code) else ("d",):
                path = column_path(self._segment.path, column.raw_name, suffix)
                try:
                    self._files[column.index, suffix] = self._open.enter_context(DbFile(path))
                except OSError as error:
                    self.problems.append(problem_of(error, path))
        diffs = read_symbols(self._segment)
        if isinstance(diffs, Problem):
            self.problems.append(diffs)
        else:
            self._diffs = diffs
        for column in self.columns:
            if tag_of(column.type_code) is ColumnTag.SYMBOL:
                self._dictionaries[column.index] = self._dictionary(column)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def chunks(self, spans: Sequence[Span]) -> Iterator[Rows]:
        """Yield the rows of `spans` in order. Raises DamageError or OSError where a column cannot be read there."""
        for low, high in spans:
            at = low
            while at < high:
                end = self._bounded(at, min(at + CHUNK, high))
                yield Rows(at, end, tuple(self._values(column, at, end) for column in self.columns))
                at = end

    @property
    def designated(self) -> int:
        return next(at for at, column in enumerate(self.columns) if column.index == self._timestamp)

    def _bounded(self, first: int, end: int) -> int:
        for column in self.columns:
            aux = self._files.get((column.index, "i"))
            if aux is None or self._holes.get(column.index):
                continue
            while end - first > 1 and data_span(column.type_code, aux, first, end) > CHUNK_BYTES:
                end = first + (end - first) // 2
        return end

    def _values(self, column: Column, first: int, end: int) -> Values:
        parts: list[Values] = []
        at = first
        for low, high in self._holes.get(column.index, ()):
            low, high = max(low, at), min(high, end)
            if low < high:
                if at < low:
                    parts.append(self._read(column, at, low))
                parts.append(nulls(column.type_code, high - low))
                at = high
        if at < end:
            parts.append(self._read(column, at, end))
        return joined(parts)

    def _read(self, column: Column, first: int, end: int) -> Values:
        data = self._files.get((column.index, "d"))
        if data is None:
            return nulls(column.type_code, end - first)
        if tag_of(column.type_code) is ColumnTag.SYMBOL:
            return self._symbols(column, first, end)
        if not is_variable(column.type_code):
            return self._fixed(column, first, end)
        aux = self._files.get((column.index, "i"))
        if aux is None:
            return nulls(column.type_code, end - first)
        return variable_values(column.type_code, aux, data, first, end)

    def _fixed(self, column: Column, first: int, end: int) -> FixedValues:
        dtype = TIMESTAMP_ROW if column.index == self._timestamp else value_dtype(column.type_code)
        file = self._files.get((column.index, "d"))
        if dtype is None or file is None:
            raise DamageError(f"column {column.name} cannot be read")
        values = file.array(first * dtype.itemsize, dtype, end - first)
        if len(values) != end - first:
            raise DamageError(f"column {column.name} ends before row {end:,}")
        return fixed_values(column.type_code, values["timestamp"] if dtype == TIMESTAMP_ROW else values)

    def _symbols(self, column: Column, first: int, end: int) -> Values:
        file = self._files[column.index, "d"]
        keys = file.array(4 * first, "<i4", end - first).astype(np.int64)
        if len(keys) != end - first:
            raise DamageError(f"column {column.name} ends before row {end:,}")
        clean = self._dictionaries[column.index]
        parts: list[Values] = []
        at = first
        for low, high, count, own_keys, own in self._naming(column):
            low, high = max(low, at), min(high, end)
            if low >= high:
                continue
            if low > at:  # rows of no event: damaged records leave such
                parts.append(nulls(column.type_code, low - at))
            mine = keys[low - first : high - first]
            texts, unknown = symbol_texts(column.type_code, mine, clean, count, own_keys, own)
            if len(unknown):
                self.unresolved[column.name] = self.unresolved.get(column.name, 0) + len(unknown)
            parts.append(texts)
            at = high
        if at < end:
            parts.append(nulls(column.type_code, end - at))
        return joined(parts)

    def _naming(self, column: Column) -> list[tuple[int, int, int, Numbers, Dictionary]]:
        """Return (first row, row after the last, clean count, own keys, own values) of spans whose keys mean the same.

        A writer counts on within a segment, so that as a rule one span covers it; where events of a segment differ,
        each is a span of its own.
        """
        if column.index in self._named:
            return self._named[column.index]
        events = self._events
        diffs = {txn: [d for d in each if d.column == column.index] for txn, each in self._diffs.items()}
        mine = [diffs.get(int(event["txn"]), []) for event in events]
        values_of: dict[int, set[str | None]] = {}
        for diff in (diff for each in mine for diff in each):
            for key, value in zip(diff.keys, diff.values, strict=True):
                values_of.setdefault(key, set()).add(value)
        counts = {max((diff.clean_count for diff in each), default=0) for each in mine}
        spans: list[tuple[int, int, int, Numbers, Dictionary]] = []
        if len(counts) == 1 and all(len(values) == 1 for values in values_of.values()):
            every = [diff for each in mine for diff in each]
            spans.append((0, int(events["end_row"].max()), counts.pop(), *diff_dictionary(every)))
        else:
            order = np.argsort(events["start_row"], kind="stable").tolist()
            for event, each in ((events[at], mine[at]) for at in order):
                count = max((diff.clean_count for diff in each), default=0)
                spans.append((int(event["start_row"]), int(event["end_row"]), count, *diff_dictionary(each)))
        self._named[column.index] = spans
        return spans

    def _dictionary(self, column: Column) -> Dictionary:
        """Return the table's dictionary as far as any event needs it: the WAL's own links, else the table's files."""
        wanted = [d.clean_count for diffs in self._diffs.values() for d in diffs if d.column == column.index]
        count = max(wanted, default=0)
        try:
            return read_dictionary(self._segment.path.parent, column.raw_name, count)
        except (DamageError, OSError) as error:
            first = problem_of(error, self._segment.path.parent / f"{column.name}.c")
        if self._table is None:
            self.problems.append(first)
            return EMPTY
        name_txn = read_column_versions(self._table).symbol_name_txn(column.index)
        try:
            return read_dictionary(self._table, column.raw_name, count, name_txn)
        except (DamageError, OSError) as error:
            self.problems += [first, problem_of(error, self._table / f"{column.name}.c")]
            return EMPTY


def _column(index: int, column: SequencerColumn) -> Column:
    return Column(index, column.name, column.raw_name, column.type_code, column.type_name)
