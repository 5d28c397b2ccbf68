"""Whether the rows that a segment's events promise are whole in its column files.

After a power loss pages of a column can be zero, or a file short, where `_event` says that rows exist; the server
applies them without complaint. Checked are: lengths; timestamps within their event's span, and their row ids; symbol
keys within what the event's dictionary has; offsets of variable-width values, and the lengths or first bytes stored
beside the values. Zero pages between other values of a fixed-width column are reported as suspect: zero is a value too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import TIMESTAMP_ROW, column_path
from console.questdb.column_types import ColumnTag, storage_size
from console.questdb.fields import I64_MAX
from console.questdb.reading import DamageError, DbFile, Problem, ProblemKind, later_looks, problem_of
from console.questdb.segment import DedupMode, EventType, Segment, read_segment
from console.questdb.segment_details import SymbolDiff, read_symbols
from console.questdb.sequencer_metadata import SequencerColumn
from console.questdb.variable_columns import aux_shape, bad_variable_rows
from console.questdb.zero_pages import suspect_zero_pages

_CHUNK: Final = 1 << 17
_MAX_ROWS: Final = 1 << 27
"""Rows of a segment that are looked at: a segment rolls over long before."""
_NULL_SYMBOL: Final = -(1 << 31)
LIMIT: Final = 1000
"""Most entries that one look returns."""


class Tear(StrEnum):
    """What is wrong with rows of a column."""

    UNREADABLE = "unreadable"  # the column's file is missing, or is no such file
    HIDDEN = "hidden"  # the column's file is there and may not be read: permission, device, a symlink
    SHORT = "short"  # the file ends before the rows do
    TIMESTAMP = "timestamp"  # a timestamp outside the event's span
    ROW_ID = "row-id"  # a timestamp's row id is not its row
    SYMBOL = "symbol"  # a key that the event's dictionary does not have
    VARIABLE = "variable"  # offsets that do not follow one another, or do not fit the values
    ZERO_PAGES = "zero-pages"  # whole pages of zeros between other values: suspect only


@dataclass(frozen=True, slots=True)
class TornRows:
    """Rows of one event that are not whole in one column: `rows` of them from `first_row` on (not all need be bad)."""

    tear: Tear
    column: str
    file: Path
    offset: int | None
    event: int
    first_row: int
    rows: int
    what: str

    @property
    def suspect(self) -> bool:
        """Whether it may be what was written, after all."""
        return self.tear is Tear.ZERO_PAGES


@dataclass(frozen=True, slots=True)
class _Rows:
    """The data events looked at: transaction, first row, row after the last, timestamps; ascending by row.

    `spanned`: its timestamps are the least and the greatest of its rows (WalWriter.rowAppend), not a range to replace.
    `all`: the rows of all data events of the segment.
    """

    txn: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    min_ts: NDArray[np.int64]
    max_ts: NDArray[np.int64]
    spanned: NDArray[np.bool_]
    all: int


def check_segment_data(segment: Segment, txns: Iterable[int] | None = None) -> tuple[TornRows, ...]:
    """Return what is torn in the rows of the segment transactions `txns` (default: all that can be decoded).

    At most a thousand entries: one per event, column and kind. A segment whose `_meta` cannot be read yields nothing,
    since its columns are not known: its own problems say so.
    """
    torn = _check(segment, txns)
    if torn and not segment.closed:
        # a writer that moves uncommitted rows to a new segment cuts the columns before it takes the event back
        for _ in later_looks():
            torn = _check(read_segment(segment.path, segment.copied), {each.event for each in torn})
            if not torn:
                break
    return torn


def _check(segment: Segment, txns: Iterable[int] | None) -> tuple[TornRows, ...]:
    rows = _select(segment, txns)
    if segment.metadata is None or not len(rows.txn):
        return ()
    symbols = read_symbols(segment, partial=True)
    diffs: dict[int, tuple[SymbolDiff, ...]] = {} if isinstance(symbols, Problem) else symbols
    found: list[TornRows] = []
    for index, column in enumerate(segment.metadata.columns):
        if column.dropped or len(found) >= LIMIT:
            continue
        try:
            found += _check_column(segment, index, column, rows, diffs)
        except DamageError as damage:
            found += _whole(rows, Tear.UNREADABLE, column, segment.path / "_meta", damage.what)
        except OSError as error:
            problem = problem_of(error, segment.path / f"{column.name}.d")
            tear = Tear.HIDDEN if problem.kind is ProblemKind.UNREADABLE else Tear.UNREADABLE
            found += _whole(rows, tear, column, problem.file, problem.what)
    return tuple(found[:LIMIT])


def _select(segment: Segment, txns: Iterable[int] | None) -> _Rows:
    events = segment.events[segment.data]
    rows = int(events["end_row"].max(initial=0))
    if txns is not None:
        events = events[np.isin(events["txn"], np.fromiter(txns, np.int64))]
    events = events[(events["end_row"] > events["start_row"]) & (events["start_row"] >= 0)]
    events = events[np.argsort(events["start_row"], kind="stable")]
    spanned = (events["type"] == EventType.DATA) & (events["dedup_mode"] != DedupMode.REPLACE_RANGE)
    txn, start, end, least, most = (
        np.ascontiguousarray(events[name], np.int64) for name in ("txn", "start_row", "end_row", "min_ts", "max_ts")
    )
    return _Rows(txn, start, end, least, most, spanned, rows)


def _check_column(
    segment: Segment, index: int, column: SequencerColumn, rows: _Rows, symbols: dict[int, tuple[SymbolDiff, ...]]
) -> list[TornRows]:
    size = storage_size(column.type_code)
    data = column_path(segment.path, column.raw_name, "d")
    assert segment.metadata is not None  # noqa: S101 (checked by the caller)
    if index == segment.metadata.timestamp_index:
        return _check_timestamps(data, column, rows)
    if size is None:
        return []
    if size == 0:
        return _check_variable(data, column_path(segment.path, column.raw_name, "i"), column, rows)
    found = _check_length(data, column, rows, size)
    if column.tag is ColumnTag.SYMBOL:
        found += _check_symbols(data, index, column, rows, symbols)
    return found + _check_zero_pages(data, column, rows, size)


def _check_length(path: Path, column: SequencerColumn, rows: _Rows, size: int) -> list[TornRows]:
    with DbFile(path) as file:
        return _short(path, column, rows, size, file.size // size)


def _short(path: Path, column: SequencerColumn, rows: _Rows, size: int, held: int) -> list[TornRows]:
    held = min(held, _MAX_ROWS)
    short = rows.end > held
    what = f"its file ends at row {held:,}"
    return [
        TornRows(
            Tear.SHORT,
            column.name,
            path,
            held * size,
            int(txn),
            max(int(start), held),
            int(end) - max(int(start), held),
            what,
        )
        for txn, start, end in zip(rows.txn[short], rows.start[short], rows.end[short], strict=True)
    ]


def _check_timestamps(path: Path, column: SequencerColumn, rows: _Rows) -> list[TornRows]:
    found = _check_length(path, column, rows, TIMESTAMP_ROW.itemsize)
    outside, renumbered, apart = _Bad(), _Bad(), _Bad()
    least, most, read = (
        np.full(len(rows.txn), I64_MAX),
        np.full(len(rows.txn), -I64_MAX),
        np.zeros(len(rows.txn), np.int64),
    )
    with DbFile(path) as file:
        for at, values in _chunks(file, TIMESTAMP_ROW, rows):
            number, event, inside = _events_of(rows, at, len(values))
            timestamps = values["timestamp"]
            bad = inside & ((timestamps < rows.min_ts[event]) | (timestamps > rows.max_ts[event]))
            outside.add(number[bad], event[bad])
            bad = inside & (values["row"] != number)
            renumbered.add(number[bad], event[bad])
            np.minimum.at(least, event[inside], timestamps[inside])
            np.maximum.at(most, event[inside], timestamps[inside])
            np.add.at(read, event[inside], 1)
    whole = rows.spanned & (read == rows.end - rows.start) & (least >= rows.min_ts) & (most <= rows.max_ts)
    unmet = np.flatnonzero(whole & ((least != rows.min_ts) | (most != rows.max_ts)))
    apart.add(rows.start[unmet], unmet)
    apart.add(rows.end[unmet] - 1, unmet)
    found += outside.torn(
        Tear.TIMESTAMP, column, path, rows, TIMESTAMP_ROW.itemsize, "timestamps outside the event's span"
    )
    found += apart.torn(
        Tear.TIMESTAMP, column, path, rows, TIMESTAMP_ROW.itemsize, "timestamps that do not reach the event's span"
    )
    found += renumbered.torn(Tear.ROW_ID, column, path, rows, TIMESTAMP_ROW.itemsize, "row ids that are not the row's")
    return found


def _check_symbols(
    path: Path, index: int, column: SequencerColumn, rows: _Rows, symbols: dict[int, tuple[SymbolDiff, ...]]
) -> list[TornRows]:
    limits = np.zeros(len(rows.txn), np.int64)
    for position, txn in enumerate(rows.txn.tolist()):
        for diff in symbols.get(txn, ()):
            if diff.column == index:
                limits[position] = max([diff.clean_count, *(key + 1 for key in diff.keys)])
    bad_keys = _Bad()
    with DbFile(path) as file:
        for at, keys in _chunks(file, np.dtype("<i4"), rows):
            number, event, inside = _events_of(rows, at, len(keys))
            bad = inside & (keys != _NULL_SYMBOL) & ((keys < 0) | (keys >= limits[event]))
            bad_keys.add(number[bad], event[bad])
    return bad_keys.torn(Tear.SYMBOL, column, path, rows, 4, "symbol keys that its dictionary does not have")


def _check_variable(data: Path, aux: Path, column: SequencerColumn, rows: _Rows) -> list[TornRows]:
    bad_rows = _Bad()
    with DbFile(aux) as aux_file, DbFile(data) as data_file:
        size, spare = aux_shape(column.tag)
        held = aux_file.size // size - spare
        found = _short(aux, column, rows, size, held)
        for start, end in _spans(rows, held):
            bad = bad_variable_rows(column.type_code, aux_file, data_file, start, end)
            number = start + np.flatnonzero(bad)
            event = _event_of(rows, number)
            inside = number >= rows.start[event]
            bad_rows.add(number[inside], event[inside])
    return found + bad_rows.torn(
        Tear.VARIABLE, column, aux, rows, None, "values whose offsets, lengths or bytes do not fit"
    )


def _check_zero_pages(path: Path, column: SequencerColumn, rows: _Rows, size: int) -> list[TornRows]:
    with DbFile(path) as file:  # as a whole: the rows of one event alone may all be zeros
        runs = suspect_zero_pages(file, size, min(rows.all, _MAX_ROWS) * size)
    zeroed = _Bad()
    for first, end in runs:
        number = np.arange(first, end)
        event = _event_of(rows, number)
        inside = (number >= rows.start[event]) & (number < rows.end[event])
        zeroed.add(number[inside], event[inside])
    return zeroed.torn(Tear.ZERO_PAGES, column, path, rows, size, "whole pages of zeros between other values")


class _Bad:
    """Bad rows summed up per event: first row, last row, count."""

    def __init__(self) -> None:
        self._events: dict[int, tuple[int, int]] = {}

    def add(self, rows: NDArray[np.int64], events: NDArray[np.int64]) -> None:
        if not len(rows):
            return
        which, first = np.unique(events, return_index=True)
        last = np.append(first[1:], len(rows)) - 1
        for event, low, high in zip(which.tolist(), rows[first].tolist(), rows[last].tolist(), strict=True):
            known = self._events.get(event)
            self._events[event] = (known[0] if known else low, high)

    def torn(
        self, tear: Tear, column: SequencerColumn, path: Path, rows: _Rows, size: int | None, what: str
    ) -> list[TornRows]:
        return [
            TornRows(
                tear,
                column.name,
                path,
                None if size is None else low * size,
                int(rows.txn[event]),
                low,
                high + 1 - low,
                what,
            )
            for event, (low, high) in list(self._events.items())[:LIMIT]
        ]


def _whole(rows: _Rows, tear: Tear, column: SequencerColumn, path: Path, what: str) -> list[TornRows]:
    return [
        TornRows(tear, column.name, path, None, txn, start, end - start, what)
        for txn, start, end in zip(rows.txn.tolist(), rows.start.tolist(), rows.end.tolist(), strict=True)
    ][:LIMIT]


def _spans(rows: _Rows, held: int) -> Iterator[tuple[int, int]]:
    """Yield the row ranges to read, in steps: from the first event's first row to the last one's last, or to `held`."""
    low, high = int(rows.start[0]), min(int(rows.end.max()), held, _MAX_ROWS)
    for at in range(low, high, _CHUNK):
        yield at, min(at + _CHUNK, high)


def _chunks(file: DbFile, dtype: np.dtype[Any], rows: _Rows) -> Iterable[tuple[int, NDArray[Any]]]:
    for start, end in _spans(rows, file.size // dtype.itemsize):
        yield start, file.array(start * dtype.itemsize, dtype, end - start)


def _event_of(rows: _Rows, number: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum(np.searchsorted(rows.end, number, "right"), len(rows.end) - 1)


def _events_of(rows: _Rows, at: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return row number and index of the event for `count` rows from `at`, and whether the row is that event's."""
    number = np.arange(at, at + count)
    event = _event_of(rows, number)
    return number, event, (number >= rows.start[event]) & (number < rows.end[event])
