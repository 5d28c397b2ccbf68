"""A file of any size as hexadecimal rows. Only what is in sight is read, by offset; nothing is kept of the rest."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from textual.events import MouseScrollDown, MouseScrollUp

from console.widgets import figures
from console.widgets.hex_folds import Folds
from console.widgets.hex_line import GAP, Bytes, HexFile, Look, Row, RowFacts, fold_line, row_line
from console.widgets.hex_rows import HexRows
from console.widgets.line import Line, Role, Span, hanging, line
from console.widgets.pane import Content, Pane, Room

_NARROW = 44  # cells up to which the rule says less
_NOTHING = object()  # what a pane without a file shows


class HexView(Pane):
    """Rows of bytes with a cursor on one of them; the field under the cursor is marked whole.

    Long runs of zeros take one line, once `fold` has their places. Held `against` another file, what differs is
    marked, and the rows go on as far as the longer of the two does.
    """

    def __init__(self, moved: Callable[[int], object] = lambda offset: None, *, id: str) -> None:
        super().__init__(self._content, id=id)
        self._moved = moved  # called at once, so that the record beside the bytes is painted with them
        self._file: HexFile | None = None
        self._other: Bytes | None = None
        self._spare = 0
        self._extent = 0
        self._rows = HexRows(0, 16)
        self._runs: NDArray[np.int64] | None = None
        self._open_run = -1  # the run that is shown open, since the cursor went into it
        self._folds = Folds(self._rows)
        self._top = 0  # the first line in sight
        self._height = 1
        self._plain_rows = False
        self._digits = 8
        self._field: tuple[int, int] = (0, 0)
        self._anchor: int | None = None
        self.folding = True
        self.cursor = 0

    # ---- what is shown -----------------------------------------------------------------------------------------------

    def open(self, file: HexFile | None, offset: int = 0) -> None:
        """Show a file with the cursor at `offset`; None shows nothing."""
        self._file = file
        self._other, self._extent, self._spare = None, 0, 0
        self._runs, self._open_run, self._anchor = None, -1, None
        self._top = 0
        self.cursor = 0
        self._lay_out()
        self.go(offset)

    def renew(self, file: HexFile) -> None:
        """Show the same file with other facts about it; the cursor stays."""
        self._file = file
        self._refold()
        self.go(self.cursor)

    def against(self, other: Bytes, spare: int = 0) -> None:
        """Hold the file against `other`; `spare` cells at the right stay free, so that rows of both break alike."""
        self._other, self._spare = other, spare
        self._extent = other.size
        self._lay_out()
        self.go(self.cursor)

    def fold(self, runs: NDArray[np.int64] | None) -> None:
        """Fold these runs of zeros, (n, 2) offsets from and to."""
        self._runs, self._open_run = runs, -1
        self._refold()
        self.go(self.cursor)

    def toggle_folds(self) -> None:
        self.folding = not self.folding
        self._refold()
        self.go(self.cursor)

    def follow_records(self, follow: bool) -> None:
        """Let rows follow records, or be of sixteen bytes."""
        self._plain_rows = not follow
        self._lay_out()
        self.go(self.cursor)

    # ---- the cursor --------------------------------------------------------------------------------------------------

    def go(self, offset: int) -> None:
        """Put the cursor on the byte at `offset`, as far as there is one, and bring it into sight."""
        self.cursor = min(max(0, offset), max(0, self._rows.size - 1))
        self._field = self._file.span(self.cursor) if self._file is not None else (0, 0)
        self._open_at_cursor()
        at = self._folds.line_of(self._rows.row_of(self.cursor))
        if not self._top <= at < self._top + self._height:
            self._top = at - self._height // 3
        self._bound_top()
        self._show()
        self._moved(self.cursor)

    def follow(self, leader: "HexView") -> None:
        """Show the same rows as `leader`, its cursor on the same byte; nobody is notified."""
        self.cursor, self._field, self._top = leader.cursor, leader._field, leader._top
        self._show()

    def step(self, count: int) -> None:
        """Move the cursor by bytes; a run of zeros that it stands on opens."""
        self._open_run = self._run_at(self.cursor)
        self._refold()
        self.go(self.cursor + count)

    def step_rows(self, count: int) -> None:
        row = self._rows.row_of(self.cursor)
        start, _ = self._rows.bytes_of(row)
        wanted = min(max(0, self._folds.line_of(row) + count), max(0, self._folds.lines - 1))
        target = self._folds.row_of(wanted)
        first, length = self._rows.bytes_of(target)
        folded = self._folds.fold_at(target) is not None
        self.go(first if folded else first + min(self.cursor - start, max(0, length - 1)))

    def page(self, pages: int) -> None:
        self._top = min(max(0, self._top + pages * self._height), max(0, self._folds.lines - self._height))
        self.step_rows(pages * self._height)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self.step_rows(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self.step_rows(-3)

    # ---- the selection -----------------------------------------------------------------------------------------------

    def select(self) -> None:
        self._anchor = self.cursor if self._anchor is None else None
        self._show()

    @property
    def selecting(self) -> bool:
        return self._anchor is not None

    @property
    def chosen(self) -> tuple[int, int]:
        """Return the selected bytes, from and to; the field under the cursor where nothing is selected."""
        if self._anchor is None:
            return self._field
        return min(self._anchor, self.cursor), max(self._anchor, self.cursor) + 1

    # ---- rows and folds ----------------------------------------------------------------------------------------------

    @property
    def _tail(self) -> str:
        return self._file.tail if self._file is not None else ""

    def _show(self) -> None:
        self.show(self._file or _NOTHING)

    def _bound_top(self) -> None:
        self._top = min(max(0, self._top), max(0, self._folds.lines + bool(self._tail) - self._height))

    def _lay_out(self, width: int | None = None) -> None:
        file = self._file
        if file is None:
            self._rows = HexRows(0, 16)
        else:
            size = max(file.source.size, self._extent)
            self._digits = max(8, len(f"{size:x}"))
            inner = (width if width is not None else self._frame.box.inner_width) - self._spare
            record = None if self._plain_rows else file.record
            rows = HexRows.fitting(size, max(12, inner - self._digits - GAP), file.base, record)
            if rows == self._rows:
                return
            self._rows = rows
        self._refold()

    def _refold(self) -> None:
        runs = self._runs if self.folding and self._file is not None else None
        if runs is not None and 0 <= self._open_run < len(runs):
            runs = np.delete(runs, self._open_run, axis=0)
        self._folds = Folds(self._rows, runs, self._file.kept if self._file is not None else ())

    def _run_at(self, offset: int) -> int:
        """Return the number of the run of zeros that holds `offset`, -1 where none does."""
        if self._runs is None or not len(self._runs):
            return -1
        at = int(np.searchsorted(self._runs[:, 0], offset, "right")) - 1
        return at if at >= 0 and offset < self._runs[at, 1] else -1

    def _open_at_cursor(self) -> None:
        """Open the fold that the cursor went into, and close the one that it left."""
        if self._open_run >= 0 and self._run_at(self.cursor) != self._open_run:
            self._open_run = -1
            self._refold()
        row = self._rows.row_of(self.cursor)
        fold = self._folds.fold_at(row)
        if fold is not None and row != fold.first:
            self._open_run = self._run_at(self.cursor)
            self._refold()

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def _content(self, file: object, room: Room) -> Content:
        if not isinstance(file, HexFile) or not room.width:
            return Content("hex", (line(Span("choose a file: Enter opens it", Role.DIM)),))
        before = self._rows
        self._lay_out(room.width)
        self._height = max(1, room.height)
        if self._rows != before:
            self._top = max(0, self._folds.line_of(self._rows.row_of(self.cursor)) - self._height // 3)
        self._bound_top()
        last = min(self._top + self._height, self._folds.lines)
        look = Look(
            room.width, self._digits, self._rows.per_row, file.labels if self._other is None else 0, self.cursor,
            self._field, self.chosen if self.selecting else (0, 0),
        )  # fmt: skip
        lines = [self._line(file, number, look) for number in range(self._top, last)]
        if file.tail and not self._extent and len(lines) < self._height:
            label = line(Span("end of file  ", Role.DIM))
            lines.extend(hanging(label, file.tail, room.width, Role.BAD)[: self._height - len(lines)])
        if not self._rows.size:
            lines = [line(Span("the file is empty", Role.WARN))]
        what = f"{self._rows.record} bytes a record" if self._rows.record else f"{self._rows.per_row} bytes a row"
        if self.selecting:
            start, end = self.chosen
            at = line(Span(f"{figures.count(end - start)} bytes selected", Role.KEY))
        else:
            decimal = f" = {figures.count(self.cursor)}" if room.width > _NARROW else ""
            at = line(Span(f"{self.cursor:#x}{decimal}", Role.DIM))
        return Content(f"hex, {what}", tuple(lines), at)

    def _line(self, file: HexFile, number: int, look: Look) -> Line:
        row = self._folds.row_of(number)
        offset, count = self._rows.bytes_of(row)
        size = file.source.size
        if self._extent and offset >= size:
            first = self._rows.row_of(size) == row or (offset == size)
            note = "end of file" if first else ""
            return line(Span(f"{offset:0{look.digits}x}  ", Role.DIM), Span(note, Role.WARN))
        fold = self._folds.fold_at(row)
        if fold is not None:
            last, length = self._rows.bytes_of(fold.end - 1)
            begins, _ = self._rows.bytes_of(max(fold.first, fold.end - max(1, self._rows.record // self._rows.per_row)))
            return fold_line(
                offset, last + length, fold.end - fold.first, file.facts(offset, count), file.facts(begins, 1), look
            )
        try:
            data = file.source.read(offset, count)
            other = self._other.read(offset, count) if self._other is not None else None
        except OSError as error:
            note = f"cannot be read: {error.strerror}"
            return line(Span(f"{offset:0{look.digits}x}  ", Role.DIM), Span(note, Role.BAD))
        facts = file.facts(offset, count) if self._other is None else RowFacts()
        return row_line(Row(offset, count, data, self._rows.starts_record(row), size, other), facts, look)
