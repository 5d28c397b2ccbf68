"""What the browser shows: a tree of sequencers, copies and segments, the bytes of a file, the record at the cursor."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from textual.geometry import Size
from textual.widget import Widget

from console.diagnosis.findings.file import findings_of
from console.diagnosis.model import DatabaseReport, Finding
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.widgets.choice import ChoiceList
from console.widgets.frames import Box
from console.widgets.hex_view import HexView
from console.widgets.line import Role, Span, line
from console.widgets.pane import Bar, Framed, Pane
from screens import browser_lines, browser_places, browser_tree
from screens.browser_file import OpenFile, Stamp, zeros_of
from screens.frame import Answer, FramedScreen
from screens.panes import record
from screens.panes.record import RecordAt

Area = Literal["tree", "hex", "record"]
_AREAS: tuple[Area, ...] = ("tree", "hex", "record")


class BrowserPanes(FramedScreen):
    TITLE_WORD = "browser"
    KEYS_AWAIT = frozenset({"tables", "nodes", "file", "place", "row", "time"})

    def __init__(self) -> None:
        super().__init__()
        self._database: DatabaseRoot | None = None
        self._tables: Sequence[TableDirectory] = ()
        self._unfolded: frozenset[str] = frozenset()
        self._filtered = ""
        self._listed: dict[str, browser_tree.Node] = {}
        self._file: OpenFile | None = None
        self._wanted = 0
        self._changed = ""
        self._finding: browser_lines.Numbered | None = None
        self._error = ""
        self._at: Area = "tree"
        self._alone = False
        self._follow = True
        self._trail: list[tuple[Path, int]] = []
        self._marked: DatabaseReport | None = None  # the diagnosis that the tree's marks are from

    def body(self) -> list[Widget]:
        self._tree = ChoiceList(id="tree", title="tree")
        self._hex = HexView(self._moved, id="hex")
        self._record = Pane(record.build, id="record")
        panes = Framed(self._tree, self._hex, self._record, arrange=self._arrange, is_open=_is_open, id="browser")
        return [Bar(id="path"), Bar(id="note"), panes]

    def on_mount(self) -> None:
        """List the tables in a thread."""
        super().on_mount()
        self._hex.open(None)
        self._record.show(RecordAt(None, 0, "the record under the cursor is named here, field by field"))
        self._draw()
        root = Path(self.console.settings.questdb.db_root)
        self.ask("tables", lambda: browser_tree.tables(root))

    def on_unmount(self) -> None:
        if self._file is not None:
            self._file.close()

    def tick(self) -> None:
        super().tick()
        file = self._file
        if file is not None and not self.console.paused:
            changed = file.change(Stamp.of(file.path))
            if changed != self._changed:
                self._changed = changed
                self._draw()
        if self.console.state.tables.data is not self._marked:
            self._show_tree()

    def on_answer(self, answer: Answer) -> None:
        """Take what a thread brought: the tables, the tree, a file, its runs of zeros, a place in another file."""
        if self.brought(answer):
            return
        if answer.asked in {"zeros", "findings"}:
            if not answer.error and answer.value[0] is self._file:
                self._learn(answer.asked, *answer.value)
            return
        # The tree is often listed beside the opening of a file: that it could be says nothing of the file.
        if answer.error or answer.asked != "nodes":
            base = f"{self._database.db}/" if self._database is not None else ""
            self._error = answer.error.replace(base, "") if base else answer.error
        if not answer.error:
            if answer.asked == "tables":
                self._database, self._tables = answer.value
                first = self._tables[:1] and (str(self._tables[0].path), str(self._tables[0].sequencer))
                self._unfolded = frozenset(self._broken() or first or ())
                self._list()
            elif answer.asked == "nodes":
                self._show_tree(answer.value)
            elif answer.asked == "place":
                self._jump(*answer.value)
            else:
                self._show_file(answer.value)
        self._draw()

    def brought(self, answer: Answer) -> bool:
        """Take what the keys of a subclass asked for; return whether the answer was to that."""
        raise NotImplementedError

    # ---- the tree ----------------------------------------------------------------------------------------------------

    def _broken(self) -> list[str]:
        """Return the folders to unfold at first: those of tables that are not healthy."""
        report = self.console.state.tables.data
        worst = {table.directory for table in report.tables if table.findings} if report is not None else set()
        return [str(table.path) for table in self._tables if table.directory in worst]

    def _list(self) -> None:
        found, unfolded, text, database = self._tables, self._unfolded, self._filtered, self._database
        if database is not None and text:
            self.ask("nodes", lambda: browser_tree.matching(database, found, text, unfolded))
        else:
            self.ask("nodes", lambda: browser_tree.nodes(found, unfolded))

    def _show_tree(self, nodes: Sequence[browser_tree.Node] | None = None) -> None:
        if nodes is not None:
            self._listed = {node.key: node for node in nodes}
        if self._database is None:
            return
        self._marked = self.console.state.tables.data
        marks = browser_tree.Marks.of(self._database, self._marked)
        make = functools.partial(browser_tree.item, unfolded=self._unfolded, marks=marks)
        note = line(Span(browser_tree.count_text(self._tables, len(self._listed), self._filtered), Role.DIM))
        self._tree.title = f"tree /{self._filtered}" if self._filtered else "tree"
        self._tree.offer_by_width([*self._listed.values()], make, note=note)
        if self._file is not None and self._at == "hex":
            self._tree.choose(str(self._file.path))

    def _fold_folder(self, key: str) -> None:
        self._unfolded = self._unfolded ^ {key}
        self._list()

    # ---- the file ----------------------------------------------------------------------------------------------------

    def read(self, path: Path, offset: int = 0, row: int = 0) -> None:
        """Open a file with the cursor at `offset`, in a thread; of one in Parquet show the values of `row`."""
        report, now = self.console.state.tables.data, self.console.wall_clock()
        findings = [finding for table in report.tables for finding in table.findings] if report is not None else []
        db = self._database.db if self._database is not None else path.parent
        self._wanted = offset
        self.ask("file", lambda: OpenFile(path, db, findings, now, row))

    def _jump(self, path: Path, offset: int, row: int = 0) -> None:
        if self._file is not None:
            self._trail.append((self._file.path, self._hex.cursor))
        self._show_place(path, offset, row)

    def _show_place(self, path: Path, offset: int, row: int = 0) -> None:
        file = self._file
        if file is not None and file.path == path and file.parquet is None and not file.change(Stamp.of(path)):
            self._at = "hex"
            self._tree.choose(str(path))
            self._hex.go(offset)
            self._draw()
            return
        self._unfolded |= {str(folder) for folder in path.parents}
        self._list()
        self.read(path, offset, row)

    def _show_file(self, file: OpenFile) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._changed = file, ""
        self._at = "hex"
        self._tree.choose(str(file.path))
        self._hex.open(file.hex_file(), self._wanted)
        self.ask("zeros", lambda: (file, zeros_of(file.path)))
        tables = self._tables

        def own_findings() -> tuple[OpenFile, tuple[Finding, ...]]:
            copied = browser_places.is_copied_log(browser_places.table_of(tables, file.path), file.path)
            return file, findings_of(file.path) if copied else ()

        self.ask("findings", own_findings)

    def _learn(self, asked: str, file: OpenFile, value: Any) -> None:
        if asked == "zeros":
            self._hex.fold(value)
            return
        file.learn(value)
        self._hex.renew(file.hex_file())
        self._draw()

    def _moved(self, offset: int) -> None:
        file = self._file
        if file is None:
            return
        try:
            found, reason = file.record_at(offset), ""
        except OSError as error:
            found, reason = None, f"cannot be read: {error.strerror}"
        self._record.show(RecordAt(found, offset, reason or "this byte belongs to no record that is known"))

    # ---- lines -------------------------------------------------------------------------------------------------------

    def _refuse(self, why: str) -> None:
        self._error = why
        self._draw()

    def _draw(self) -> None:
        for area, pane in zip(_AREAS, (self._tree, self._hex, self._record), strict=True):
            pane.highlight(area == self._at)
        base = self._database.db if self._database is not None else None
        width = self.size.width
        self.query_one("#path", Bar).show(browser_lines.path_line(self._file, base, width))
        node = self._listed.get(self._tree.key) if self._at == "tree" else None
        if node is not None and node.in_partition and not self._error:
            reason = browser_lines.node_line(node, self._finding_at(node.path), width)
        else:
            reason = browser_lines.note_line(self._file, self._error, self._changed, self._finding, width)
        self.query_one("#note", Bar).show(reason)

    def on_choice_list_moved(self, event: ChoiceList.Moved) -> None:
        """Say what is known of the file or partition under the cursor of the tree."""
        event.stop()
        self._draw()

    def _finding_at(self, path: Path) -> Finding | None:
        report, database = self._marked, self._database
        tables = report.tables if report is not None and database is not None else ()
        about = (finding for table in tables for finding in table.findings if finding.file)
        return next((each for each in about if database and database.db / str(each.file) == path), None)

    def _rearrange(self) -> None:
        self.query_one("#browser", Framed).rearrange()

    def _arrange(self, size: Size) -> list[Box]:
        """Return the tree at the left, the bytes at the right, the record below both; or one of them alone."""
        if self._alone:
            return [Box(self._at, 0, 0, size.width, size.height)]
        below = 8 if size.height < 30 else 14
        tree = 24 if size.width < 110 else 36 if size.width < 160 else 60
        tall = size.height - below
        return [
            Box("tree", 0, 0, tree, tall),
            Box("hex", tree, 0, size.width - tree, tall, edge=True),
            Box("record", 0, tall, size.width, below),
        ]


def _is_open(size: Size) -> bool:
    return size.height >= 30
