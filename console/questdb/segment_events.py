"""The records of a segment's `_event` as an array: types, rows, timestamps, dedup mode (WalEventCursor).

formats/segment.py has the fields of a record.
"""

from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.formats.segment import (
    EVENT_FOOTER,
    EVENT_INVALIDATE,
    EVENT_ROWS,
    EVENT_SEEDS,
    EVENT_SQL,
    EVENT_VIEW_ROWS,
)
from console.questdb.reading import Problem, ProblemKind
from console.questdb.segment_chain import COMMON_SIZE, HEADER_SIZE, prefixes


class EventType(IntEnum):
    """Types of segment transactions (WalTxnType); UNREADABLE is ours, for a record that cannot be decoded."""

    UNREADABLE = -1
    DATA = 0
    SQL = 1
    TRUNCATE = 2
    MAT_VIEW_DATA = 3
    MAT_VIEW_INVALIDATE = 4


class DedupMode(IntEnum):
    """What the footer of a data event asks for (WalUtils.WAL_DEDUP_MODE_*)."""

    DEFAULT = 0
    NO_DEDUP = 1
    UPSERT_NEW = 2
    REPLACE_RANGE = 3


EVENT: Final = np.dtype(
    [
        ("txn", "<i8"),
        ("type", "i1"),
        ("offset", "<i8"),
        ("length", "<i4"),
        ("start_row", "<i8"),
        ("end_row", "<i8"),
        ("min_ts", "<i8"),
        ("max_ts", "<i8"),
        ("out_of_order", "?"),
        ("dedup_mode", "i1"),
        ("replace_low", "<i8"),
        ("replace_high", "<i8"),
        ("base_txn", "<i8"),
        ("refresh_us", "<i8"),
    ]
)
"""One segment transaction. Rows are start_row..end_row - 1 of the segment's columns; timestamps are in the unit of the
designated column; only data events have rows, timestamps and dedup fields, only MAT_VIEW_DATA the last two. An
UNREADABLE one has the rows that its bytes name if these follow on the rows before it, -1 where they name others, and 0
where nothing is left of it (`add_named_rows`)."""

_SYMBOLS_END: Final = EVENT_FOOTER["end_of_symbols"].size
_MOST_NAMED: Final = 10_000
_KNOWN: Final = {
    EventType.SQL: tuple(code.value for code in EVENT_SQL["command"].codes),
    EventType.MAT_VIEW_INVALIDATE: (0, 1),
}
"""The first byte of a statement's command, and the flag of an invalidation."""


