"""The sequencer's other files: `_wal_index.d`, `_meta` (of sequencer and segments), `_txnlog.meta.i` and `.meta.d`."""

import itertools
from typing import Final

from console.diagnosis.inspection.model import Field, RecordView
from console.diagnosis.inspection.values import FieldReader, Note
from console.questdb.column_types import type_name
from console.questdb.formats.model import RecordFormat
from console.questdb.formats.sequencer import SEQUENCER_META, SEQUENCER_ORDER, STRUCTURE_CHANGE, WAL_INDEX
from console.questdb.reading import DbFile
from console.text import plural

MOST_COLUMNS: Final = 100_000
_READ_ORDER = "column read order"


def wal_index_view(file: DbFile, what: str = "wal id") -> RecordView:
    """Return the highest id handed out, an i64 at the start of `_wal_index.d` (or `_tab_index.d`)."""
    read = FieldReader(file)
    value = read.values(WAL_INDEX)["highest"]
    meaning = f"the highest {what} handed out; the next writer gets one more"
    if value == 0:
        meaning = f"zero is its normal value only before the first {what} was handed out"
    read.record(WAL_INDEX, 0, {"highest": Note(meaning, value is None or value >= 0, label=f"highest {what}")})
    return RecordView("header", 0, WAL_INDEX.size, read.taken())


def metadata_views(file: DbFile, segment: bool) -> tuple[RecordView, ...]:
    """Return header, columns and tail of a `_meta` in the sequencer's layout (SequencerMetadata.syncToMetaFile)."""
    read = FieldReader(file)
    values = read.values(SEQUENCER_META)
    length, structure, count, timestamp = (
        values[name] for name in ("length", "structure_version", "columns", "timestamp_index")
    )
    meaning = "-2: the table was dropped" if structure == -2 else "zero is its normal value until a first ALTER"
    if structure is not None and structure > 0:
        meaning = "changes of structure up to here"
    inside = count is not None and timestamp is not None and -1 <= timestamp < count
    known = values["version"] == 0
    notes = {
        "version": Note("zero is its normal value" if known else "9.1.0 accepts only 0", known),
        "structure_version": Note(meaning, structure is None or structure >= -2),
        "timestamp_index": Note(None if inside else "outside of the columns: the server refuses the file", inside),
    }
    read.record(SEQUENCER_META, 0, notes)
    at = SEQUENCER_META.size
    views = [RecordView("header", 0, at, read.taken())]
    end = min(file.size, length) if length and length > 0 else file.size
    for index in range(min(count or 0, MOST_COLUMNS)):
        if at >= end:
            break
        view, at = _column(file, index, at)
        views.append(view)
    if not segment and at < end:
        views.append(_order(file, at, end))
    return tuple(views)


def _column(file: DbFile, index: int, at: int) -> tuple[RecordView, int]:
    read = FieldReader(file)
    code = read.peek(at, 4)
    if code is not None:
        shown = f"dropped (was {type_name(-code)})" if code < 0 else type_name(code)
        known = code != 0
        read.number("type", at, 4, "the column's type" if known else "zero is no type", normal=known, shown=shown)
    name, after = read.text("name", at + 4, "the column's name", limit=10_000)
    return RecordView(f"column {index} {name or ''}".rstrip(), at, after - at, read.taken()), after


def _order(file: DbFile, at: int, end: int) -> RecordView:
    read = FieldReader(file)
    count = read.record(SEQUENCER_ORDER, at)["count"] or 0
    first = at + SEQUENCER_ORDER.size
    for index in range(min(count, (end - first) // 4)):
        read.number(f"read order {index}", first + 4 * index, 4, "index of a column")
    return RecordView(_READ_ORDER, at, end - at, read.taken())


def index_view(file: DbFile, offset: int, form: RecordFormat, first: int, of: str) -> RecordView:
    """Return the entry that holds `offset` of `_txnlog.meta.i` or `_event.i`: each above the one before, then zeros."""
    index = offset // form.size
    at = form.size * index
    name = form.fields[0].name
    read = FieldReader(file)
    value, before = (read.values(form, place)[name] if place >= 0 else None for place in (at, at - form.size))
    if index == 0:
        meaning, normal = f"the first is {first}", value == first
    elif value == 0:
        meaning, normal = f"zero is its normal value: no such {of}", True
    else:
        normal = value is not None and before is not None and value > before
        meaning = form.fields[0].meaning if normal else "not above the entry before it"
    read.record(form, at, {name: Note(meaning, normal, label=f"{name} of {of} {index}")})
    return RecordView(f"entry {index}", at, form.size, read.taken())


def structure_change_views(file: DbFile, ends: tuple[int, ...]) -> tuple[RecordView, ...]:
    """Return the changes of `_txnlog.meta.d`, whose `ends` the index gives (first 0, then ascending)."""
    views = []
    for version, (at, end) in enumerate(itertools.pairwise(ends), start=1):
        read = FieldReader(file)
        values = read.values(STRUCTURE_CHANGE, at)
        known = STRUCTURE_CHANGE["command"].code(values["command"] or 0) is not None
        notes = {"length": Note(normal=values["length"] == end - at - 4)}
        if not known:
            notes["command"] = Note("not a command that changes structure")
        longs = read.record(STRUCTURE_CHANGE, at, notes)["numbers"] or 0
        place = at + STRUCTURE_CHANGE.size
        for index in range(min(longs, max(0, (end - place) // 8))):
            read.number(f"number {index}", place, 8)
            place += 8
        texts = read.number("texts", place, 4, "how many texts follow") or 0
        place += 4
        for index in range(min(texts, max(0, (end - place) // 4))):
            _, place = read.text(f"text {index}", place, limit=10_000)
        views.append(RecordView(f"change to structure version {version}", at, end - at, read.taken()))
    return tuple(views)


def slack_view(file: DbFile, at: int, end: int, what: str) -> RecordView:
    """Return the run of unused bytes from `at` to `end`, at most a page of it."""
    size = max(1, min(4096, end - at))
    data = file.read(at, size)
    zero = not any(data)
    meaning = f"zero is its normal value: {what}" if zero else f"left over from before: {what}"
    return RecordView("slack", at, size, (Field("slack", at, size, "zeros" if zero else "bytes", meaning),))


def summary_of_metadata(views: tuple[RecordView, ...]) -> str:
    header = {field.name: field.value for field in views[0].fields}
    columns = sum(1 for view in views if view.title.startswith("column ") and view.title != _READ_ORDER)
    return f"structure version {header.get('structure version', '?')}, {plural(columns, 'column')}"
