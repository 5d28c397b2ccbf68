"""Two files side by side, scrolled together: what differs is marked, summed up by records, and found by a key."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.errors import WalmedicError
from console.questdb.comparison import Comparison, Progress, compare
from console.questdb.layout import DatabaseRoot
from console.questdb.reading import DbFile
from console.text import clean_line
from console.widgets import figures
from console.widgets.frames import Box
from console.widgets.hex_view import HexView
from console.widgets.line import Line, Role, Span, line, spread
from console.widgets.pane import Bar, Framed, Pane
from screens import browser_places
from screens.browser_file import OpenFile, Stamp, canonical
from screens.browser_lines import shown_path
from screens.frame import Answer, FramedScreen
from screens.keys import moving_keys
from screens.panes import comparison
from screens.panes.comparison import PairView, SummaryView, Units

_GOTO = "go to offset 0x… or decimal, or t… for a transaction:"


class Compare(FramedScreen):
    """The left file stays; `c` takes the next of the `others` at the right. Nothing is written."""

    TITLE_WORD = "compare"
    KEYS_AWAIT = frozenset({"files"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="back", tooltip="back to the browser"),
        Binding("n", "difference(1)", "Difference", id="difference", tooltip="go to the next difference"),
        Binding("N,p", "difference(-1)", "Before", id="difference-before", tooltip="go to the difference before"),
        Binding("c", "other", "Other file", id="compare", tooltip="take the next copy at the right"),
        Binding("g", "goto", "Go to", id="goto", tooltip="go to an offset (0x… or decimal) or a transaction (t…)"),
        Binding("x", "rows", "Rows", id="rows", show=False, tooltip="rows follow records, or hold 16 bytes"),
        Binding("y", "copy", "Copy", id="copy", show=False, tooltip="copy the summary of all differences as text"),
        Binding("r", "again", "Read again", id="read-again", show=False, tooltip="read and compare both files again"),
        Binding("e", "app.export", "Export", id="export", show=False, tooltip="keep this screen as picture and text"),
        *moving_keys(),
        Binding("q", "app.back", "Leave", id="leave", show=False, tooltip="back to the browser"),
    ]

    def __init__(self, database: DatabaseRoot, left: Path, others: Sequence[Path], offset: int = 0) -> None:
        super().__init__()
        self._database = database
        self._paths = left
        self._others = tuple(others)
        self._other = 0
        self._offset = offset
        self._files: tuple[OpenFile, OpenFile] | None = None
        self._units = Units(0, 16, None)
        self._found: Comparison | None = None
        self._progress = Progress()
        self._note = ""
        self._follow = True

    def body(self) -> list[Widget]:
        """Return the names of both files, their bytes, the summary, and the record in both."""
        self._left, self._right = HexView(self._moved, id="left"), HexView(id="right")
        self._summary = Pane(comparison.summary, id="summary")
        self._pair = Pane(comparison.pair, id="pair")
        panes = Framed(
            self._left, self._right, self._summary, self._pair, arrange=_arrange, is_open=_is_open, id="browser"
        )
        return [Bar(id="path"), Bar(id="note"), panes]

    def on_mount(self) -> None:
        """Open both files in a thread."""
        super().on_mount()
        self._left.open(None)
        self._right.open(None)
        self._left.highlight(True)
        self._read()

    def on_unmount(self) -> None:
        self._progress.cancelled = True
        self._close()

    def _close(self) -> None:
        for file in self._files or ():
            file.close()
        self._files = None

    def _read(self) -> None:
        self._progress.cancelled = True
        self._found = None
        now, db = self.console.wall_clock(), self._database.db
        paths = self._paths, self._others[self._other]
        self._draw()

        def opened() -> tuple[OpenFile, OpenFile]:
            first = OpenFile(paths[0], db, (), now)
            try:
                return first, OpenFile(paths[1], db, (), now)
            except WalmedicError:
                first.close()
                raise

        self.ask("files", opened)

    def on_answer(self, answer: Answer) -> None:
        self._note = answer.error.replace(f"{self._database.db}/", "")
        if not answer.error:
            if answer.asked == "files":
                self._show(answer.value)
            else:
                self._found = answer.value
        self._draw()

    def _show(self, files: tuple[OpenFile, OpenFile]) -> None:
        self._close()
        self._files = files
        self._units = units = Units.of(files[0].description, files[1].description)
        same = units.first is not None
        for view, file, other in ((self._left, files[0], files[1]), (self._right, files[1], files[0])):
            view.open(file.hex_file())
            view.follow_records(same and self._follow)
            view.against(other, spare=self._spare(view))
        self._left.go(self._offset)
        progress = self._progress = Progress()
        paths = [canonical(file.path) for file in files]

        def compared() -> Comparison:
            with DbFile(paths[0]) as one, DbFile(paths[1]) as two:
                return compare(one, two, units.base, units.unit, progress)

        self.ask("comparison", compared)

    def _spare(self, view: HexView) -> int:
        """Return the cells that the left view has more than the right one, which has an edge."""
        return 1 if view is self._left and self.size.width % 2 == 0 else 0

    def tick(self) -> None:
        super().tick()
        if self._files is None or self.console.paused:
            return
        changed = [
            f"{side}: {changed_by}"
            for side, file in zip(("left", "right"), self._files, strict=True)
            if (changed_by := file.change(Stamp.of(file.path)))
        ]
        self._note = f"{'; '.join(changed)}; r reads again" if changed else self._note
        self._draw()

    def _moved(self, offset: int) -> None:
        if self._files is None:
            return
        self._offset = offset
        self._right.follow(self._left)
        try:
            records = [file.record_at(self._offset) if self._offset < file.size else None for file in self._files]
        except OSError as error:
            self._note = f"cannot be read: {error.strerror}"
            records = [None, None]
        self._pair.show(PairView(records[0], records[1], self._offset))
        self._draw()

    # ---- keys --------------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        if self.prompt.asks:
            self.prompt.leave()
        else:
            self.app.pop_screen()

    def action_difference(self, step: int) -> None:
        if self._found is None:
            self._note = "the comparison is still running"
        else:
            found = self._found.next_difference(self._offset, step)
            self._note = "" if found is not None else f"no difference {'after' if step > 0 else 'before'} this place"
            if found is not None:
                self._left.go(found.start)
        self._draw()

    def action_other(self) -> None:
        self._other = (self._other + 1) % len(self._others)
        self._read()

    def action_again(self) -> None:
        self._note = ""
        self._read()

    def action_rows(self) -> None:
        self._follow = not self._follow
        for view in (self._left, self._right):
            view.follow_records(self._follow and self._units.first is not None)

    def action_copy(self) -> None:
        if self._found is not None:
            self.console.copy_text(comparison.as_text(self._found, self._units))

    def action_up(self, steps: int) -> None:
        self._left.step_rows(steps)

    def action_side(self, steps: int) -> None:
        self._left.step(steps)

    def action_page(self, pages: int) -> None:
        self._left.page(pages)

    def action_end(self, last: int) -> None:
        if self._files is not None:
            self._left.go(max(file.size for file in self._files) - 1 if last else 0)

    def action_goto(self) -> None:
        self.prompt.ask(_GOTO, self._go_where)

    def _go_where(self, text: str) -> None:
        try:
            asked = browser_places.asked_for(text)
            if asked.transaction and self._units.first is None:
                raise WalmedicError("these files have no records of transactions")
            number = asked.number - (self._units.first or 0)
            self._left.go(self._units.base + number * self._units.unit if asked.transaction else asked.number)
            self._note = ""
        except WalmedicError as refused:
            self._note = str(refused)
        self._draw()

    # ---- lines -------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        right = self._others[self._other]
        self.query_one("#path", Bar).show(self._name_line("left ", self._paths, 0))
        self.query_one("#note", Bar).show(self._name_line("right", right, 1))
        done = self._progress.done * 100 // max(1, self._progress.total)
        self._summary.show(SummaryView(self._found, self._units, self._offset, done, self._note))

    def _name_line(self, side: str, path: Path, number: int) -> Line:
        size = figures.size(self._files[number].size) if self._files is not None else ""
        name = clean_line(shown_path(path, self._database.db))
        start = line(" ", Span(f"{side} ", Role.KEY), Span(name, Role.STRONG))
        owner = self._files[number].owner() if self._files is not None else ""
        return spread(start, line(Span(f"{owner}  ", Role.DIM), size, " "), self.size.width)


def _is_open(size: Size) -> bool:
    return size.height >= 30


def _arrange(size: Size) -> list[Box]:
    """Return both files side by side, the summary and the record below them."""
    below = 9 if size.height < 30 else 16
    half = size.width // 2
    tall = size.height - below
    return [
        Box("left", 0, 0, half, tall),
        Box("right", half, 0, size.width - half, tall, edge=True),
        Box("summary", 0, tall, half, below),
        Box("pair", half, tall, size.width - half, below, edge=True),
    ]
