"""The full-screen console: theme, screens, sources and engine wired together; no domain logic."""

from __future__ import annotations

import functools
import gc
import logging
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.events import Event, Key, Paste
from textual.message import Message

from console import paths
from console.errors import WalmedicError
from console.probes.sample import Sample
from console.probes.state import StationState
from console.settings import Settings
from console.settings_file import SettingsFile, with_checked_keys
from console.text import plural
from console.widgets.line import Line
from console.widgets.terminal_app import TerminalApp
from console.widgets.theme import FULL_PALETTES, Colors, Uncolored, choose, make_theme
from console.wiring import FollowUnit, station_engine, station_log, station_sources
from screens.dashboard import Dashboard
from screens.frame import FramedScreen, KeysGoOn, key_label
from screens.guidance import Guide, Guided, LeftOver
from screens.panes.header import Mode, opening
from screens.screen_actions import OpensScreens

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from pathlib import Path

    from console.probes.log_tail import LogLine
    from console.probes.scheduler import OnSample, Scheduler
    from console.recovery.next_steps.way import Way
    from screens.station_engine import StationEngine

_LOG = logging.getLogger(__name__)
_ARMED_FOR = 600.0  # seconds that operate mode lasts
_CRUMBS = 100  # cells from which on the header has room for the path to a screen
_STYLES = ("base.tcss", "too_small.tcss", "palette.tcss", "plan.tcss", "browser.tcss")

Clock = Callable[[], float]


class SampleArrived(Message):
    """A probe brought a sample. Only the newest of one probe counts."""

    def __init__(self, sample: Sample[Any]) -> None:
        super().__init__()
        self.sample = sample

    def can_replace(self, message: Message) -> bool:
        """Return whether `message` is an older sample of the same probe."""
        return isinstance(message, SampleArrived) and message.sample.probe == self.sample.probe


