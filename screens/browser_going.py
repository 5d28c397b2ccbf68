"""The browser's keys to places that are typed: an offset, a transaction, a row, a time, bytes; and files by name."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console.errors import WalmedicError
from console.questdb.reading import DbFile
from console.text import clean_line
from screens import browser_places
from screens.browser_file import canonical
from screens.browser_panes import Area, BrowserPanes
from screens.browser_times import place_of_time
from screens.frame import Answer

_GOTO = "go to offset, t… transaction, r… row, or time:"
_FILTER = "show files with:"
_FIND = 'find bytes (fa 00) or text ("abc", u"abc"):'
_HEX = re.compile(r"(?:0x)?((?:[0-9a-f]{2}[\s:]*)+)", re.IGNORECASE)
_QUOTED = re.compile(r'(?P<wide>u)?"(?P<text>.*)"?', re.DOTALL)
_LONGEST = 4096
_CHUNK: Final = 4 << 20


def find_bytes(file: DbFile, wanted: bytes, first: int, end: int, stopped: Callable[[], bool]) -> int | None:
    """Return the offset of the first `wanted` that begins from `first` on and before `end`, None if there is none.

    `stopped` is asked before each chunk: once it is true nothing more is read. Raises OSError where the device fails.
    """
    at, end = max(0, first), min(end, file.size - len(wanted) + 1)
    in_holes = not any(wanted)
    while wanted and at < end and not stopped():
        if not in_holes:
            at = max(at, file.next_data(at) - len(wanted) + 1)
        found = file.read(at, min(_CHUNK, end - at) + len(wanted) - 1).find(wanted)
        if found >= 0:
            return at + found if at + found < end else None
        at += _CHUNK
    return None


@dataclass(frozen=True, slots=True)
class Search:
    """Bytes that are looked for in a file; `stop` ends the search. `typed` is what the operator typed."""

    path: Path
    wanted: bytes
    typed: str
    stop: threading.Event = field(default_factory=threading.Event)

    def after(self, offset: int) -> tuple["Search", int]:
        """Return this search with the next place behind `offset`, from the start again behind the last one.

        Raises WalmedicError if there is none, or the search was stopped. Blocks.
        """
        with DbFile(canonical(self.path)) as file:
            for first, end in ((offset + 1, file.size), (0, offset + 1)):
                found = find_bytes(file, self.wanted, first, end, self.stop.is_set)
                if found is not None:
                    return self, found
        if self.stop.is_set():
            raise WalmedicError("the search was stopped")
        raise WalmedicError(f"the file does not hold {clean_line(self.typed)}")


def bytes_asked_for(text: str) -> bytes:
    """Return the bytes that `text` names: hexadecimal digits in pairs, or a text in quotes (u: as UTF-16).

    Raises WalmedicError for anything else.
    """
    text = text.strip()
    digits, quoted = _HEX.fullmatch(text), _QUOTED.fullmatch(text)
    found = b""
    if digits is not None:
        found = bytes.fromhex(re.sub(r"[\s:]", "", digits[1]))
    elif quoted is not None:
        content = quoted["text"].removesuffix('"')
        found = content.encode("utf-16-le" if quoted["wide"] else "utf-8", "surrogatepass")
    if not found:
        raise WalmedicError(f'{clean_line(text) or "nothing"} is neither bytes (fa 00 1c) nor a text ("abc", u"abc")')
    if len(found) > _LONGEST:
        raise WalmedicError(f"at most {_LONGEST:,} bytes can be looked for")
    return found


class BrowserGoing(BrowserPanes):
    def __init__(self) -> None:
        super().__init__()
        self._search: Search | None = None
        self.searching = False

    def on_unmount(self) -> None:
        self.stop_search()

    def action_area(self, area: Area) -> None:
        self._at = area if self._file is not None else "tree"
        self._draw()
        if self._alone:
            self._rearrange()

    # ---- places ------------------------------------------------------------------------------------------------------

    def action_goto(self) -> None:
        self.action_area("hex")
        self.prompt.ask(_GOTO, self._go_where)

    def _go_where(self, text: str) -> None:
        try:
            self._error = ""
            if browser_places.is_time(text):
                self._go_to_time(text.strip())
            elif (row := browser_places.row_asked_for(text)) is not None:
                self._go_to_row(row)
            else:
                self._go_to(browser_places.asked_for(text))
        except WalmedicError as refused:
            self._error = str(refused)
        self._draw()

    def _go_to_row(self, row: int) -> None:
        file = self._file
        if file is None:
            raise WalmedicError("open a file first: Enter in the tree")
        self.ask("row", lambda: (file, file.offset_of(row)))

    def _go_to_time(self, text: str) -> None:
        """Go to the first row at a time or later, in whatever partition of the table that is."""
        path = self._file.path if self._file is not None else None
        table = browser_places.table_of(self._tables, path) if path is not None else None
        if path is None or table is None:
            raise WalmedicError("open a file of the table first: Enter in the tree")
        self.ask("time", lambda: place_of_time(table.path, path, text))

    def _go_to(self, asked: browser_places.Asked) -> None:
        file = self._file
        if file is None:
            raise WalmedicError("open a file first: Enter in the tree")
        offset = asked.number
        if asked.transaction:
            found = file.record_of(asked.number)
            if found is None:
                raise WalmedicError("this file has no record of that transaction")
            offset = found.offset
        self._hex.go(offset)
        if offset >= file.size:
            raise WalmedicError(f"offset {offset:#x} lies past the end; the file ends at {file.size:#x}")

    # ---- words -------------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """In the tree, ask for words that the paths of files must have; elsewhere for bytes of the open file."""
        if self._at == "tree":
            self.prompt.ask(_FILTER, lambda text: None, typed=self._filter, text=self._filtered)
        else:
            self.prompt.ask(_FIND, self._find, text=self._search.typed if self._search is not None else "")

    def _filter(self, text: str) -> None:
        self._filtered = text
        self._list()

    def _find(self, text: str) -> None:
        file = self._file
        if file is None:
            return
        self.stop_search()
        try:
            self._search = Search(file.path, bytes_asked_for(text), text.strip())
        except WalmedicError as refused:
            self._refuse(str(refused))
            return
        self.action_match()

    def action_match(self) -> None:
        """Go to the next place of the bytes that were looked for, in whatever file is open now."""
        file, search = self._file, self._search
        if file is None or search is None:
            self._refuse("nothing is looked for yet: / in the bytes asks what to find")
            return
        self.stop_search()
        self._search = search = Search(file.path, search.wanted, search.typed)
        cursor = self._hex.cursor
        self.searching = True
        self._refuse("")
        self.ask("match", lambda: search.after(cursor))

    def stop_search(self) -> None:
        if self._search is not None:
            self._search.stop.set()

    def brought(self, answer: Answer) -> bool:
        """Take a place that a thread found; return whether the answer was one."""
        if answer.asked not in {"match", "row", "time"}:
            return False
        self.searching = self.searching and answer.asked != "match"
        self._error = answer.error
        if answer.error:
            pass
        elif answer.asked == "time":
            self._jump(*answer.value)
        elif answer.asked == "row":
            file, offset = answer.value
            if file is self._file:
                self._hex.go(offset)
                self._moved(offset)  # its record may be another one at the same place
        else:
            search, offset = answer.value
            if self._file is not None and self._file.path == search.path:
                self._hex.go(offset)
        self._draw()
        return True
