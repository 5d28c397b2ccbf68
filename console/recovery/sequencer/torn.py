"""Segment transactions whose column files do not hold the rows that they say: what a power loss leaves behind.

The server applies them without complaint (measured: rows of 1970, prices of zero). Certain: a timestamp outside the
event's own bounds, a row number that is not the row's, a file that ends early, a symbol key nobody knows, offsets that
go back. Suspected only: whole pages of zeros in a column whose other rows are not zero.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag, value_dtype
from console.questdb.reading import DbFile, Problem
from console.questdb.segment import Segment
from console.questdb.segment_details import SymbolDiff, read_symbols
from console.questdb.sequencer_metadata import SequencerColumn
from console.recovery.sequencer.column_files import WAL_TIMESTAMP, ColumnMissingError, segment_timestamps
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.inventory import Mask, is_data

_PAGE: Final = 4096
_NULL_SYMBOL: Final = -(1 << 31)
_ALIGNED: Final = {ColumnTag.STRING: ("<i8", 0), ColumnTag.BINARY: ("<i8", 0), ColumnTag.VARCHAR: ("<u8", 16)}


@dataclass(frozen=True, slots=True)
class Torn:
    """`mask` over the inventory's events: surely torn. `suspects` are sentences about those that only may be."""

    mask: Mask
    suspects: tuple[str, ...]


def find(table: TableOnDisk) -> Torn:
    """Return which events of the table's segments are torn. Never raises: what cannot be read is torn."""
    mask = np.zeros(len(table.inventory), np.bool_)
    suspects: list[str] = []
    events = table.inventory.events
    for (wal, number), segment in table.segments.items():
        at = np.flatnonzero((events["wal"] == wal) & (events["segment"] == number) & is_data(events))
        at = at[events["end"][at] > events["start"][at]]
        if not len(at):
            continue
        bad, found = _segment(segment, events[at])
        mask[at[bad]] = True
        suspects += [f"wal{wal}/{number}: {each}" for each in found]
    return Torn(mask, tuple(suspects[:20]))


def _segment(segment: Segment, events: NDArray[Any]) -> tuple[Mask, list[str]]:
    last = int(events["end"].max())
    if segment.metadata is None:
        return np.ones(len(events), np.bool_), []
    bad = _timestamps(segment, events, last)
    suspects: list[str] = []
    symbols = read_symbols(segment)
    for index, column in enumerate(segment.metadata.columns):
        if column.dropped or index == segment.metadata.timestamp_index:
            continue
        path = segment.path / f"{column.raw_name}.d"
        dtype = value_dtype(column.type_code)
        try:
            if dtype is None:
                bad |= _variable(segment, column, events)
                continue
            with DbFile(path) as file:
                values = file.array(0, dtype, last)
        except OSError:
            bad[:] = True
            continue
        bad |= events["end"] > len(values)
        if column.tag is ColumnTag.SYMBOL:
            bad |= _symbols(values, events, index, symbols)
        zeros = _zero_pages(values, events)
        if (zeros & ~bad).any():
            many = int((zeros & ~bad).sum())
            suspects.append(
                f"whole pages of zeros in column {column.name} of {many} transactions: the disk may have lost them"
            )
    return bad, suspects


def _timestamps(segment: Segment, events: NDArray[Any], last: int) -> Mask:
    try:
        values = segment_timestamps(segment, last)
    except ColumnMissingError:
        return _short_timestamps(segment, events)
    except OSError:
        return np.ones(len(events), np.bool_)
    return _wrong_timestamps(values, events)


def _short_timestamps(segment: Segment, events: NDArray[Any]) -> Mask:
    """Return which events the timestamp file does not reach, or holds wrong."""
    column = segment.metadata.timestamp if segment.metadata is not None else None
    bad = np.ones(len(events), np.bool_)
    if column is None:
        return bad
    try:
        with DbFile(segment.path / f"{column.raw_name}.d") as file:
            held = file.size // WAL_TIMESTAMP.itemsize
    except OSError:
        return bad
    inside = events["end"] <= held
    if inside.any():
        bad[inside] = _wrong_timestamps(segment_timestamps(segment, int(events["end"][inside].max())), events[inside])
    return bad


