"""What a service says: the last lines of its log and every new one, filtered, held still or followed."""

import asyncio
import contextlib
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget
from textual.worker import Worker

from console.errors import WalmedicError
from console.probes.log_tail import LogTail
from console.widgets.frames import Box
from console.widgets.line import Line, Role, Span, cells, line
from console.widgets.pane import Bar, Framed, Pane
from screens.frame import FramedScreen
from screens.panes import services, unit_log
from screens.panes.unit_log import LogView

_DRAW_EVERY = 0.25  # seconds: a service that floods its log must not flood the terminal
_AGAIN = 3.0  # seconds until a log that could not be read is tried again
_HINT = "no log lines yet; without root only the groups adm and systemd-journal see the log of system units"


class UnitLog(FramedScreen):
    """One service's log; ← → go to another service."""

    TITLE_WORD = "log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="back", tooltip="leave the log; from the filter: forget it"),
        Binding("q", "app.back", "Back", id="leave", show=False, tooltip="leave the log"),
        Binding("slash", "filter", "Filter", id="filter", tooltip="show only lines that hold a text"),
        Binding("f", "follow", "Follow", id="follow", tooltip="keep the newest line in sight, or hold still"),
        Binding("e", "trouble", "Errors", id="errors", tooltip="only error lines, or all"),
        Binding("tab,right", "unit(1)", "Service", id="unit", tooltip="the log of the next service"),
        Binding("left", "unit(-1)", "Service", id="unit-before", show=False, tooltip="the log of the service before"),
        Binding("up,k", "move(-1)", "Up", id="up", show=False, tooltip="older lines"),
        Binding("down,j", "move(1)", "Down", id="down", show=False, tooltip="newer lines"),
        Binding("pageup", "move(-15)", "Page up", id="page-up", show=False, tooltip="older lines, by a page"),
        Binding("pagedown", "move(15)", "Page down", id="page-down", show=False, tooltip="newer lines, by a page"),
        Binding("home,g", "move(-1000000)", "Start", id="start", show=False, tooltip="the oldest line read"),
        Binding("end,G", "move(1000000)", "End", id="end", show=False, tooltip="the newest line, and follow"),
        Binding("y", "app.copy_screen", "Copy", id="copy", show=False, tooltip="copy the screen as text"),
    ]

    def __init__(self, unit: str = "") -> None:
        super().__init__()
        self._unit = unit
        self._tail = LogTail()
        self._error = ""
        self._reading: Worker[None] | None = None
        self._changed = False

    def body(self) -> list[Widget]:
        self._pane = Pane(unit_log.build, id="lines")
        return [Bar(id="units"), Framed(self._pane, arrange=_arrange, is_open=lambda size: True, id="log")]

    def on_mount(self) -> None:
        super().on_mount()
        names = self._names()
        if self._unit not in names:
            self._unit = next(iter(names), "")
        self.set_interval(_DRAW_EVERY, self._draw_changes)
        self._read()

    def tick(self) -> None:
        super().tick()
        self.query_one("#units", Bar).show(self._services())

    # ---- keys --------------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        if self.prompt.asks:
            self.prompt.leave()
            self._narrow("")
        elif self._tail.wanted:
            self._narrow("")
        else:
            self.app.pop_screen()

    def action_filter(self) -> None:
        self.prompt.ask("show only lines that hold:", self._narrow, typed=self._narrow)

    def action_follow(self) -> None:
        self._tail.follow(not self._tail.following)
        self._draw()

    def action_trouble(self) -> None:
        self._tail.narrow(self._tail.wanted, only_trouble=not self._tail.only_trouble)
        self._draw()

    def action_move(self, steps: int) -> None:
        self._tail.move(steps, max(1, self._pane.size.height - 1))
        self._draw()

    def action_unit(self, steps: int) -> None:
        """Read the log of another service; the filter stays."""
        names = self._names()
        if len(names) > 1:
            at = names.index(self._unit) if self._unit in names else 0
            before, self._tail = self._tail, LogTail()
            self._tail.narrow(before.wanted, only_trouble=before.only_trouble)
            self._unit = names[(at + steps) % len(names)]
            self._read()
            self.tick()

    # ---- what is shown -----------------------------------------------------------------------------------------------

    def _narrow(self, wanted: str) -> None:
        self._tail.narrow(wanted.strip(), only_trouble=self._tail.only_trouble)
        self._draw()

    def _names(self) -> list[str]:
        return [unit.name for unit in self.console.settings.services.units]

    def _services(self) -> Line:
        known = self.console.state.services.data
        states = {unit.name: unit for unit in known.units} if known is not None else {}
        parts: list[Line] = []
        for name in self._names():
            role = Role.CURSOR if name == self._unit else Role.DIM
            mark = services.mark(states[name]) if name in states else ()
            parts.append(line(Span(f" {name} ", role), " ", mark, "  "))
        if not parts:
            return line(" ", Span("no service is configured here", Role.DIM))
        names = self._names()
        if sum(map(cells, parts)) >= self.size.width and self._unit in names:
            parts = parts[max(0, names.index(self._unit) - 1) :]  # the one that is shown must be in sight
        return line(" ", *parts)

    def _draw_changes(self) -> None:
        if self._changed and not self.console.paused:
            self._draw()

    def _draw(self) -> None:
        self._changed = False
        systemd = self.console.settings.services.backend == "systemd"
        self._pane.show(LogView(self._unit, self._tail, self._error, _HINT if systemd else ""))

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._error = ""
        # Called when it begins: a coroutine made here would be left over where the screen closes before that.
        reading = partial(self._keep_reading, self._unit, self._tail)
        self._reading = self.run_worker(reading, exit_on_error=False, group="log")
        self._draw()

    async def _keep_reading(self, unit: str, tail: LogTail) -> None:
        """Take in the log until another one is read; what cannot be read now is tried again."""
        while True:
            fresh = False
            lines = None
            try:
                lines = self.console.follow_unit(unit)
                async for entry in lines:
                    if not fresh:
                        fresh = True
                        tail.forget()
                        self._error = ""
                    tail.add(entry)
                    self._changed = True
            except WalmedicError as error:
                self._error = f"{error}; tried again every {_AGAIN:g} s"
            finally:
                if lines is not None:
                    with contextlib.suppress(WalmedicError):
                        await lines.aclose()
            self._changed = True
            await asyncio.sleep(_AGAIN)


def _arrange(size: Size) -> list[Box]:
    return [Box("lines", 0, 0, size.width, size.height)]
