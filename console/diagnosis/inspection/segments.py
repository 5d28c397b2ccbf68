"""A segment's `_event` and `_event.i`, field by field (WalUtils.WALE_*, WalEventWriter)."""

from typing import Final

import numpy as np

from console.diagnosis.inspection.model import RecordView
from console.diagnosis.inspection.values import FieldReader, Note
from console.questdb.formats.model import RecordFormat
from console.questdb.formats.segment import (
    EVENT,
    EVENT_FOOTER,
    EVENT_HEADER,
    EVENT_INVALIDATE,
    EVENT_ROWS,
    EVENT_SEEDS,
    EVENT_SQL,
    EVENT_VIEW_ROWS,
)
from console.questdb.reading import DbFile

HEADER: Final = EVENT_HEADER.size
MOST_EVENT: Final = 64 << 20
_INDEX_CHUNK: Final = 1 << 20


def event_header_view(file: DbFile) -> RecordView:
    """Return the 8 bytes at the start of `_event`."""
    read = FieldReader(file)
    values = read.values(EVENT_HEADER)
    last, known = values["last_txn"], values["format"] in (0, 1, 2)
    meaning = "number of the last event; zero both for one event and for none"
    notes = {
        "last_txn": Note(
            meaning if (last or 0) <= 0 else "number of the last event, from 0", last is None or last >= -1
        ),
        "format": Note(
            "zero is its normal value; 1 with materialised views, 2 with views" if known else "not a known format",
            known,
        ),
    }
    read.record(EVENT_HEADER, 0, notes)
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
    read = FieldReader(file, nanos)
    values = read.values(EVENT, at)
    length, number, kind = values["length"], values["txn"], values["type"]
    if length == -1:
        read.number("length", at, 4, "-1: no event follows")
        return RecordView("end of events", at, 4, read.taken())
    if length is None or not EVENT.size <= length <= MOST_EVENT or at + length > file.size:
        read.number("length", at, 4, "not a length that an event has: the file is cut or damaged here", normal=False)
        return RecordView("no event", at, 4, read.taken())
    code = EVENT["type"].code(kind if kind is not None else -1)
    notes = {"type": Note(code.name if code else "not a type that is known", shown=f"{kind}")}
    if kind in (0, 3):
        _rows(read, at, length, EVENT_VIEW_ROWS if kind else EVENT_ROWS, notes)
    else:
        read.record(EVENT, at, notes)
    body, rest = at + EVENT.size, ""
    if kind == 1:
        read.record(EVENT_SQL, body)
        _, after = read.text("statement", body + EVENT_SQL.size)
        read.record(EVENT_SEEDS, after)
        rest = "bind values"
    elif kind == 4:
        read.record(EVENT_INVALIDATE, body)
        read.text("reason", body + EVENT_INVALIDATE.size)
        rest = "period and intervals"
    elif kind == 5:
        rest = "definition"
    end = max(field.end for field in read.fields)
    if rest and end < at + length:
        read.add(rest, end, at + length - end, f"{at + length - end:,} bytes", "")
    title = f"event {number:,}, {code.name}" if number is not None and code else "event"
    return RecordView(title, at, length, read.taken())


def _rows(read: FieldReader, at: int, length: int, form: RecordFormat, notes: dict[str, Note]) -> None:
    read.record(form, at, notes)
    symbols, end = at + form.size, at + length
    ending = end - EVENT_FOOTER.size
    footer = read.values(EVENT_FOOTER, ending)
    there = footer["end_of_symbols"] == -1 and footer["mode"] in (1, 2, 3) and ending >= symbols
    last = ending if there else end
    if last > symbols:
        read.add("symbols", symbols, last - symbols, f"{last - symbols:,} bytes", "new symbol values, then -1")
    if there:
        read.record(EVENT_FOOTER, ending)


def used_entries(file: DbFile) -> int:
    """Return how many entries of an index (`_event.i`, `_txnlog.meta.i`) are used: up to the last non-zero one."""
    count = file.size // 8
    for at in range((count - 1) // _INDEX_CHUNK * _INDEX_CHUNK if count else -1, -1, -_INDEX_CHUNK):
        used = np.flatnonzero(file.array(8 * at, "<i8", min(_INDEX_CHUNK, count - at)))
        if len(used):
            return at + int(used[-1]) + 1
    return 0
