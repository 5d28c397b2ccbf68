"""A confirmed action at work: stages as they finish, then the proof, the next step and the way back."""

import asyncio
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from console.errors import WalmedicError
from console.probes.worker import Worker
from console.recovery.model import Plan, Progress, RunResult
from console.widgets.frames import Box
from console.widgets.pane import Framed, Pane
from screens.frame import FramedScreen
from screens.panes import run as text
from screens.panes.run import RunView

_POLL = 0.2  # seconds


class Told(Message):
    """What the executor told, and its result once there is one."""

    def __init__(self, progress: tuple[Progress, ...], result: RunResult | None, error: str = "") -> None:
        super().__init__()
        self.progress = progress
        self.result = result
        self.error = error


class Execution(FramedScreen):
    """Starts the confirmed plan once, and watches it. Leaving the screen stops nothing."""

    TITLE_WORD = "at work"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.back", "Back", id="back", tooltip="leave this screen; the action goes on"),
        Binding("up", "scroll(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down", "scroll(1)", "Down", id="down", show=False, tooltip="move down"),
        Binding("pageup", "scroll(-8)", "Page up", id="page-up", show=False, tooltip="move up by a page"),
        Binding("pagedown", "scroll(8)", "Scroll", id="page-down", tooltip="read the rest"),
        Binding("j", "app.journal", "Journal", id="journal", tooltip="what was done, by whom, and how it ended"),
        Binding("y", "app.copy_screen", "Copy", id="copy", show=False, tooltip="copy the screen as text"),
    ]

    def __init__(self, plan: Plan, phrase: str) -> None:
        super().__init__()
        self._plan = plan
        self._phrase = phrase
        self.view: RunView | None = None

    def body(self) -> list[Widget]:
        """Return stages and proof."""
        self._stages, self._proof = Pane(text.stages, id="stages"), Pane(text.proof, id="proof")
        return [Framed(self._stages, self._proof, arrange=self._arrange, is_open=lambda size: True, id="run")]

    def on_mount(self) -> None:
        """Start the action."""
        super().on_mount()
        self.view = RunView.of(self._plan, self.console.monotonic())
        self._draw()
        self.run_worker(self._follow(), exit_on_error=False, group="run", name="run")

    async def _follow(self) -> None:
        """Start, and pass on what is told; widgets are changed by the messages only."""
        console, plan, phrase = self.console, self._plan, self._phrase
        try:
            running = await Worker("launch").call(lambda: console.engine().launch(plan, phrase))
            while True:
                # The result is asked for first: what was told before it is then complete.
                result = await Worker("result").call(running.result)
                told = tuple(await Worker("poll").call(running.poll))
                if told or result is not None:
                    self.post_message(Told(told, result))
                if result is not None:
                    return
                await asyncio.sleep(_POLL)
        except WalmedicError as refused:
            self.post_message(Told((), None, str(refused)))

    def on_told(self, message: Told) -> None:
        """Show what was told."""
        if self.view is None:
            return
        view = self.view.taking(message.progress, self.console.monotonic())
        self.view = replace(view, result=message.result, error=message.error)
        if self.view.over:
            self.console.refresh_sources()
        self._draw()

    def tick(self) -> None:
        """Let the time of the stage at work go on."""
        super().tick()
        if self.view is not None and not self.view.over:
            self.view = replace(self.view, now=self.console.monotonic())
            self._draw()

    def action_scroll(self, lines: int) -> None:
        """Scroll the proof, or the stages while there is none."""
        if not self._proof.move_text(lines):
            self._stages.move_text(lines)

    def _draw(self) -> None:
        self._stages.show(self.view)
        self._proof.show(self.view)
        self.query_one("#run", Framed).rearrange()

    def _arrange(self, size: Size) -> list[Box]:
        inner = size.width - 2
        wanted = self._stages.wanted(inner, open=True) + 1
        proof = self._proof.wanted(inner, open=True) + 1
        # The proof comes whole into sight first; the stages take the rest, at least a few lines.
        tall = min(wanted, max(5, size.height - proof))
        return [Box("stages", 0, 0, size.width, tall), Box("proof", 0, tall, size.width, size.height - tall)]
