"""One row of bytes drawn as a line: offset, hexadecimal digits, label, text; what is special by glyph and by role."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, left, line, right

GAP = 2  # cells between the offset and the first byte
_HEX = tuple(f"{value:02x}" for value in range(256))


class Bytes(Protocol):
    """A file to read from; reads stay inside it and may come back short where it shrank."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes at `offset`. Raises OSError where the device fails."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What is known of one row: a label for its end, and the bytes that are no normal ones (from, to)."""

    label: str = ""
    abnormal: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class HexFile:
    """A file and how it is laid out; `facts` is asked for each row in sight."""

    source: Bytes
    base: int | None = None
    record: int | None = None
    facts: Callable[[int, int], RowFacts] = field(default=lambda offset, count: RowFacts())
    span: Callable[[int], tuple[int, int]] = field(default=lambda offset: (offset, offset + 1))  # field at an offset
    tail: str = ""  # shown after the last byte, e.g. that the header wants more
    labels: int = 0  # cells for labels at the end of rows
    kept: tuple[int, ...] = ()  # offsets over which zeros are not folded


@dataclass(frozen=True, slots=True)
class Look:
    """How rows are drawn now. `field` and `chosen` are bytes from, to (exclusive); the latter are what is selected."""

    width: int
    digits: int
    per_row: int
    labels: int
    cursor: int
    field: tuple[int, int]
    chosen: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Row:
    """The bytes of one row. `data` is shorter than `count` where the file is; `other` are those it is held against."""

    offset: int
    count: int
    data: bytes
    begins_record: bool
    size: int  # of the whole file
    other: bytes | None = None


def row_line(row: Row, facts: RowFacts, look: Look) -> Line:
    """Return the line of a row, exactly `look.width` cells wide. A row that looks as before is not drawn again."""
    begins, ends = row.offset, row.offset + row.count
    field = look.field if look.field[0] < ends and look.field[1] > begins else (0, 0)
    chosen = look.chosen if look.chosen[0] < ends and look.chosen[1] > begins else (0, 0)
    if look.chosen[1] > look.chosen[0]:
        field = (0, 0)  # what is selected is marked in its stead
    cursor = look.cursor if begins <= look.cursor < ends else -1
    return _row_line(row, facts, replace(look, cursor=cursor, field=field, chosen=chosen))


@functools.lru_cache(maxsize=1024)
def _row_line(row: Row, facts: RowFacts, look: Look) -> Line:
    differs = row.other is not None and row.data != row.other
    spans = [
        Span(f"{row.offset:0{look.digits}x}", Role.ACCENT if row.begins_record else Role.DIM),
        Span(f"{glyphs.DIFFERS} " if differs else " " * GAP, Role.DIFF if differs else Role.PLAIN),
    ]
    text: list[Span] = []
    marked = look.chosen if look.chosen[1] > look.chosen[0] else look.field
    for place in range(row.count):
        at = row.offset + place
        value = row.data[place] if place < len(row.data) else None
        if value is None and at >= row.size:
            spans.append(Span("   "))
            continue
        role = _role(row, place, value, facts, look.cursor, marked)
        joined = marked[0] <= at and at + 1 < marked[1]
        spans.append(Span("--" if value is None else _HEX[value], role))
        spans.append(Span(" ", Role.FIELD if joined else Role.DIM if role is Role.DIM else Role.PLAIN))
        text.append(Span(byte_glyph(value), Role.DIM if role is Role.PLAIN else role))
    used = look.digits + GAP + look.per_row * 3
    spans.append(Span(" " * ((look.per_row - row.count) * 3)))
    if look.labels and used + look.labels <= look.width:
        spans.extend(right(line(Span(facts.label, Role.DIM)), look.labels))
        used += look.labels
    if used + 1 + look.per_row <= look.width:
        spans.append(Span(" "))
        spans.extend(text)
    return left(_joined(spans), look.width)


def fold_line(offset: int, end: int, rows: int, begins: RowFacts, ends: RowFacts, look: Look) -> Line:
    """Return the line of a run of zeros: its length, where it ends, and whether there is damage in it."""
    bad = bool(begins.abnormal or ends.abnormal)
    here = offset <= look.cursor < end
    role = Role.CURSOR if here else Role.BAD if bad else Role.DIM
    size = end - offset
    what = f"zeros: {figures.count(size)} bytes, {figures.count(rows)} rows, to {end - 1:#x}"
    labels = " to ".join(label for label in dict.fromkeys((begins.label, ends.label)) if label)
    return left(
        line(
            Span(f"{offset:0{look.digits}x}", Role.DIM),
            Span(f"{glyphs.BAD} " if bad else f"{glyphs.CLOSED} ", Role.BAD if bad else Role.DIM),
            Span(what, role),
            Span(f"  {labels}" if labels else "", Role.DIM),
        ),
        look.width,
    )


def byte_glyph(value: int | None) -> str:
    """Return one cell that tells a byte's class without colour: zero, printable, control, high."""
    if value is None:
        return " "
    if value == 0:
        return "·"
    if 0x20 <= value < 0x7F:
        return chr(value)
    return "•" if value < 0x20 or value == 0x7F else "×"


def _role(row: Row, place: int, value: int | None, facts: RowFacts, cursor: int, marked: tuple[int, int]) -> Role:
    """Return the role of one byte: cursor, difference, what is marked, abnormal, then its class."""
    at = row.offset + place
    if at == cursor:
        return Role.CURSOR
    if row.other is not None and (place >= len(row.other) or row.other[place] != value):
        return Role.DIFF
    if marked[0] <= at < marked[1]:
        return Role.FIELD
    if value is None or any(start <= at < end for start, end in facts.abnormal):
        return Role.MARK
    return Role.DIM if value == 0 else Role.PLAIN


def _joined(spans: list[Span]) -> Line:
    """Return the spans with neighbours of one role joined: a third of the drawing."""
    joined: list[Span] = []
    for span in spans:
        if not span.text:
            continue
        if joined and joined[-1].role is span.role:
            joined[-1] = Span(joined[-1].text + span.text, span.role)
        else:
            joined.append(span)
    return tuple(joined)
