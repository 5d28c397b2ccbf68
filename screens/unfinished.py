"""What was cut off: by whom, when, how far it came, and the two ways on: finish it, or take it back."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.recovery.store.journal import Entry
from console.widgets.frames import Box
from console.widgets.pane import Framed, Pane
from screens.frame import Answer, FramedScreen
from screens.keys import scrolling_keys
from screens.panes import entry as text
from screens.panes.entry import EntryView
from screens.plan import PlanScreen


class Unfinished(FramedScreen):
    """Shows the oldest entry that was cut off; what it left half done comes before anything else."""

    TITLE_WORD = "unfinished work"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.back", "Later", id="back", tooltip="leave it as it is; it still comes first"),
        Binding("f,enter", "finish", "Finish it", id="finish", tooltip="the plan as it was confirmed, to finish it"),
        Binding("u", "undo", "Take it back", id="undo", tooltip="the plan to undo it"),
        Binding("j", "app.journal", "Journal", id="journal", tooltip="what was done, by whom, and how it ended"),
        *scrolling_keys(page=8, hint=False),
    ]

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        # An undo that was cut off comes before the entry that it takes back.
        self._entry = next((entry for entry in entries if entry.action == "undo"), entries[0])

    def body(self) -> list[Widget]:
        return [Framed(Pane(text.cut_off, id="entry"), arrange=_arrange, is_open=lambda size: True, id="unfinished")]

    def on_mount(self) -> None:
        super().on_mount()
        console, entry = self.console, self._entry.id
        undone = str(self._entry.intent.get("undoes") or "")
        self.ask("plan", lambda: console.engine().entry_plan(undone or entry))
        self._show(EntryView(self._entry))

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        console = self.console
        self.ask("left", lambda: console.engine().unfinished())

    def on_answer(self, answer: Answer) -> None:
        if answer.asked == "left":
            gone = not answer.error and all(entry.id != self._entry.id for entry in answer.value)
            if gone and self.is_current:
                self.app.pop_screen()
        else:
            self._show(EntryView(self._entry, answer.value, error=answer.error))

    def action_finish(self) -> None:
        undone = str(self._entry.intent.get("undoes") or "")
        if undone:
            self.app.push_screen(PlanScreen.of_undo(undone))
        else:
            self.app.push_screen(PlanScreen(self._entry.action, self._entry.table))

    def action_undo(self) -> None:
        self.app.push_screen(PlanScreen.of_undo(str(self._entry.intent.get("undoes") or self._entry.id)))

    def action_scroll(self, lines: int) -> None:
        self.query_one("#entry", Pane).move_text(lines)

    def _show(self, view: EntryView) -> None:
        self.query_one("#entry", Pane).show(view)


def _arrange(size: Size) -> list[Box]:
    return [Box("entry", 0, 0, size.width, size.height)]
