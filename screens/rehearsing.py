"""A rehearsal as it is watched: the plan carried out on a clone, a real server started on it, the result proven."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from console.recovery.model import Plan
from screens.panes.run import RunView
from screens.watching import Watching

if TYPE_CHECKING:  # it brings all of the engine with it
    from console.recovery.rehearsal.launching import RunningRehearsal


class Rehearsing(Watching):
    """Begins the rehearsal of a plan, or shows the one that there is. It goes on when the screen is left."""

    TITLE_WORD = "rehearsal"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.back", "Back to the plan", id="back", tooltip="leave this screen; it keeps running"),
        Binding("c", "cancel", "Cancel", id="cancel", tooltip="end the rehearsal; its server and its clone go"),
        Binding("r", "again", "Rehearse again", id="again", tooltip="once more from the beginning, when it is over"),
    ]

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        self._again = False
        self._rehearsal: RunningRehearsal | None = None

    def begin(self) -> "RunningRehearsal":
        engine = self.console.engine()
        found = None if self._again else engine.rehearsal(self._plan)
        self._rehearsal = running = found if found is not None else engine.rehearse(self._plan)
        return running

    def first_view(self) -> RunView:
        view = RunView.of(self._plan, self.console.monotonic())
        return replace(view, stages=(), rehearses=True)

    def offers(self, name: str) -> bool:
        over = self.view is not None and self.view.over
        return name not in {"cancel", "again"} or over == (name == "again")

    def action_cancel(self) -> None:
        running = self._rehearsal
        if running is not None and self.view is not None and not self.view.over:
            self.view = replace(self.view, cancelled=True)
            self._draw()
            self.ask("cancel", running.cancel)

    def action_again(self) -> None:
        if self.view is not None and self.view.over:
            self._again = True
            self.watch_anew()
