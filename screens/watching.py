"""What watching has in common, be it an action or a rehearsal: stages as they finish above, how it ended below."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from console.errors import WalmedicError
from console.probes.worker import Worker
from console.recovery.model import Progress, RunResult
from console.recovery.rehearsal.model import Rehearsal
from console.widgets.frames import Box
from console.widgets.pane import Framed, Pane
from screens.frame import FramedScreen
from screens.keys import scrolling_keys
from screens.panes import proof, run
from screens.panes.run import RunView

if TYPE_CHECKING:  # it brings all of the engine with it
    from console.recovery.process.launch import RunningAction
    from console.recovery.rehearsal.launching import RunningRehearsal

_POLL = 0.2  # seconds


class NewProgress(Message):
    """What was reported, and how it ended once it has. `error` is what kept it from being started or watched."""

    def __init__(
        self, progress: tuple[Progress, ...], result: RunResult | Rehearsal | None = None, error: str = ""
    ) -> None:
        super().__init__()
        self.progress = progress
        self.result = result
        self.error = error


class Watching(FramedScreen):
    """Begins something in a process of its own, or finds it, and watches it. Leaving the screen stops nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *scrolling_keys(page=8),
        Binding("y", "app.copy_screen", "Copy", id="copy", show=False, tooltip="copy the screen as text"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.view: RunView | None = None

    def begin(self) -> "RunningAction | RunningRehearsal":
        """Start it, or find what runs already; called in a thread."""
        raise NotImplementedError

    def first_view(self) -> RunView:
        raise NotImplementedError

    def ended(self) -> None:
        """Do what is to be done when it is over."""

    def body(self) -> list[Widget]:
        self._stages, self._proof = Pane(run.stages, id="stages"), Pane(proof.proof, id="proof")
        return [Framed(self._stages, self._proof, arrange=self._arrange, is_open=lambda size: True, id="run")]

    def on_mount(self) -> None:
        super().on_mount()
        self.watch_anew()

    def watch_anew(self) -> None:
        self.view = self.first_view()
        self._draw()
        self.run_worker(self._follow(), exit_on_error=False, group="run", name="run", exclusive=True)

    async def _follow(self) -> None:
        """Pass on what is reported; widgets are changed by the messages only."""
        try:
            running = await Worker("begin").call(self.begin)
            while True:
                # The result is asked for first: what was reported before it is then complete.
                result = await Worker("result").call(running.result)
                reports = tuple(await Worker("poll").call(running.poll))
                if reports or result is not None:
                    self.post_message(NewProgress(reports, result))
                if result is not None:
                    return
                await asyncio.sleep(_POLL)
        except WalmedicError as refused:
            self.post_message(NewProgress((), None, str(refused)))

    def on_new_progress(self, message: NewProgress) -> None:
        if self.view is None:
            return
        view = self.view.taking(message.progress, self.console.monotonic(), self.console.wall_clock())
        self.view = replace(view, result=message.result, error=message.error)
        if self.view.over:
            self.ended()
        self._draw()

    def tick(self) -> None:
        super().tick()
        if self.view is not None and not self.view.over:
            self.view = replace(self.view, now=self.console.monotonic())
            self._draw()

    def action_scroll(self, lines: int) -> None:
        if not self._proof.move_text(lines):
            self._stages.move_text(lines)

    def _draw(self) -> None:
        self._stages.show(self.view)
        self._proof.show(self.view)
        self.draw_keys()
        self.query_one("#run", Framed).rearrange()

    def _arrange(self, size: Size) -> list[Box]:
        inner = size.width - 2
        wanted = self._stages.wanted(inner, open=True) + 1
        below = self._proof.wanted(inner, open=True) + 1
        # The proof comes whole into sight first; the stages take the rest, at least a few lines.
        tall = min(wanted, max(5, size.height - below))
        return [Box("stages", 0, 0, size.width, tall), Box("proof", 0, tall, size.width, size.height - tall)]
