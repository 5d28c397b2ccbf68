"""The action palette: the recommended step on top, what is open, what is blocked. It does nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.geometry import Size
from textual.widget import Widget

from console.diagnosis.model import ServerState
from console.probes.sample import Status
from console.recovery.model import Availability, FirstStep
from console.widgets import glyphs
from console.widgets.choice import ChoiceList
from console.widgets.frames import Box
from console.widgets.line import Line, Role, Span, line
from console.widgets.pane import Bar, Content, Framed, Pane, Room
from screens.filter_text import filter_after
from screens.frame import Answer, FramedScreen
from screens.keys import scrolling_keys
from screens.panes import actions, tables
from screens.plan import PlanScreen

if TYPE_CHECKING:  # it brings all of the engine with it
    from console.recovery.next_steps.way import Way
    from screens.station_engine import StationEngine


@dataclass(frozen=True, slots=True)
class Possible:
    """What is possible for a table, and the way if it was asked for."""

    table: str | None
    actions: Sequence[Availability]
    way: Way | None


class Palette(FramedScreen):
    """Choose a table by ← →, an action by ↑ ↓ or by typing, see its plan by Enter."""

    TITLE_WORD = "actions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.back", "Back", id="back", tooltip="leave the palette; nothing is done"),
        Binding("enter", "plan", "Plan", id="plan", tooltip="show what the action would do, and cost"),
        Binding("left", "table(-1)", "Table", id="table-left", show=False, tooltip="the table before"),
        Binding("tab,right", "table(1)", "Table", id="table", tooltip="the next table"),
        *scrolling_keys("move down by a page", action="move", page=8, hint=False),
    ]

    def __init__(self, table: str | None = None) -> None:
        super().__init__()
        self._table = table
        self._follows = table is None  # the table of the next step, until the operator chooses another one
        self._typed = ""
        self._actions: Sequence[Availability] = ()
        self._asking = False
        self._asked_at = 0.0
        self._entered = False  # Enter was pressed before the answer was there
        self._to_recommended = True

    def body(self) -> list[Widget]:
        """Return the target line, the list, and the pane about the action under the cursor."""
        return [
            Bar(id="target"),
            Bar(id="typed"),
            Framed(ChoiceList(id="list"), arrange=_list, is_open=lambda size: True, id="offer"),
            Framed(Pane(_detail, id="detail"), arrange=_arrange, is_open=lambda size: True, id="about"),
        ]

    def on_mount(self) -> None:
        super().on_mount()
        self._table = self._table or next(iter(self._tables()), None)

    def follow(self) -> None:
        """Stand on the table of the next step again, once the screen is on top: something was done."""
        self._follows = True

    def on_screen_resume(self) -> None:
        """Ask what is open, at first and after a plan or an action; the cursor goes to what is recommended next."""
        super().on_screen_resume()
        self._ask()

    def holds(self) -> bool:
        """Hold keys between Enter and the plan that it opens as soon as it is known which one."""
        return super().holds() or self._entered

    def takes(self, event: Key | Paste) -> bool:
        after = filter_after(self._typed, event, without="?")
        if after is None:
            return False
        self._typed = after
        self._show()
        return True

    def action_move(self, steps: int) -> None:
        self.query_one(ChoiceList).move(steps)

    def action_table(self, steps: int) -> None:
        names = self._tables()
        if names:
            at = names.index(self._table) if self._table in names else 0
            self._table, self._follows = names[(at + steps) % len(names)], False
            self._ask()

    def action_plan(self) -> None:
        """Open the plan of the action under the cursor; blocked ones too, which say why. Asked too early, it waits."""
        chosen = self._chosen()
        if chosen is not None:
            self._typed = ""
            self.app.push_screen(PlanScreen(chosen.spec.id, chosen.table))
        elif self._asking and self.query_one(ChoiceList).key == actions.KNOWN and (step := self._known()) is not None:
            self.app.push_screen(PlanScreen(step.action, step.table))
        elif self._asking:
            self._entered = True
            self._show()

    def _known(self) -> FirstStep | None:
        """Return the next step as the header names it, None where it is not known or another table was chosen."""
        way = self.console.way
        return way.first if way is not None and not self.console.way_asked and self._follows else None

    def tick(self) -> None:
        super().tick()
        if self._asking:
            self._show()

    @on(ChoiceList.Moved)
    def _moved(self) -> None:
        self.query_one("#detail", Pane).show(self._about())

    def _about(self) -> Availability | actions.Advice | None:
        """Return what the pane below tells of: the action under the cursor, or why none is recommended."""
        return self._advice() if self.query_one(ChoiceList).key == actions.NOTHING else self._chosen()

    def _advice(self) -> actions.Advice:
        return actions.advice_of(self.console.state.tables.data, self._table)

    def _tables(self) -> list[str]:
        report = self.console.state.tables.data
        return [table.table for table in tables.worst_first(report)] if report is not None else []

    def _chosen(self) -> Availability | None:
        key = self.query_one(ChoiceList).key
        return next((action for action in self._actions if action.spec.id == key), None)

    def _ask(self) -> None:
        table, follows, console = self._table, self._follows, self.console
        # What was possible before is not offered for what is possible now.
        self._actions, self._asking, self._entered, self._to_recommended = (), True, False, True
        self._asked_at = console.monotonic()
        self._show()
        # What is known stands there first: the question takes the processor for longer than a frame.
        self.call_after_refresh(self.ask, "availability", lambda: _possible(console.engine(), table, follows=follows))

    def on_answer(self, answer: Answer) -> None:
        self._asking = False
        if answer.error:
            self.query_one("#detail", Pane).show(answer.error)
        else:
            found: Possible = answer.value
            self._table, self._actions = found.table, found.actions
            if found.way is not None:
                self.console.take_way(found.way)
        self._show()
        if self._entered:
            self._entered = False
            self.action_plan()

    def _show(self) -> None:
        self.query_one("#target", Bar).show(self._target())
        hint = "" if self._typed else "type to filter"
        if self._asking:
            then = "; Enter opens its plan then" if self._entered else ""
            spent = glyphs.waiting(self.console.monotonic() - self._asked_at)
            hint = f"checking what is possible… {spent}{then}"
        typed = line(" ", Span("> ", Role.KEY), Span(self._typed, Role.STRONG), Span(" ", Role.CURSOR))
        self.query_one("#typed", Bar).show(line(typed, "  ", Span(hint, Role.DIM)))
        choices = self.query_one(ChoiceList)
        heading = "recommended now" if self._follows else f"recommended for {self._table}"
        known = self._known()
        reason = known.reason if known is not None else ""
        listed = actions.items(self._actions, self._typed, self.size.width - 3, self._advice(), heading, reason)
        if self._asking and not self._typed and known is not None:
            listed = actions.known_step(known.action, known.table, known.reason, self.size.width - 3)
        recommended = next((a.spec.id for a in self._actions if a.recommended), "")
        choices.offer(listed, recommended)
        if self._to_recommended and self._actions:
            self._to_recommended = False
            choices.choose(recommended or actions.NOTHING)
        if self._actions:
            self.query_one("#detail", Pane).show(self._about())
        elif self._asking:
            step = f"{known.action} {known.table or ''}".strip() if known is not None else ""
            why = f"{step}: {known.reason}" if known is not None else "Checks files, QuestDB, services and Redis."
            self.query_one("#detail", Pane).show(why)

    def _target(self) -> Line:
        report, server = self.console.state.tables.data, self.console.state.server.status
        down = server is Status.DOWN or (report is not None and report.server is ServerState.DOWN)
        parts: list[Line] = []
        for table in tables.worst_first(report) if report is not None else []:
            here = table.table == self._table
            name = Span(f" {table.table} ", Role.CURSOR) if here else Span(f" {table.table} ", Role.DIM)
            parts.append(line(name, " ", tables.verdict(table, down=down)))
        return line(" ", *parts) if parts else line(" ", Span("the station; no table is known", Role.DIM))


def _possible(engine: StationEngine, table: str | None, *, follows: bool) -> Possible:
    """Return what is possible for `table`, or for the one of the next step, which may be known by nobody else yet."""
    way = engine.way() if follows else None
    if way is not None and way.first is not None and way.first.table is not None:
        table = way.first.table
    return Possible(table, engine.availability(table), way)


def _detail(view: Availability | actions.Advice | str | None, room: Room) -> Content:
    if isinstance(view, actions.Advice):
        return actions.advised(view, room)
    return actions.nothing(view, room) if isinstance(view, str) else actions.detail(view, room)


def _list(size: Size) -> list[Box]:
    return [Box("list", 0, 0, size.width, size.height, rule=False)]


def _arrange(size: Size) -> list[Box]:
    return [Box("detail", 0, 0, size.width, size.height)]
