"""The browser: its keys, and what each of them does."""

import json
from typing import ClassVar

from textual.binding import Binding, BindingType

from screens import browser_places
from screens.browser_going import BrowserGoing
from screens.keys import moving_keys

_MOST_COPIED = 1 << 20  # bytes


class Browser(BrowserGoing):
    """Tree, bytes and record. Everything is read only, by offset, and nothing is followed through a symbolic link."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="back", tooltip="from the bytes to the tree, from the tree back"),
        Binding("tab", "switch", "Tree/bytes", id="switch", tooltip="go to the bytes, or to the tree"),
        Binding("enter", "open", "Open", id="open", show=False, tooltip="unfold a folder, open a file"),
        Binding("g", "goto", "Go to", id="goto", tooltip="go to an offset (0x…), transaction (t…), row (r…), time"),
        Binding("n", "finding(1)", "Finding", id="finding", tooltip="go to the next finding, in whatever file"),
        Binding("N,p", "finding(-1)", "Finding before", id="finding-before", show=False, tooltip="the one before"),
        Binding("c", "compare", "Compare", id="compare", tooltip="beside its copy, or the file chosen in the tree"),
        Binding(
            "slash", "filter", "Filter", id="filter", show=False, tooltip="list files by name; of a file, find bytes"
        ),
        Binding("m", "match", "Match", id="match", show=False, tooltip="go to the next place of the bytes looked for"),
        Binding("s", "segment", "Segment", id="segment", show=False, tooltip="go to the segment that the record names"),
        Binding("backspace", "return", "Return", id="return", show=False, tooltip="to where the last jump began"),
        Binding("1", "area('tree')", "Tree", id="pane-1", show=False, tooltip="go to the tree"),
        Binding("2", "area('hex')", "Bytes", id="pane-2", show=False, tooltip="go to the bytes"),
        Binding("3", "area('record')", "Record", id="pane-3", show=False, tooltip="go to the record, field by field"),
        Binding("f", "whole", "Whole screen", id="whole", show=False, tooltip="this pane full screen"),
        Binding("x", "rows", "Rows", id="rows", show=False, tooltip="rows follow records, or hold 16 bytes"),
        Binding("z", "zeros", "Zeros", id="zeros", show=False, tooltip="fold long runs of zeros, or show them all"),
        Binding("v", "select", "Select", id="select", show=False, tooltip="begin a selection at the cursor, or end it"),
        Binding("y", "copy", "Copy", id="copy", show=False, tooltip="copy the record under the cursor as JSON"),
        Binding(
            "Y", "copy_hex", "Copy hex", id="copy-hex", show=False, tooltip="copy the selection, or the field, as hex"
        ),
        Binding("r", "read_again", "Read again", id="read-again", show=False, tooltip="read the file again now"),
        Binding("e", "app.export", "Export", id="export", show=False, tooltip="keep this screen as picture and text"),
        *moving_keys(),
        Binding("q", "app.back", "Leave", id="leave", show=False, tooltip="back to the dashboard"),
    ]

    # ---- keys: where the cursor is -----------------------------------------------------------------------------------

    async def action_leave(self) -> None:
        """From the field to the panes, from one pane to all, from the bytes to the tree, from the tree back."""
        if self.prompt.asks:
            self.prompt.leave()
            if self._at == "tree":
                self._filter("")
        elif self.searching:
            self.stop_search()
        elif self._hex.selecting:
            self._hex.select()
        elif self._alone:
            self.action_whole()
        elif self._at != "tree":
            self.action_area("tree")
        elif self._filtered:
            self._filtered = ""
            self._list()
        else:
            self.app.pop_screen()

    def action_switch(self) -> None:
        self.action_area("hex" if self._at == "tree" else "tree")

    def action_whole(self) -> None:
        self._alone = not self._alone
        self._rearrange()

    def action_open(self) -> None:
        node = self._listed.get(self._tree.key)
        if node is None or node.missing or self._at != "tree":
            return
        if node.folder:
            self._fold_folder(node.key)
        else:
            self.read(node.path)

    def action_up(self, steps: int) -> None:
        if self._at == "hex":
            self._hex.step_rows(steps)
        elif self._at == "tree":
            self._tree.move(steps)
        elif self._file is not None and (target := self._file.field_beside(self._hex.cursor, steps)) is not None:
            self._hex.go(target)

    def action_side(self, steps: int) -> None:
        if self._at != "tree":
            self._hex.step(steps)
            return
        node = self._listed.get(self._tree.key)
        if node is not None and node.folder and not node.missing and (node.key in self._unfolded) != (steps > 0):
            self._fold_folder(node.key)

    def action_page(self, pages: int) -> None:
        if self._at == "tree":
            self._tree.move(pages * 10)
        else:
            self._hex.page(pages)

    def action_end(self, last: int) -> None:
        if self._at == "tree":
            self._tree.move(len(self._listed) * (1 if last else -1))
        elif self._file is not None:
            self._hex.go(self._file.size - 1 if last else 0)

    # ---- keys: how bytes are shown -----------------------------------------------------------------------------------

    def action_rows(self) -> None:
        self._follow = not self._follow
        self._hex.follow_records(self._follow)

    def action_zeros(self) -> None:
        self._hex.toggle_folds()

    def action_select(self) -> None:
        if self._file is not None:
            self.action_area("hex")
            self._hex.select()

    def action_read_again(self) -> None:
        self._list()
        if self._file is not None:
            self.read(self._file.path, self._hex.cursor)

    # ---- keys: to other places ---------------------------------------------------------------------------------------

    def action_finding(self, steps: int) -> None:
        if self._database is None:
            self._refuse("the tables are not listed yet")
            return
        report = self.console.state.tables.data
        found = browser_places.located(self._database.root, self._database.db, report)
        if self._file is not None:
            known = {finding for _, finding in found}
            found += [(self._file.path, finding) for finding in self._file.findings if finding not in known]
        if not found:
            self._refuse("no finding names a file that can be opened" if report else "the tables are not diagnosed yet")
            return
        at = (self._finding[0] + steps) % len(found) if self._finding is not None else (0 if steps > 0 else -1)
        at %= len(found)
        path, finding = found[at]
        self._finding = (at, len(found), finding, path)
        self._jump(path, finding.offset or 0)

    def action_segment(self) -> None:
        file, database = self._file, self._database
        if file is None or database is None:
            return
        record_here = file.record_at(self._hex.cursor)
        table = browser_places.table_of(self._tables, file.path)
        self.ask("place", lambda: browser_places.leads_to(record_here, file.path, table, database))

    def action_return(self) -> None:
        if self._trail:
            self._show_place(*self._trail.pop())
        else:
            self._refuse("there was no jump to return from")

    def action_compare(self) -> None:
        """Show the open file beside the one chosen in the tree, else beside its copies, one after the other."""
        file, database = self._file, self._database
        node = self._listed.get(self._tree.key)
        chosen = node.path if node is not None and not node.folder and not node.missing else None
        if file is None or database is None:
            self._refuse("open a file first: Enter in the tree")
            return
        table = browser_places.table_of(self._tables, file.path)
        if self._at == "tree" and chosen is not None and chosen != file.path:
            others = [chosen]
        else:
            others = browser_places.counterparts(table, file.path) if table is not None else []
        if not others:
            self._refuse("this file has no copy beside the table; choose the other file in the tree, then c")
            return
        from screens.browser_compare import Compare

        self.app.push_screen(Compare(database, file.path, others, self._hex.cursor))

    # ---- keys: copies ------------------------------------------------------------------------------------------------

    def action_copy(self) -> None:
        found = self._file.record_at(self._hex.cursor) if self._file is not None else None
        if found is None or self._file is None:
            return
        fields = {field.name: field.value for field in found.fields}
        document = {"file": str(self._file.path), "offset": found.offset, "record": found.title, "fields": fields}
        self.console.copy_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n")

    def action_copy_hex(self) -> None:
        """Copy what is selected, else the field under the cursor, as hexadecimal digits."""
        if self._file is None:
            return
        start, end = self._hex.chosen
        if end - start > _MOST_COPIED:
            self._refuse(f"{end - start:,} bytes are selected; at most {_MOST_COPIED:,} can be copied")
            return
        try:
            data = self._file.read(start, end - start)
        except OSError as error:
            self._refuse(f"cannot be read: {error.strerror}")
            return
        rows = [data[at : at + 32].hex(" ") for at in range(0, len(data), 32)]
        self.console.copy_text("\n".join(rows) + "\n")
