"""A file of any size as hexadecimal rows. Only what is in sight is read, by offset; nothing is kept of the rest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from textual.events import MouseScrollDown, MouseScrollUp
from textual.message import Message

from console.widgets import figures
from console.widgets.hex_rows import HexRows
from console.widgets.line import Line, Role, Span, left, line, right
from console.widgets.pane import Content, Pane, Room

_GAP = 2  # cells between the offset and the first byte


class Bytes(Protocol):
    """A file to read from; reads stay inside it and may come back short where it shrank."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes at `offset`. Raises OSError where the device fails."""
        ...


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
    tail: str = ""  # said after the last byte, e.g. that the header wants more
    labels: int = 0  # cells for labels at the end of rows


_NOTHING = object()  # what a pane without a file shows


class HexView(Pane):
    """Rows of bytes with a cursor on one of them; the field under the cursor is marked whole."""

    @dataclass
    class Moved(Message):
        """The cursor stands on another byte."""

        offset: int

    def __init__(self, *, id: str) -> None:
        super().__init__(self._content, id=id)
        self._file: HexFile | None = None
        self._rows = HexRows(0, 16)
        self._top = 0
        self._height = 1
        self._plain_rows = False
        self._digits = 8
        self._field: tuple[int, int] = (0, 0)
        self.cursor = 0
        self.active = False

    def open(self, file: HexFile | None, offset: int = 0) -> None:
        """Show a file with the cursor at `offset`; None shows nothing."""
        self._file = file
        self._top = 0
        self.cursor = 0
        self._lay_out()
        self.go(offset)

    def follow_records(self, follow: bool) -> None:
        """Let rows follow records, or be of sixteen bytes."""
        self._plain_rows = not follow
        self._lay_out()
        self.go(self.cursor)

    def mark_field(self, start: int, end: int) -> None:
        """Mark the bytes of the field under the cursor."""
        self._field = (start, end)
        self.show(self._file or _NOTHING)

    def go(self, offset: int) -> None:
        """Put the cursor on the byte at `offset`, as far as there is one, and bring it into sight."""
        size = self._rows.size
        self.cursor = min(max(0, offset), max(0, size - 1))
        self._field = (self.cursor, self.cursor + 1)
        row = self._rows.row_of(self.cursor)
        if not self._top <= row < self._top + self._height:
            self._top = row - self._height // 3
        self._top = min(max(0, self._top), max(0, self._rows.count + bool(self._tail) - self._height))
        self.show(self._file or _NOTHING)
        self.post_message(self.Moved(self.cursor))

    def step(self, count: int) -> None:
        """Move the cursor by bytes."""
        self.go(self.cursor + count)

    def step_rows(self, count: int) -> None:
        """Move the cursor by rows, keeping its column."""
        row = self._rows.row_of(self.cursor)
        start, _ = self._rows.bytes_of(row)
        wanted = min(max(0, row + count), max(0, self._rows.count - 1))
        first, length = self._rows.bytes_of(wanted)
        self.go(first + min(self.cursor - start, max(0, length - 1)))

    def page(self, pages: int) -> None:
        """Move the cursor by what is in sight."""
        self._top = min(max(0, self._top + pages * self._height), max(0, self._rows.count - self._height))
        self.step_rows(pages * self._height)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Move down where the mouse is let in."""
        self.step_rows(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Move up where the mouse is let in."""
        self.step_rows(-3)

    @property
    def _tail(self) -> str:
        return self._file.tail if self._file is not None else ""

    def _lay_out(self, width: int | None = None) -> None:
        file = self._file
        if file is None:
            self._rows = HexRows(0, 16)
            return
        size = file.source.size
        self._digits = max(8, len(f"{size:x}"))
        cells = max(12, (width if width is not None else self._frame.box.inner_width) - self._digits - _GAP)
        record = None if self._plain_rows else file.record
        self._rows = HexRows.fitting(size, cells, file.base, record)

    def _content(self, file: object, room: Room) -> Content:
        if not isinstance(file, HexFile) or not room.width:
            return Content("hex", (line(Span("choose a file: Enter opens it", Role.DIM)),))
        before = self._rows
        self._lay_out(room.width)
        self._height = max(1, room.height)
        if self._rows != before:
            self._top = max(0, self._rows.row_of(self.cursor) - self._height // 3)
        self._top = min(self._top, max(0, self._rows.count + bool(file.tail) - self._height))
        last = min(self._top + self._height, self._rows.count)
        lines = [self._row(file, row, room.width) for row in range(self._top, last)]
        if file.tail and len(lines) < self._height:
            lines.append(line(Span("end of file  ", Role.DIM), Span(file.tail, Role.BAD)))
        if not self._rows.size:
            lines = [line(Span("the file is empty", Role.WARN))]
        what = f"{self._rows.record} bytes a record" if self._rows.record else f"{self._rows.per_row} bytes a row"
        at = line(Span(f"{self.cursor:#x} = {figures.count(self.cursor)}", Role.DIM))
        return Content(f"hex, {what}", tuple(lines), at)

    def _row(self, file: HexFile, row: int, width: int) -> Line:
        offset, count = self._rows.bytes_of(row)
        try:
            data = file.source.read(offset, count)
        except OSError as error:
            return line(
                Span(f"{offset:0{self._digits}x}  ", Role.DIM), Span(f"cannot be read: {error.strerror}", Role.BAD)
            )
        facts = file.facts(offset, count)
        spans = [Span(f"{offset:0{self._digits}x}  ", Role.ACCENT if self._rows.starts_record(row) else Role.DIM)]
        text = []
        for place in range(count):
            at = offset + place
            value = data[place] if place < len(data) else None
            role = self._role(at, value, facts)
            joined = self._field[0] <= at and at + 1 < self._field[1]
            spans.append(Span("--" if value is None else f"{value:02x}", role))
            spans.append(Span(" ", Role.FIELD if joined else Role.PLAIN))
            text.append(Span(_glyph(value), role if role is not Role.PLAIN else Role.DIM))
        used = self._digits + _GAP + self._rows.per_row * 3
        spans.append(Span(" " * ((self._rows.per_row - count) * 3)))
        if file.labels and used + file.labels <= width:
            spans.extend(right(line(Span(facts.label, Role.DIM)), file.labels))
            used += file.labels
        if used + 1 + self._rows.per_row <= width:
            spans.append(Span(" "))
            spans.extend(text)
        return left(line(*spans), width)

    def _role(self, at: int, value: int | None, facts: RowFacts) -> Role:
        """Return the role of one byte: cursor, field under it, abnormal, then its class."""
        if at == self.cursor:
            return Role.CURSOR
        if self._field[0] <= at < self._field[1]:
            return Role.FIELD
        if value is None or any(start <= at < end for start, end in facts.abnormal):
            return Role.MARK
        return Role.DIM if value == 0 else Role.PLAIN


def _glyph(value: int | None) -> str:
    """Return one cell that tells a byte's class without colour: zero, printable, control, high."""
    if value is None:
        return " "
    if value == 0:
        return "·"
    if 0x20 <= value < 0x7F:
        return chr(value)
    return "•" if value < 0x20 or value == 0x7F else "×"
