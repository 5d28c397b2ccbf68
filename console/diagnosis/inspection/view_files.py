"""Files of materialised views, field by field: `_mv` and `_mv.s` (MatViewDefinition, MatViewState, BlockFileUtils)."""

from typing import Final

from console.diagnosis.inspection.model import RecordView
from console.diagnosis.inspection.values import FieldReader, Note
from console.questdb.formats.database import (
    BLOCK,
    BLOCK_FILE,
    BLOCK_REGION,
    VIEW_INTERVALS,
    VIEW_STATE,
    VIEW_TIME,
)
from console.questdb.reading import DbFile

_MOST_BLOCKS: Final = 10_000
_MOST_NUMBERS: Final = 10_000
_STATE, _TIME, _PERIOD, _INTERVALS = range(4)


def view_file_views(file: DbFile, state: bool) -> tuple[RecordView, ...]:
    """Return header, regions and blocks of a `_mv.s` (`state`) or a `_mv`; an odd version makes A current."""
    read = FieldReader(file)
    header = read.values(BLOCK_FILE)
    version = header["version"]
    current = "A" if (version or 0) & 1 else "B"
    meaning = f"region {current} is the current one" if version else "nothing was ever committed to the file"
    read.record(BLOCK_FILE, 0, {"version": Note(meaning, bool(version and version > 0))})
    views = [RecordView("header", 0, BLOCK_FILE.size, read.taken())]
    for name in "AB":
        low, size = header[f"{name.lower()}_offset"], header[f"{name.lower()}_length"]
        if low is not None and size and low >= 0 and size >= BLOCK_REGION.size:
            title = f"region {name}, {'current' if name == current else 'the state before'}"
            views += _region(file, BLOCK_FILE.size + low, size, title, state)
    return tuple(sorted(views, key=lambda view: view.offset))


def _region(file: DbFile, at: int, size: int, title: str, state: bool) -> list[RecordView]:
    read = FieldReader(file)
    count = read.record(BLOCK_REGION, at)["blocks"] or 0
    views = [RecordView(title, at, BLOCK_REGION.size, read.taken())]
    end, place = min(file.size, at + size), at + BLOCK_REGION.size
    for number in range(min(count, _MOST_BLOCKS)):
        length = FieldReader(file).values(BLOCK, place)["length"]
        if length is None or length < BLOCK.size or place + length > end:
            break
        views.append(_block(file, place, length, f"{title}: block {number:,}", state))
        place += length
    return views


def _block(file: DbFile, at: int, length: int, title: str, state: bool) -> RecordView:
    read = FieldReader(file)
    kind, body = read.record(BLOCK, at)["type"], at + BLOCK.size
    if state and kind == _STATE:
        read.record(VIEW_STATE, body)
        read.text("reason", body + VIEW_STATE.size, "why the view is invalid")
    elif state and kind in (_TIME, _PERIOD):
        read.record(VIEW_TIME, body)
    elif state and kind == _INTERVALS:
        count = read.record(VIEW_INTERVALS, body)["count"] or 0
        first = body + VIEW_INTERVALS.size
        for index in range(min(count, (at + length - first) // 8, _MOST_NUMBERS)):
            read.number(f"bound {index}", first + 8 * index, 8, "of an interval that is still to be refreshed")
    elif not state and kind == 0:
        _definition(read, body)
    end = max(field.end for field in read.fields)
    if end < at + length:
        read.add("rest", end, at + length - end, f"{at + length - end:,} bytes", "")
    return RecordView(title, at, length, read.taken())


def _definition(read: FieldReader, at: int) -> None:
    read.number("refresh", at, 4, "0 immediate, 1 timer, 2 manual; -1, -2, -3: the same, deferred")
    _, at = read.text("base table", at + 4, limit=4096)
    read.number("interval", at, 8, "how many units of time a row stands for")
    unit = read.file.read(at + 8, 2).decode("utf-16-le", "replace")
    read.number("unit", at + 8, 2, "a UTF-16 unit", shown=unit)
    _, at = read.text("time zone", at + 10, limit=4096)
    _, at = read.text("time zone offset", at, limit=4096)
    read.text("statement", at, "what the view is made by")
