"""Help made from what is there: the keys of the screen below, the actions, and where things are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.paths import glossary_file
from console.recovery.model import ActionSpec
from console.widgets.frames import Box
from console.widgets.line import BLANK, Line, Role, Span, hanging, left, line
from console.widgets.pane import Content, Framed, Pane, Room
from screens.commands import known_actions
from screens.frame import Answer, FramedScreen, key_label
from screens.keys import scrolling_keys

_READING = 110  # cells of the longest line that an eye follows


@dataclass(frozen=True, slots=True)
class HelpView:
    """What help shows: keys with their meaning, actions, and the files of this console."""

    keys: tuple[tuple[str, str], ...]
    actions: Sequence[ActionSpec]
    places: tuple[tuple[str, str], ...]
    words: tuple[tuple[str, str], ...] = ()
    search: str = ""


class Help(FramedScreen):
    """All keys of the screen below, all actions, the glossary, and where log, journal and settings are."""

    TITLE_WORD = "help"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "narrow", "Back", id="back", tooltip="show everything again, or leave the help"),
        Binding("q,question_mark,f1", "app.back", "Back", id="leave", show=False, tooltip="leave the help"),
        Binding("slash", "search", "Search", id="filter", tooltip="show what has these letters"),
        *scrolling_keys(),
    ]

    def __init__(self, keys: tuple[tuple[str, str], ...], places: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._view = HelpView(keys, (), places)

    def body(self) -> list[Widget]:
        return [Framed(Pane(_help, id="text"), arrange=_arrange, is_open=lambda size: True, id="help")]

    def on_mount(self) -> None:
        """Show the keys at once; the actions come from the registry in a thread."""
        super().on_mount()
        self.query_one("#text", Pane).show(self._view)
        self.ask("actions", lambda: (known_actions(), _glossary()))

    def on_answer(self, answer: Answer) -> None:
        if not answer.error:
            specs, words = answer.value
            self._show(replace(self._view, actions=specs, words=words))

    def action_search(self) -> None:
        self.prompt.ask("show what has:", self._search, typed=self._search, text=self._view.search)

    def _search(self, text: str) -> None:
        self._show(replace(self._view, search=text))

    async def action_narrow(self) -> None:
        if self.prompt.asks:
            self.prompt.leave()
        if self._view.search:
            self._show(replace(self._view, search=""))
        else:
            self.app.pop_screen()

    def _show(self, view: HelpView) -> None:
        self._view = view
        pane = self.query_one("#text", Pane)
        pane.scroll_line = 0
        pane.show(view)

    def action_scroll(self, lines: int) -> None:
        self.query_one("#text", Pane).move_text(lines)


def keys_of(bindings: Sequence[Binding]) -> tuple[tuple[str, str], ...]:
    """Return each key of a screen with what it does, one line per action."""
    found: dict[str, tuple[list[str], str]] = {}
    for binding in bindings:
        if binding.system:
            continue
        keys, _ = found.setdefault(binding.action, ([], binding.tooltip or binding.description))
        if key_label(binding.key) not in keys:
            keys.append(key_label(binding.key))
    return tuple((" ".join(keys), meaning) for keys, meaning in found.values())


def _glossary() -> tuple[tuple[str, str], ...]:
    """Return the words of the glossary with their meanings; none if the file cannot be read."""
    try:
        rows = glossary_file().read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    cells = [[cell.strip() for cell in row.strip("|").split("|", 1)] for row in rows if row.startswith("| ")]
    return tuple((word, meaning.replace("`", "")) for word, meaning in cells[1:] if not word.startswith("---"))


def _groups(view: HelpView) -> Iterator[tuple[str, str, int, Role, Sequence[tuple[str, str]]]]:
    """Yield title, remark, cells for the first column and its role, and the rows of each group."""
    yield "keys of this screen", "", 14, Role.KEY, view.keys
    remark = "never by one key: from the palette (a), with a plan"
    yield "actions", remark, 19, Role.STRONG, [(spec.id, spec.summary) for spec in view.actions]
    yield "words", "", 24, Role.STRONG, view.words
    yield "places", "", 14, Role.DIM, view.places


def _help(view: HelpView, room: Room) -> Content:
    width = min(room.width, _READING)
    wanted = view.search.lower()
    lines: list[Line] = []
    for title, remark, cells, role, rows in _groups(view):
        found = [row for row in rows if wanted in f"{row[0]} {row[1]}".lower()]
        if not found:
            continue
        lines += [BLANK] if lines else []
        lines.append(line(Span(title, Role.TITLE), Span(f"  {remark}" if remark else "", Role.DIM)))
        for name, text in found:
            lines.extend(hanging(left(line(Span(name, role)), cells), text, width))
    if not lines:
        lines.append(line(Span(f"Nothing in the help has {view.search!r}.", Role.WARN)))
    title = f"help: {view.search}" if wanted else "help"
    return Content(title, tuple(lines), line(Span("/ searches", Role.DIM)), more="more lines (PgDn)")


def _arrange(size: Size) -> list[Box]:
    return [Box("text", 0, 0, size.width, size.height)]
