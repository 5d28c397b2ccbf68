"""A segment's `_event` and `_event.i`, field by field (WalUtils.WALE_*, WalEventWriter)."""

from typing import Final

import numpy as np

from console.diagnosis.inspection.model import RecordView
from console.diagnosis.inspection.values import FieldReader, data_moment, moment
from console.questdb.reading import DbFile

HEADER: Final = 8
MOST_EVENT: Final = 64 << 20
_INDEX_CHUNK: Final = 1 << 20
_TYPES: Final = {
    0: "rows",
    1: "SQL",
    2: "TRUNCATE",
    3: "rows of a materialised view",
    4: "materialised view invalidated",
}
_SQL: Final = {2: "ALTER", 3: "UPDATE"}
_MODES: Final = {1: "no deduplication", 2: "deduplication", 3: "replace range"}


def event_header_view(file: DbFile) -> RecordView:
    """Return the 8 bytes at the start of `_event`."""
    read = FieldReader(file)
    last = read.peek(0, 4)
    meaning = "number of the last event; zero both for one event and for none"
    read.number("last segmentTxn", 0, 4, meaning if (last or 0) <= 0 else "number of the last event, from 0",
                normal=last is None or last >= -1)  # fmt: skip
    version = read.peek(4, 2)
    read.number("format", 4, 2, "zero is its normal value; 1 with materialised views" if version in (0, 1) else
                "9.1.0 knows only 0 and 1", normal=version in (0, 1))  # fmt: skip
    read.number("format, high", 6, 2, "zero is its normal value")
    return RecordView("header", 0, HEADER, read.taken())


def event_offsets(file: DbFile, wanted: int) -> int:
    """Return where the event that holds the byte at `wanted` begins, by walking from the first: lengths chain them."""
    at = HEADER
    while True:
        length = int.from_bytes(file.read(at, 4), "little", signed=True)
        if length < 13 or length > MOST_EVENT or at + length > wanted or at + length > file.size:
            return at
        at += length


def event_view(file: DbFile, at: int, nanos: bool = False) -> RecordView:
    """Return the event that begins at `at`, or the terminator (length -1) and what lies behind it."""
    read = FieldReader(file)
    length = read.peek(at, 4)
    if length == -1:
        read.number("length", at, 4, "-1: no event follows")
        return RecordView("end of events", at, 4, read.taken())
    if length is None or not 13 <= length <= MOST_EVENT or at + length > file.size:
        read.number("length", at, 4, "not a length that an event has: the file is cut or damaged here", normal=False)
        return RecordView("no event", at, 4, read.taken())
    read.number("length", at, 4, "bytes of this event, these four included")
    number = read.number("segmentTxn", at + 4, 8, "the event's number in this segment; zero is the first")
    kind = read.peek(at + 12, 1)
    named = _TYPES.get(kind if kind is not None else -1)
    read.number("type", at + 12, 1, named or "not a type that 9.1.0 knows", normal=named is not None)
    if kind in (0, 3):
        _rows(read, at, length, kind, nanos)
    elif kind == 1:
        command = read.peek(at + 13, 4)
        read.number("command", at + 13, 4, shown=_SQL.get(command or 0, f"{command}"))
        _, after = read.text("statement", at + 17)
        read.number("random seed 0", after, 8)
        clock = read.peek(after + 8, 8)
        read.number("random seed 1", after + 8, 8, "the server's clock", shown=moment(clock) if clock else "0")
    elif kind == 4:
        read.number("base transaction", at + 13, 8)
        clock = read.peek(at + 21, 8)
        read.number("refreshed at", at + 21, 8, shown=moment(clock) if clock else "0")
        read.number("invalid", at + 29, 1, "1: the view is invalid")
        read.text("reason", at + 30)
    title = f"event {number:,}, {named}" if number is not None and named else "event"
    return RecordView(title, at, length, read.taken())


def _rows(read: FieldReader, at: int, length: int, kind: int, nanos: bool) -> None:
    read.number("first row", at + 13, 8, "in the segment's columns; zero is the first")
    read.number("end row", at + 21, 8, "the row after the last")
    for name, offset in (("min timestamp", 29), ("max timestamp", 37)):
        value = read.peek(at + offset, 8)
        shown = data_moment(value, nanos) if value is not None else ""
        read.number(name, at + offset, 8, "of the rows of this event", shown=shown)
    read.number("out of order", at + 45, 1, "zero: the rows are in timestamp order")
    symbols = at + 46
    if kind == 3:
        read.number("base transaction", at + 46, 8)
        clock = read.peek(at + 54, 8)
        read.number("refreshed at", at + 54, 8, shown=moment(clock) if clock else "0")
        symbols += 16
    end = at + length
    mode = read.peek(end - 1, 1)
    footer = end - 25 if read.peek(end - 29, 4) == -1 and mode in (1, 2, 3) and end - 29 >= symbols else end
    if footer > symbols:
        read.add("symbols", symbols, footer - symbols, f"{footer - symbols:,} bytes", "new symbol values, then -1")
    if footer < end:
        read.number("extra", footer, 8)
        read.number("replace range, low", footer + 8, 8)
        read.number("replace range, high", footer + 16, 8)
        read.number("deduplication mode", footer + 24, 1, _MODES.get(mode or 0, ""))


def event_index_view(file: DbFile, offset: int) -> RecordView:
    """Return the entry of `_event.i` that holds `offset`: entry k is where event k begins in `_event`."""
    index = offset // 8
    read = FieldReader(file)
    value = read.peek(8 * index, 8)
    before = read.peek(8 * index - 8, 8) if index else None
    if index == 0:
        meaning, normal = "the first event begins at 8", value == 8
    elif value == 0:
        meaning, normal = "zero is its normal value: no such event", True
    else:
        meaning = "where the event begins; the last entry is where the events end"
        normal = value is not None and before is not None and value > before
    read.number(f"offset of event {index}", 8 * index, 8, meaning, normal=normal)
    return RecordView(f"entry {index}", 8 * index, 8, read.taken())


def used_entries(file: DbFile) -> int:
    """Return how many entries of an index (`_event.i`, `_txnlog.meta.i`) are used: up to the last non-zero one."""
    count = file.size // 8
    for at in range((count - 1) // _INDEX_CHUNK * _INDEX_CHUNK if count else -1, -1, -_INDEX_CHUNK):
        used = np.flatnonzero(file.array(8 * at, "<i8", min(_INDEX_CHUNK, count - at)))
        if len(used):
            return at + int(used[-1]) + 1
    return 0
