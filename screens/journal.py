"""The journal: what was done, by whom, from where, how it ended; from an entry to its undo, or to what runs."""

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.recovery.model import Plan
from console.recovery.store.journal import Entry
from console.widgets import glyphs
from console.widgets.choice import ChoiceList
from console.widgets.frames import Box
from console.widgets.line import Role, Span, line
from console.widgets.pane import Framed, Pane
from screens.execution import Execution
from screens.frame import Answer, FramedScreen
from screens.panes import entry as text
from screens.panes import journal
from screens.panes.entry import EntryView
from screens.panes.reading import Source, alert
from screens.plan import PlanScreen
from screens.unfinished import Unfinished

if TYPE_CHECKING:  # it brings all of the engine with it
    from screens.station_engine import StationEngine

_TWO_COLUMNS = 150


class JournalScreen(FramedScreen):
    """All entries, newest first, and all that the journal says of the one under the cursor."""

    TITLE_WORD = "journal"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,j", "app.back", "Back", id="back", tooltip="leave the journal"),
        Binding("u", "undo", "Undo", id="undo", tooltip="the plan to undo this entry"),
        Binding("enter", "open", "Go on", id="open", tooltip="watch what runs; finish or undo what was cut off"),
        Binding("up", "move(-1)", "Up", id="up", show=False, tooltip="the entry above"),
        Binding("down", "move(1)", "Down", id="down", show=False, tooltip="the entry below"),
        Binding("pageup", "scroll(-8)", "Page up", id="page-up", show=False, tooltip="move the details up"),
        Binding("pagedown", "scroll(8)", "Scroll", id="page-down", tooltip="read the rest of the details"),
        Binding("y", "app.copy_screen", "Copy", id="copy", tooltip="copy the screen as text"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shown: EntryView | None = None

    def body(self) -> list[Widget]:
        self._list, self._detail = ChoiceList(id="entries", title="journal"), Pane(text.detail, id="detail")
        return [Framed(self._list, self._detail, arrange=_arrange, is_open=lambda size: True, id="journal")]

    def tick(self) -> None:
        super().tick()
        console = self.console
        source = Source.of(console.state.journal, now=console.wall_clock(), monotonic=console.monotonic())
        note = alert(source, "journal")
        if source.data is not None and not source.data.chain_ok:
            note = line(Span(f"{glyphs.BAD} the chain is broken: changed by another hand", Role.BAD))
        before = self._list.key
        wide = self.size.width >= _TWO_COLUMNS
        width = self.size.width // 2 if wide else self.size.width
        self._list.offer(journal.items(source.data, width - 3), note=note)
        if before == self._list.key and before:
            self._look()

    def action_move(self, steps: int) -> None:
        self._list.move(steps)

    def action_scroll(self, lines: int) -> None:
        self._detail.move_text(lines)

    def offers(self, name: str) -> bool:
        """Offer the way back of an entry there is, and to go on with one that has not ended."""
        entry = self._shown.entry if self._shown is not None else None
        if name == "open":
            return entry is not None and entry.outcome is None
        return name != "undo" or entry is not None

    def action_undo(self) -> None:
        if self._list.key:
            self.app.push_screen(PlanScreen.of_undo(self._list.key))

    def action_open(self) -> None:
        """Watch the entry if it runs; offer to finish it or take it back if it was cut off."""
        engine, entry = self.console.engine, self._list.key
        if entry:
            self.ask("open", lambda: _opened(engine(), entry))

    @on(ChoiceList.Moved)
    def _moved(self) -> None:
        self._detail.scroll_line = 0
        self._look()

    def _look(self) -> None:
        engine, entry = self.console.engine, self._list.key
        shown = self._shown
        if entry and (shown is None or shown.entry.id != entry or shown.entry.outcome is None):
            self.ask("entry", lambda: _looked_up(engine(), entry))

    def on_answer(self, answer: Answer) -> None:
        if answer.error:
            self.notify(answer.error, severity="error", timeout=8, markup=False)
        elif answer.asked == "entry":
            self._shown = EntryView(*answer.value)
            self._detail.show(self._shown)
            self.draw_keys()
        elif answer.value is not None:
            self.app.push_screen(answer.value)


def _looked_up(engine: "StationEngine", name: str) -> tuple[Entry, Plan]:
    found = engine.entry(name)
    return found, engine.entry_plan(str(found.intent.get("undoes") or found.id))


def _opened(engine: "StationEngine", name: str) -> FramedScreen | None:
    attached = engine.attach()
    if attached is not None and attached.entry.id == name:
        return Execution.watching(attached)
    cut_off = [entry for entry in engine.unfinished() if entry.id == name]
    return Unfinished(cut_off) if cut_off and attached is None else None


def _arrange(size: Size) -> list[Box]:
    if size.width >= _TWO_COLUMNS:
        half = size.width // 2
        right = Box("detail", half, 0, size.width - half, size.height, edge=True)
        return [Box("entries", 0, 0, half, size.height), right]
    tall = max(4, size.height * 2 // 5)
    return [Box("entries", 0, 0, size.width, tall), Box("detail", 0, tall, size.width, size.height - tall)]
