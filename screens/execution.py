"""A confirmed action at work: stages as they finish, then the proof, the next step and the way back."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from console.recovery.model import Outcome, Plan, RunResult
from console.recovery.store.journal import Entry
from screens.frame import Answer
from screens.panes.run import RunView
from screens.port import FollowsSteps
from screens.watching import Watching

if TYPE_CHECKING:  # it brings all of the engine with it
    from console.recovery.process.launch import Attached, RunningAction

_ENDED_WELL = (Outcome.DONE, Outcome.ROLLED_BACK)
_UNDOABLE = (Outcome.DONE, Outcome.FAILED, Outcome.UNFINISHED)


class Execution(Watching):
    """Starts the confirmed plan once, or attaches to what runs already, and watches it."""

    TITLE_WORD = "at work"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.back", "Back", id="back", tooltip="leave this screen; the action keeps running"),
        Binding("u", "undo", "Undo", id="undo", tooltip="the plan to undo it, once it is done"),
        Binding("a", "next", "Next step", id="next", tooltip="the action palette, on the recommended step"),
        Binding("j", "app.journal", "Journal", id="journal", tooltip="what was done, by whom, and how it ended"),
    ]

    def __init__(self, plan: Plan, phrase: str, undoes: str = "", attached: "Attached | None" = None) -> None:
        super().__init__()
        self._plan = plan
        self._phrase = phrase
        self._undoes = undoes
        self._attached = attached

    @classmethod
    def watching(cls, attached: "Attached") -> "Execution":
        return cls(attached.plan, "", str(attached.entry.intent.get("undoes") or ""), attached)

    def begin(self) -> "RunningAction":
        """Start the plan, once; or take what runs."""
        if self._attached is not None:
            return self._attached.running
        return self.console.engine().launch(self._plan, self._phrase, self._undoes)

    def first_view(self) -> RunView:
        found = f"found at work: {_by_whom(self._attached.entry)}" if self._attached is not None else ""
        view = RunView.of(self._plan, self.console.monotonic())
        return replace(view, undoes=self._undoes, found=found)

    def ended(self) -> None:
        console, palette = self.console, self._palette()
        console.expire_way()
        console.refresh_sources()
        what = " ".join(filter(None, (self._plan.action, self._plan.table)))
        outcome = (
            self.view.result.outcome if self.view is not None and isinstance(self.view.result, RunResult) else "failed"
        )
        console.call_operator(f"walmedic: {what}: {outcome}")
        if palette is not None:
            palette.follow()
        result = self.view.result if self.view is not None else None
        if self.view is not None and isinstance(result, RunResult) and result.outcome in _ENDED_WELL:
            self.view = replace(self.view, asks=True)
            self.ask("next", lambda: console.engine().way())

    def on_answer(self, answer: Answer) -> None:
        if self.view is not None:
            self.view = replace(self.view, way=None if answer.error else answer.value, asks=False)
            if not answer.error:
                self.console.take_way(answer.value)
            self._draw()

    def offers(self, name: str) -> bool:
        if name == "undo":
            return bool(self._way_back())
        return name != "next" or (self.view is not None and self.view.over)

    def _way_back(self) -> str:
        result = self.view.result if self.view is not None else None
        if isinstance(result, RunResult) and result.outcome in _UNDOABLE and not self._undoes:
            return result.entry
        return ""

    def action_undo(self) -> None:
        if entry := self._way_back():
            self.console.open_undo(entry)

    def action_next(self) -> None:
        if self.view is not None and self.view.over:
            if self._palette() is None:
                self.console.replace_by_palette()
            else:
                self.app.pop_screen()

    def _palette(self) -> FollowsSteps | None:
        return next((screen for screen in self.app.screen_stack if isinstance(screen, FollowsSteps)), None)


def _by_whom(entry: Entry) -> str:
    data = entry.worker.data
    where = f" on {data.get('terminal')}" if data.get("terminal") else ""
    return f"{data.get('operator')}{where}, pid {data.get('pid')}, since {entry.worker.at[11:19]}Z, entry {entry.id}"