class ConsoleApp(OpensScreens, TerminalApp, inherit_bindings=False):
    """Wiring of the console. Screens reach it through `screens.port.ConsolePort`."""

    TITLE = "walmedic"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "hint_quit", "Quit", id="interrupt", show=False, system=True),
        Binding("ctrl+z", "suspend_process", "Suspend", id="suspend", show=False, system=True),
    ]

    def __init__(
        self,
        settings: Settings,
        *,
        colors: Colors = Colors.FULL,
        sources: Callable[[Settings, OnSample], Scheduler] | None = station_sources,
        engine: Callable[[Settings], StationEngine] = station_engine,
        logs: FollowUnit = station_log,
        wall_clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
        ticking: bool = True,
        reload: Callable[[], Settings] | None = None,
    ) -> None:
        styles = paths.styles_dir()
        if settings.keys:
            settings = with_checked_keys(settings)
        # Native ANSI is set before the theme is: only then are no colour codes sent at all where none are wanted.
        super().__init__(css_path=[styles / name for name in _STYLES], ansi_color=colors not in FULL_PALETTES)
        if colors is Colors.NONE:
            self._filters = [Uncolored()]  # Textual's own sends the codes for default colours
        theme = make_theme(colors, styles)
        self.register_theme(theme)
        self.theme = theme.name
        self.animation_level = "none"
        self.settings = settings
        self.state = StationState()
        self.plain_glyphs = colors is Colors.SIXTEEN
        self.paused = False
        self.way: Way | None = None
        self.way_asked = False
        self._way_from = 0.0  # of time.monotonic(): what was asked before that is out of date
        self.wall_clock = wall_clock
        self.monotonic = monotonic
        self._make_sources = sources
        self._make_engine = engine
        self._logs = logs
        self._sources: Scheduler | None = None
        self._engine: StationEngine | None = None
        self._ticking = ticking
        self._armed_until = 0.0
        self._held: deque[Key | Paste] = deque()
        self._settings_file = SettingsFile(settings.file, reload)
        self.guide = Guide(self.engine, functools.partial(self.run_worker, exit_on_error=False), self.post_message)

    # ---- life --------------------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Dashboard:
        """Return the first screen: nothing is asked of any source before it is painted."""
        return Dashboard()

    def on_mount(self) -> None:
        """Start the clock, and the sources once the first screen is painted."""
        if self._ticking:
            self.set_interval(1.0, functools.partial(self._tick, clock=True))
            self.set_interval(2.0, self._look_at_settings)
        self.call_after_refresh(self._start_sources)

    def _start_sources(self) -> None:
        if not gc.isenabled():
            # Held back for a quick first paint; what is there now stays, and is not looked through again.
            gc.freeze()
            gc.enable()
        if self._make_sources is None:
            return
        try:
            self._sources = self._make_sources(self.settings, self._deliver)
        except WalmedicError as error:
            self.notify(str(error), severity="error", timeout=30, markup=False)
            return
        self._sources.start()

    def _deliver(self, sample: Sample[Any]) -> None:
        self.post_message(SampleArrived(sample))

    async def on_unmount(self) -> None:
        """Release what the sources hold; a running action is a process of its own and goes on."""
        if self._sources is not None:
            await self._sources.close()

    # ---- keys --------------------------------------------------------------------------------------------------------

    async def on_event(self, event: Event) -> None:
        """Take keys one after the other.

        Textual queues each for a screen and then for the application: of keys that come in one burst, the second would
        be on its way to the screen before the first has opened the field, or the screen, that it is meant for.
        """
        if not (isinstance(event, Key | Paste) and self._screen_stack and isinstance(self.screen, FramedScreen)):
            await super().on_event(event)
            return
        self.app_focus = True
        if isinstance(event, Key) and event.key == "escape":
            self._held.clear()  # the way out is always open
            await self._take(event)
            return
        self._held.append(event)
        await self._take_held()

    async def on_keys_go_on(self, message: KeysGoOn) -> None:
        await self._take_held()

    async def _take_held(self) -> None:
        while self._held and not (isinstance(self.screen, FramedScreen) and self.screen.holds()):
            await self._take(self._held.popleft())

    async def _take(self, event: Key | Paste) -> None:
        screen = self.screen
        if isinstance(screen, FramedScreen) and screen.covered:
            if isinstance(event, Key) and event.key == "ctrl+c":
                self.exit()
            return
        if (isinstance(screen, FramedScreen) and screen.takes(event)) or not isinstance(event, Key):
            return
        if not await self._check_bindings(event.key) and event.is_printable:
            said = f"{key_label(event.key)} does nothing here. {self.key('help', 'question_mark')} shows the keys."
            self.notify(said, timeout=2, markup=False)

    def _look_at_settings(self) -> None:
        """Take settings that have changed in their file; not below an open plan or action."""
        try:
            found = self._settings_file.changed() if isinstance(self.screen, Dashboard) else None
        except WalmedicError as error:
            self.notify(f"Settings not read again: {error}", severity="error", timeout=30, markup=False)
            return
        if found is not None:
            self.run_worker(self._take_settings(found), exit_on_error=False)

    async def _take_settings(self, found: Settings) -> None:
        before, self._sources = self._sources, None
        if before is not None:
            await before.close()
        self.settings, self.state, self.way, self._engine = found, StationState(), None, None
        self.guide.forget()
        if isinstance(self.screen, FramedScreen):
            self.screen.bind_keys()
            self.screen.draw_keys()
        self._tick()
        self._start_sources()
        self.notify(f"Settings read again from {found.file}.", timeout=8, markup=False)

    def _tick(self, *, clock: bool = False) -> None:
        if self._armed_until and not self.armed_for:
            self.disarm()
            said = f"Operate mode has ended after ten minutes. {self.key('operate', 'o')} arms it again."
            self.notify(said, severity="warning", timeout=30, markup=False)
            self.call_operator(said)
        if isinstance(self.screen, FramedScreen) and self.screen.stands:
            self.screen.clock() if clock else self.screen.tick()

    def take(self, *samples: Sample[Any]) -> None:
        self._take_in(*samples)
        self._tick()

    def _take_in(self, *samples: Sample[Any]) -> None:
        before = self.state
        for sample in samples:
            self.state = self.state.taking(sample)
        if crashed := self.state.crashed_since(before):
            self.call_operator(f"QuestDB has crashed again: {plural(crashed, 'crash', 'crashes')}")
        self._look()

    def on_sample_arrived(self, message: SampleArrived) -> None:
        """Take a sample that a probe brought; one that only brings new figures is drawn with the next tick."""
        sample, before = message.sample, self.state.reading(message.sample.probe)
        self._take_in(sample)
        if before.latest is None or before.status is not sample.status or not self._ticking:
            self._tick()

    def on_guided(self, message: Guided) -> None:
        """Show which step comes next."""
        if message.asked < self._way_from:
            self.guide.forget()  # it was asked before the last action ended, or a screen has found out more since
        else:
            if message.known:
                self.way = message.way
            self.way_asked = False
        self._look()
        self._tick()

    def _look(self) -> None:
        self.guide.look(self.state)
        self.way_asked = self.way_asked or self.guide.asks_anew

    def expire_way(self) -> None:
        """Name no step until it is found out anew: an action has ended."""
        self._way_from, self.way_asked = time.monotonic(), True
        self.guide.forget()
        self._tick()

    def take_way(self, way: Way) -> None:
        self._way_from, self.way, self.way_asked = time.monotonic(), way, False
        self._tick()

    def on_left_over(self, message: LeftOver) -> None:
        """Show what runs, or offer to finish what was cut off; never over a screen that the operator has opened."""
        from screens.execution import Execution
        from screens.unfinished import Unfinished

        if message.error:
            self.notify(message.error, severity="warning", timeout=30, markup=False)
        elif not (message.attached or message.unfinished):
            return
        elif not isinstance(self.screen, Dashboard):
            self.notify("unfinished work: the journal (j) has it", severity="warning", timeout=15, markup=False)
        elif message.attached is not None:
            self.push_screen(Execution.watching(message.attached))
        else:
            self.push_screen(Unfinished(message.unfinished))

    # ---- what screens ask for ----------------------------------------------------------------------------------------

    @property
    def armed_for(self) -> float:
        """Return the seconds for which operate mode is still armed; 0 in observe mode."""
        return max(0.0, self._armed_until - self.monotonic())

    def arm(self) -> None:
        self._change_mode(self.monotonic() + _ARMED_FOR, "operate mode armed")

    def disarm(self) -> None:
        self._change_mode(0.0, "operate mode ended")

    def _change_mode(self, armed_until: float, logged: str) -> None:
        self._armed_until = armed_until
        _LOG.info(logged)
        self._tick()
        if isinstance(self.screen, FramedScreen):
            self.screen.draw_keys()

    def engine(self) -> StationEngine:
        """Return the engine, made at the first use; from a thread only."""
        if self._engine is None:
            self._engine = self._make_engine(self.settings)
        return self._engine

    def refresh_sources(self) -> None:
        if self._sources is not None:
            self._sources.poke()

    def follow_unit(self, unit: str) -> AsyncGenerator[LogLine, None]:
        return self._logs(self.settings, unit)

    def header(self, title: str, width: int) -> list[Line]:
        """Return the header: the verdict with the next step, then the way, the mode in words, station and clock."""
        if width >= _CRUMBS:  # the screens below the one on top, as a path
            titles = [screen.TITLE_WORD for screen in self.screen_stack[1:-1] if isinstance(screen, FramedScreen)]
            title = " › ".join(filter(None, [*titles, title]))
        mode = Mode(self.settings.station_name, self.armed_for, self.paused, self.wall_clock())
        if not self.state.readings:
            return opening(mode, title, width, configured=bool(self.settings.questdb.db_root))
        from console.probes.headline import headline
        from screens.panes.headline import Keys, header

        now, monotonic = mode.now, self.monotonic()
        found = headline(self.state, self.settings, self.way, asked=self.way_asked, now=now, monotonic=monotonic)
        keys = Keys(self.key("actions", "a"), self.key("timeline", "t"), self.key("pane-tables", "1"))
        return header(found, self.way.steps if self.way is not None else (), mode, keys, title, width)

    # ---- actions -----------------------------------------------------------------------------------------------------

    async def action_back(self) -> None:
        if len(self.screen_stack) > 1:
            await self.pop_screen()

    def action_pause(self) -> None:
        self.paused = not self.paused
        self._tick()

    def action_refresh_now(self) -> None:
        self.refresh_sources()

    def action_operate(self) -> None:
        """Ask for operate mode, or end it at once."""
        from screens.arm import Arm

        if self.armed_for:
            self.disarm()
        else:
            self.push_screen(Arm())

    def action_export(self) -> None:
        """Keep the screen as a picture and as text, and the samples behind it, in the state directory."""
        from screens.export import export

        try:
            made = export(
                self.settings.state_path, self.wall_clock(), self.export_screenshot(), self.screen_text(), self.state
            )
        except WalmedicError as refused:
            self.notify(str(refused), severity="error", timeout=8, markup=False)
        else:
            self.notify(f"screen.svg, screen.txt and samples.json are in {made}", timeout=8, markup=False)

    def key(self, name: str, usual: str) -> str:
        return key_label(self.settings.keys.get(name, usual).split(",")[0])

    def action_hint_quit(self) -> None:
        """Say which key quits: an interrupt meant for something else must not end the console."""
        quits, back = self.key("quit", "q"), self.key("back", "escape")
        self.notify(f"{quits} quits from the dashboard; {back} goes back one screen", timeout=4, markup=False)


def run_console(
    settings: Settings, *, colors: str = "auto", reload: Callable[[], Settings] | None = None
) -> int | Path:
    """Run the console until the operator leaves it; return the exit code, or the settings file of another station."""
    chosen = choose(colors, os.environ)
    os.environ.pop("NO_COLOR", None)  # Textual takes even an empty one for one; ours is decided above
    if chosen is Colors.NONE:
        os.environ["NO_COLOR"] = "1"
    app = ConsoleApp(settings, colors=chosen, reload=reload)
    code = app.run(mouse=settings.mouse)
    if app.fault is not None:
        raise WalmedicError(
            f"the console has ended by a fault of its own ({type(app.fault).__name__}). A running action continues; "
            f"open the console again to see it. {paths.default_state_dir() / 'walmedic.log'} says more"
        )
    return code or app.chosen or 0