def is_data(events: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return the mask of those of `events` (EVENT) that carry rows."""
    kind = events["type"]
    mask: NDArray[np.bool_] = (kind == EventType.DATA) | (kind == EventType.MAT_VIEW_DATA)
    return mask


def decode_events(event: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[Any]:
    events = np.zeros(len(offsets), EVENT)
    events["txn"] = np.arange(len(offsets))
    events["offset"] = offsets
    events["type"] = EventType.UNREADABLE
    found = np.flatnonzero(offsets >= 0)
    prefix = prefixes(event, offsets[found])
    events["type"][found] = prefix["type"]
    events["length"][found] = prefix["length"]
    is_view = prefix["type"] == EventType.MAT_VIEW_DATA
    rows = (prefix["type"] == EventType.DATA) | is_view
    least = np.where(is_view, EVENT_VIEW_ROWS.size, EVENT_ROWS.size) + _SYMBOLS_END
    cut = rows & (prefix["length"] < least)
    events["type"][found[cut]] = EventType.UNREADABLE
    rows &= ~cut
    others = found[~rows & ~cut]
    events["type"][others[~_fits_its_type(event, events[others])]] = EventType.UNREADABLE
    for name in ("start_row", "end_row", "min_ts", "max_ts", "out_of_order"):
        events[name][found[rows]] = prefix[name][rows]
    for name in ("base_txn", "refresh_us"):
        events[name][found[rows & is_view]] = prefix[name][rows & is_view]
    _add_footers(event, events, found[rows])
    return events


def _fits_its_type(event: NDArray[np.uint8], events: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which of these `events`, which are no rows, have a body of their type: the byte can be another valid one.

    A TRUNCATE has no body. The text of a statement, and the reason of an invalidation, end inside the record.
    """
    length, kind = events["length"].astype(np.int64), events["type"]
    fits: NDArray[np.bool_] = (kind != EventType.TRUNCATE) | (length == COMMON_SIZE)
    for each, head, behind, names in (
        (EventType.SQL, EVENT_SQL, EVENT_SEEDS.size, "command"),
        (EventType.MAT_VIEW_INVALIDATE, EVENT_INVALIDATE, 0, "invalid"),
    ):
        mine = np.flatnonzero(kind == each)
        body = events["offset"][mine] + COMMON_SIZE
        text = _i32(event, body + head.size)
        known = np.isin(event[np.minimum(body + head.at(names), len(event) - 1)], _KNOWN[each])
        least = COMMON_SIZE + head.size + 4 + 2 * np.maximum(text, 0) + behind
        said = (text >= -1) & ((text != 0) | (each != EventType.SQL))  # where a statement's text would be, rows have 0
        fits[mine] = known & said & (length[mine] >= least)
    return fits


def _i32(event: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the i32 at each of `offsets`; bytes past the end of the file count as zeros."""
    found = np.zeros((len(offsets), 4), np.uint8)
    for byte in range(4):
        inside = offsets + byte < len(event)
        found[inside, byte] = event[offsets[inside] + byte]
    return found.view("<i4").reshape(-1).astype(np.int64)


def _add_footers(event: NDArray[np.uint8], events: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Fill in dedup mode and replaced range of the data events `rows`, found as WalEventCursor finds them."""
    size = EVENT_FOOTER.size
    ends = events["offset"][rows] + events["length"][rows]
    roomy = events["length"][rows] - EVENT_ROWS.size >= size
    rows, ends = rows[roomy], ends[roomy]
    if not len(rows):
        return
    windows = np.lib.stride_tricks.sliding_window_view(event, size)
    footer = np.ascontiguousarray(windows[ends - size]).view(EVENT_FOOTER.dtype).reshape(-1)
    there = (footer["end_of_symbols"] == -1) & (footer["mode"] >= 0) & (footer["mode"] <= DedupMode.REPLACE_RANGE)
    events["dedup_mode"][rows[there]] = footer["mode"][there]
    events["replace_low"][rows[there]] = footer["low"][there]
    events["replace_high"][rows[there]] = footer["high"][there]


def add_named_rows(event: NDArray[np.uint8], index: NDArray[np.int64], events: NDArray[Any]) -> None:
    """Give each UNREADABLE one of `events` the rows that its bytes name, where the index says that it begins.

    A type or a length that is damaged leaves the body: rows that begin where those before it end are no accident.
    """
    for at in np.flatnonzero(events["type"] == EventType.UNREADABLE)[:_MOST_NAMED].tolist():
        offset = int(index[at]) if at < len(index) else 0
        if not HEADER_SIZE <= offset <= len(event) - COMMON_SIZE:
            continue
        body = prefixes(event, np.array([offset]))[0]
        before = events[:at]
        rows = before[before["end_row"] > 0]["end_row"]
        start = int(rows[-1]) if len(rows) else 0
        named = body["txn"] == at and body["start_row"] == start < body["end_row"] and body["min_ts"] <= body["max_ts"]
        if named:
            events["start_row"][at], events["end_row"][at] = body["start_row"], body["end_row"]
        elif event[offset : offset + EVENT_ROWS.size].any():
            events["start_row"][at] = events["end_row"][at] = -1


def row_problems(events: NDArray[Any], file: Path) -> list[Problem]:
    """Return where row ranges do not follow one another: first start 0, each start the end of the data event before."""
    data = events[is_data(events)]
    if not len(data):
        return []
    if (events["type"] == EventType.UNREADABLE).any():
        bad = np.flatnonzero(data["end_row"] < data["start_row"])
    else:
        expected = np.concatenate([[0], data["end_row"][:-1]])
        bad = np.flatnonzero((data["start_row"] != expected) | (data["end_row"] < data["start_row"]))
    return [
        Problem(
            ProblemKind.INVALID,
            f"segment transaction {int(data['txn'][at]):,} claims the rows {int(data['start_row'][at]):,} to "
            f"{int(data['end_row'][at]):,}, which do not follow those before it",
            file,
            int(data["offset"][at]) + COMMON_SIZE,
        )
        for at in bad[:1]
    ]
