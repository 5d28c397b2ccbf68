"""The palette of everything: screens, panes, tables, services and actions by a few letters of their names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.geometry import Size
from textual.widget import Widget

from console.recovery.model import ActionSpec
from console.widgets.choice import ChoiceList, Item
from console.widgets.frames import Box
from console.widgets.line import Role, Span, left, line
from console.widgets.pane import Bar, Framed
from screens.dashboard_boxes import PANES
from screens.filter_text import filter_after
from screens.frame import Answer, FramedScreen
from screens.keys import scrolling_keys
from screens.panes.actions import found_by

_NAMES = 24
_SCREENS = (
    ("actions", "what can be done now, and why not", "action_actions"),
    ("browser", "the files of a table, byte by byte", "action_browser"),
    ("journal", "what was done, by whom, how it ended", "action_journal"),
    ("timeline", "the incident in time order, and the report", "action_timeline"),
    ("support bundle", "a redacted archive for QuestDB's support", "action_bundle"),
    ("why not", "steps that would destroy data now", "action_why_not"),
    ("help", "all keys, actions and terms", "action_help"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that can be opened: by a method of the console, and what it is given."""

    kind: str
    name: str
    about: str
    method: str
    given: tuple[str | None, ...] = ()


class Commands(FramedScreen):
    """Type some letters, Enter opens. It does nothing itself: an action opens its plan."""

    TITLE_WORD = "everything"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.back", "Back", id="back", tooltip="leave the palette; nothing is done"),
        Binding("ctrl+p", "app.back", "Back", id="commands", show=False, tooltip="leave the palette"),
        Binding("enter", "open", "Open", id="open", tooltip="open what the cursor is on; an action opens its plan"),
        *scrolling_keys("move down by a page", action="move", page=8, hint=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._typed = ""
        self._specs: Sequence[ActionSpec] = ()

    def body(self) -> list[Widget]:
        listed = Framed(ChoiceList(id="list"), arrange=_arrange, is_open=lambda size: True, id="found")
        return [Bar(id="typed"), listed]

    def on_mount(self) -> None:
        """Show what is known at once; the actions come from the registry in a thread."""
        super().on_mount()
        self._show()
        self.ask("specs", known_actions)

    def on_answer(self, answer: Answer) -> None:
        if not answer.error:
            self._specs = answer.value
            self._show()

    def takes(self, event: Key | Paste) -> bool:
        after = filter_after(self._typed, event)
        if after is None:
            return False
        self._typed = after
        self._show()
        return True

    def action_move(self, steps: int) -> None:
        self.query_one(ChoiceList).move(steps)

    def action_open(self) -> None:
        key = self.query_one(ChoiceList).key
        chosen = next((command for command in self._found() if _key(command) == key), None)
        if chosen is not None:
            self.app.pop_screen()
            self.app.call_later(getattr(self.app, chosen.method), *chosen.given)

    def _found(self) -> list[Command]:
        return found_by(list(self._commands()), self._typed, lambda command: (command.name, command.kind))

    def _commands(self) -> Iterator[Command]:
        state, way = self.console.state, self.console.way
        if way is not None and way.first is not None and not self.console.way_asked:
            first = way.first
            name = " ".join(filter(None, (first.action, first.table)))
            yield Command("next", name, first.reason, "open_plan", (first.action, first.table))
        for name, about, method in _SCREENS:
            yield Command("screen", name, about, method)
        for name in PANES:
            yield Command("pane", name, "full screen", "open_pane", (name,))
        worst = state.tables.data.worst_first() if state.tables.data is not None else []
        for table in worst:
            yield Command("table", table.table, f"{table.verdict.value}: its actions", "open_table", (table.table,))
        for unit in state.services.data.units if state.services.data is not None else ():
            yield Command("log", unit.name, "its log", "action_unit_log", (unit.name,))
        first_table = way.first.table if way is not None and way.first is not None else None
        target = first_table or (worst[0].table if worst else None)
        for spec in self._specs:
            of = target if spec.needs_table else None
            about = f"{spec.title} ({of})" if of else spec.title
            yield Command("plan", spec.id, about, "open_plan", (spec.id, of))

    def _show(self) -> None:
        hint = "" if self._typed else "type letters of a screen, table, service or action"
        typed = line(" ", Span(": ", Role.KEY), Span(self._typed, Role.STRONG), Span(" ", Role.CURSOR))
        self.query_one("#typed", Bar).show(line(typed, "  ", Span(hint, Role.DIM)))
        choices = self.query_one(ChoiceList)
        items = [Item(_key(command), _row(command, self.size.width - 3)) for command in self._found()]
        choices.offer(items or [Item("", line(Span(f"nothing matches {self._typed.strip()}", Role.WARN)))])
        if self._typed and items:
            choices.choose(items[0].key)


def _key(command: Command) -> str:
    return f"{command.kind} {command.name}"


def _row(command: Command, width: int) -> "tuple[Span, ...]":
    kind = left(line(Span(command.kind, Role.DIM)), 8)
    name = left(line(Span(command.name, Role.STRONG)), max(_NAMES, len(command.name) + 2))
    return left(line(kind, name, Span(command.about, Role.DIM)), width)


def known_actions() -> Sequence[ActionSpec]:
    """Return all actions; the first time it takes a moment."""
    from console.recovery.gate.registry import action_ids, spec_of

    return [spec_of(action) for action in action_ids()]


def _arrange(size: Size) -> list[Box]:
    return [Box("list", 0, 0, size.width, size.height, rule=False)]