def _wrong_timestamps(values: NDArray[Any], events: NDArray[Any]) -> Mask:
    """Return which events have a timestamp outside their bounds or a row that is not numbered as its place says."""
    wrong_row = values["row"] != np.arange(len(values))
    stamps = values["timestamp"]
    low, high = _spread(stamps, events)
    return np.asarray((low < events["min_ts"]) | (high > events["max_ts"]) | (_any(wrong_row, events)))


def _spread(values: NDArray[Any], events: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    bounds = np.stack((events["start"], events["end"]), axis=1).reshape(-1)
    padded = np.append(values, values[-1:])
    return np.minimum.reduceat(padded, bounds)[::2], np.maximum.reduceat(padded, bounds)[::2]


def _any(flags: Mask, events: NDArray[Any]) -> Mask:
    total = np.concatenate(([0], np.cumsum(flags)))
    return np.asarray(total[np.minimum(events["end"], len(flags))] > total[np.minimum(events["start"], len(flags))])


def _symbols(
    values: NDArray[Any], events: NDArray[Any], index: int, symbols: dict[int, tuple[SymbolDiff, ...]] | Problem
) -> Mask:
    """Return which events use a key that neither the table had nor the event brings."""
    if isinstance(symbols, Problem):
        return np.ones(len(events), np.bool_)
    known = np.zeros(len(events), np.int64)
    for at, txn in enumerate(events["txn"].tolist()):
        for diff in symbols.get(txn, ()):
            if diff.column == index:
                known[at] = max([diff.clean_count, *(key + 1 for key in diff.keys)])
    owner = np.repeat(np.arange(len(events)), np.maximum(0, np.minimum(events["end"], len(values)) - events["start"]))
    rows = _rows(events, len(values))
    keys = values[rows]
    wrong = (keys != _NULL_SYMBOL) & ((keys < 0) | (keys >= known[owner]))
    return np.bincount(owner, wrong, len(events)) > 0


def _rows(events: NDArray[Any], limit: int) -> NDArray[np.int64]:
    """Return the row numbers of all `events`, one after another, below `limit`."""
    parts = [np.arange(int(e["start"]), min(int(e["end"]), limit)) for e in events]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _zero_pages(values: NDArray[Any], events: NDArray[Any]) -> Mask:
    """Return which events touch a page that is all zeros, in a column that is not all zeros."""
    size = values.dtype.itemsize
    raw = np.ascontiguousarray(values).view(np.uint8)
    whole = len(raw) // _PAGE
    if size < 4 or not whole or not raw.any():  # pages of false or of small numbers are nothing unusual
        return np.zeros(len(events), np.bool_)
    zero = ~raw[: whole * _PAGE].reshape(whole, _PAGE).any(axis=1)
    if not zero.any():
        return np.zeros(len(events), np.bool_)
    per_page = np.repeat(zero, _PAGE)[::size]
    return _any(np.asarray(per_page), events)


def _variable(segment: Segment, column: SequencerColumn, events: NDArray[Any]) -> Mask:
    """Return which events have offsets that go back or lie past the end of the data file."""
    last = int(events["end"].max())
    form = _ALIGNED.get(column.tag) if column.tag is not None else None
    with DbFile(segment.path / f"{column.raw_name}.i") as aux, DbFile(segment.path / f"{column.raw_name}.d") as data:
        if form is None:
            return np.asarray(events["end"] * 16 > aux.size)
        if column.tag is ColumnTag.VARCHAR:
            entries = aux.array(0, "<u8", 2 * last)
            offsets = (entries[1::2] >> np.uint64(16)).astype(np.int64)
        else:
            offsets = aux.array(0, "<i8", last)
        size = data.size
    short = events["end"] > len(offsets)
    back = np.concatenate(([False], np.diff(offsets) < 0)) | (offsets > size) | (offsets < 0)
    return np.asarray(short | _any(back, events))
