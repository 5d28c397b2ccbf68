"""The browser: the tree of sequencers, copies and segments, the bytes of a file, and the record under the cursor."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.diagnosis.model import Finding
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.text import plural
from console.widgets import figures, glyphs
from console.widgets.choice import ChoiceList
from console.widgets.frames import Box
from console.widgets.hex_view import HexView
from console.widgets.line import Line, Role, Span, crop, line, spread
from console.widgets.pane import Bar, Framed, Pane
from console.widgets.phrase import PhraseField
from screens import browser_tree
from screens.browser_file import OpenFile, Stamp, located
from screens.frame import Answer, FramedScreen
from screens.panes import record
from screens.panes.record import RecordAt

_GO = re.compile(r"(?P<txn>t(?:xn)?\s*)?(?P<number>0x[0-9a-f]+|\d+)", re.IGNORECASE)


class Browser(FramedScreen):
    """Tree, bytes and record. Everything is read only, by offset, and nothing is followed through a symbolic link."""

    TITLE_WORD = "browser"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="back", tooltip="from the bytes to the tree, from the tree back"),
        Binding("tab", "switch", "Tree/bytes", id="switch", tooltip="go to the bytes, or to the tree"),
        Binding("enter", "open", "Open", id="open", tooltip="unfold a folder, open a file"),
        Binding("g", "goto", "Go to", id="goto", tooltip="go to an offset (0x… or decimal) or a transaction (t…)"),
        Binding("n", "finding(1)", "Finding", id="finding", tooltip="go to the next finding, in whatever file"),
        Binding("N,p", "finding(-1)", "Finding before", id="finding-before", show=False, tooltip="the one before"),
        Binding("x", "rows", "Rows", id="rows", show=False, tooltip="rows follow records, or hold 16 bytes"),
        Binding("r", "read_again", "Read again", id="read-again", show=False, tooltip="read the file again now"),
        Binding("y", "copy", "Copy", id="copy", show=False, tooltip="copy the record under the cursor as JSON"),
        Binding("up,k", "up(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down,j", "up(1)", "Down", id="down", show=False, tooltip="move down"),
        Binding("left,h", "side(-1)", "Left", id="left", show=False, tooltip="move left, fold"),
        Binding("right,l", "side(1)", "Right", id="right", show=False, tooltip="move right, unfold"),
        Binding("pageup", "page(-1)", "Page up", id="page-up", show=False, tooltip="move up by a page"),
        Binding("pagedown", "page(1)", "Page down", id="page-down", show=False, tooltip="move down by a page"),
        Binding("home", "end(0)", "Start", id="start", show=False, tooltip="the first byte"),
        Binding("end,G", "end(1)", "End", id="end", show=False, tooltip="the last byte"),
        Binding("q", "app.back", "Leave", id="leave", show=False, tooltip="back to the dashboard"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._database: DatabaseRoot | None = None
        self._tables: Sequence[TableDirectory] = ()
        self._unfolded: frozenset[str] = frozenset()
        self._listed: dict[str, browser_tree.Node] = {}
        self._file: OpenFile | None = None
        self._wanted = 0
        self._changed = ""
        self._finding: tuple[int, int, Finding] | None = None
        self._error = ""
        self._in_bytes = False
        self._follow = True

    def body(self) -> list[Widget]:
        """Return the two lines about the file, the panes, and the field to go somewhere."""
        self._tree = ChoiceList(id="tree", title="tree")
        self._hex = HexView(id="hex")
        self._record = Pane(record.build, id="record")
        panes = Framed(self._tree, self._hex, self._record, arrange=_arrange, is_open=_is_open, id="browser")
        field = PhraseField(id="goto", prompt="go to offset 0x… or decimal, or t… for a transaction:", paste=True)
        field.display = False
        return [Bar(id="path"), Bar(id="said"), panes, field]

    def on_mount(self) -> None:
        """List the tables in a thread."""
        super().on_mount()
        self._hex.open(None)
        self._record.show(RecordAt(None, 0, "the record under the cursor is named here, field by field"))
        self._draw()
        root = Path(self.console.settings.questdb.db_root)
        self.ask("tables", lambda: browser_tree.tables(root))

    def on_unmount(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def tick(self) -> None:
        """See whether the file is still what it was."""
        super().tick()
        file = self._file
        if file is not None:
            changed = file.change(Stamp.of(file.path))
            if changed != self._changed:
                self._changed = changed
                self._draw()

    def on_answer(self, answer: Answer) -> None:
        """Take what a thread brought: the tables, the tree, a file."""
        base = f"{self._database.db}/" if self._database is not None else ""
        # The tree is often listed beside the opening of a file: that it could be says nothing of the file.
        if answer.error or answer.asked != "nodes":
            self._error = answer.error.replace(base, "") if base else answer.error
        if not answer.error:
            if answer.asked == "tables":
                self._database, self._tables = answer.value
                first = self._tables[:1] and (str(self._tables[0].path), str(self._tables[0].sequencer))
                broken = self._broken()
                self._unfolded = frozenset(broken or first or ())
                self._list()
            elif answer.asked == "nodes":
                self._show_tree(answer.value)
            else:
                self._show_file(answer.value)
        self._draw()

    # ---- the tree ----------------------------------------------------------------------------------------------------

    def _broken(self) -> list[str]:
        """Return the folders to unfold at first: those of tables that are not healthy."""
        report = self.console.state.tables.data
        worst = {table.directory for table in report.tables if table.findings} if report is not None else set()
        return [str(table.path) for table in self._tables if table.directory in worst]

    def _list(self) -> None:
        found, unfolded = self._tables, self._unfolded
        self.ask("nodes", lambda: browser_tree.nodes(found, unfolded))

    def _show_tree(self, nodes: Sequence[browser_tree.Node]) -> None:
        self._listed = {node.key: node for node in nodes}
        width = max(10, self._tree.size.width - 4)
        items = [browser_tree.item(node, self._unfolded, width) for node in nodes]
        note = line(Span(plural(len(self._tables), "table"), Role.DIM)) if width > 28 else ()
        self._tree.offer(items, note=note)
        if self._file is not None and self._in_bytes:
            self._tree.choose(str(self._file.path))

    def _fold(self, key: str) -> None:
        self._unfolded = self._unfolded ^ {key}
        self._list()

    # ---- the file ----------------------------------------------------------------------------------------------------

    def read(self, path: Path, offset: int = 0) -> None:
        """Open a file with the cursor at `offset`, in a thread."""
        report, now = self.console.state.tables.data, self.console.wall_clock()
        findings = [finding for table in report.tables for finding in table.findings] if report is not None else []
        db = self._database.db if self._database is not None else path.parent
        self._wanted = offset
        self.ask("file", lambda: OpenFile(path, db, findings, now))

    def _show_file(self, file: OpenFile) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._changed = file, ""
        self._in_bytes = True
        self._tree.choose(str(file.path))
        self._hex.open(file.hex_file(), self._wanted)

    @on(HexView.Moved)
    def _moved(self, event: HexView.Moved) -> None:
        file = self._file
        if file is None:
            return
        try:
            found, said = file.record_at(event.offset), ""
        except OSError as error:
            found, said = None, f"cannot be read: {error.strerror}"
        field = found.field_at(event.offset) if found is not None else None
        if field is not None:
            self._hex.mark_field(field.offset, field.end)
        self._record.show(RecordAt(found, event.offset, said or "this byte belongs to no record that is known"))

    # ---- keys --------------------------------------------------------------------------------------------------------

    async def action_leave(self) -> None:
        """From the field to the bytes, from the bytes to the tree, from the tree to the dashboard."""
        field = self.query_one("#goto", PhraseField)
        if field.display:
            self._close_field(field)
        elif self._in_bytes:
            self._in_bytes = False
            self._draw()
        else:
            self.app.pop_screen()

    def action_switch(self) -> None:
        """Change between tree and bytes."""
        self._in_bytes = not self._in_bytes and self._file is not None
        self._draw()

    def action_open(self) -> None:
        """Unfold a folder or open a file."""
        node = self._listed.get(self._tree.key)
        if node is None or node.missing or self._in_bytes:
            return
        if node.folder:
            self._fold(node.key)
        else:
            self.read(node.path)

    def action_up(self, steps: int) -> None:
        """Move up or down."""
        if self._in_bytes:
            self._hex.step_rows(steps)
        else:
            self._tree.move(steps)

    def action_side(self, steps: int) -> None:
        """Move by a byte, or fold and unfold."""
        if self._in_bytes:
            self._hex.step(steps)
            return
        node = self._listed.get(self._tree.key)
        if node is not None and node.folder and not node.missing and (node.key in self._unfolded) != (steps > 0):
            self._fold(node.key)

    def action_page(self, pages: int) -> None:
        """Move by a page."""
        if self._in_bytes:
            self._hex.page(pages)
        else:
            self._tree.move(pages * 10)

    def action_end(self, last: int) -> None:
        """Go to the first or the last byte."""
        if self._in_bytes and self._file is not None:
            self._hex.go(self._file.size - 1 if last else 0)

    def action_rows(self) -> None:
        """Change between rows of records and rows of sixteen bytes."""
        self._follow = not self._follow
        self._hex.follow_records(self._follow)

    def action_read_again(self) -> None:
        """Open the file again, and list the tree anew."""
        self._list()
        if self._file is not None:
            self.read(self._file.path, self._hex.cursor)

    def action_finding(self, steps: int) -> None:
        """Go to the next finding that names a file there is, whatever file that is."""
        if self._database is None:
            return
        found = located(self._database.root, self._database.db, self.console.state.tables.data)
        if not found:
            self._error = "no finding names a file that can be opened"
            self._draw()
            return
        at = (self._finding[0] + steps) % len(found) if self._finding is not None else (0 if steps > 0 else -1)
        at %= len(found)
        path, finding = found[at]
        self._finding = (at, len(found), finding)
        self._unfolded |= {str(folder) for folder in path.parents}
        self._list()
        self.read(path, finding.offset or 0)

    def action_copy(self) -> None:
        """Copy the record under the cursor as JSON."""
        found = self._file.record_at(self._hex.cursor) if self._file is not None else None
        if found is None or self._file is None:
            return
        fields = {field.name: field.value for field in found.fields}
        document = {"file": str(self._file.path), "offset": found.offset, "record": found.title, "fields": fields}
        self.console.copy_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n")

    def action_goto(self) -> None:
        """Ask where to go."""
        if self._file is not None:
            field = self.query_one("#goto", PhraseField)
            field.display = True
            field.focus()

    @on(PhraseField.Submitted)
    def _go(self, event: PhraseField.Submitted) -> None:
        field = self.query_one("#goto", PhraseField)
        file = self._file
        text = event.text.replace(",", "").replace("_", "").strip()
        self._close_field(field)
        match = _GO.fullmatch(text)
        if file is None or match is None:
            self._error = f"{text or 'nothing'} is neither an offset (0x1f, 31) nor a transaction (t31)"
        elif match["txn"]:
            found = file.record_of(int(match["number"], 0))
            self._error = "" if found is not None else "this file has no record of that transaction"
            if found is not None:
                self._go_to(found.offset)
        else:
            self._error = ""
            self._go_to(int(match["number"], 0))
        self._draw()

    def _go_to(self, offset: int) -> None:
        self._in_bytes = True
        if self._file is not None and offset >= self._file.size:
            self._error = f"offset {offset:#x} lies past the end; the file ends at {self._file.size:#x}"
        self._hex.go(offset)

    def _close_field(self, field: PhraseField) -> None:
        field.clear()
        field.display = False
        self.set_focus(None)

    # ---- lines -------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._tree.highlight(not self._in_bytes)
        self._hex.highlight(self._in_bytes)
        self.query_one("#path", Bar).show(self._path_line())
        self.query_one("#said", Bar).show(crop(line(" ", self._said_line()), self.size.width))

    def _path_line(self) -> Line:
        file = self._file
        if file is None:
            return line(" ", Span("choose a file in the tree; n goes to the first finding", Role.DIM))
        base = self._database.db if self._database is not None else file.path.parent
        name = str(file.path.relative_to(base)) if file.path.is_relative_to(base) else str(file.path)
        end = line(figures.size(file.size), Span(f"  {file.description.kind.value} ", Role.DIM))
        return spread(line(" ", Span(name, Role.STRONG)), end, self.size.width)

    def _said_line(self) -> Line:
        if self._error:
            return line(Span(f"{glyphs.BAD} ", Role.BAD), self._error)
        if self._changed:
            when = figures.clock(self._file.read_at) if self._file is not None else ""
            return line(Span("! ", Role.WARN), self._changed, Span(f"; read at {when}, r reads again", Role.DIM))
        if self._finding is not None and self._file is not None and self._finding[2] in self._file.findings:
            at, count, finding = self._finding
            return line(
                Span(f"finding {at + 1} of {count}  ", Role.WARN),
                Span(f"{finding.code.value} ", Role.STRONG),
                finding.message,
            )
        return line(Span(self._file.description.summary, Role.DIM)) if self._file is not None else ()


def _is_open(size: Size) -> bool:
    return size.height >= 30


def _arrange(size: Size) -> list[Box]:
    """Return the tree at the left, the bytes at the right, the record below both."""
    below = 8 if size.height < 30 else 14
    tree = 24 if size.width < 110 else 36 if size.width < 160 else 44
    tall = size.height - below
    return [
        Box("tree", 0, 0, tree, tall),
        Box("hex", tree, 0, size.width - tree, tall, edge=True),
        Box("record", 0, tall, size.width, below),
    ]
