"""The full-screen console: theme, screens, sources and engine wired together; no domain logic."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from console import paths
from console.probes.sample import Sample
from console.probes.state import StationState
from console.settings import Settings
from console.widgets import figures
from console.widgets.line import Line, Role, Span, line, spread
from console.widgets.theme import Colors, choose, make_theme
from screens.dashboard import Dashboard
from screens.frame import FramedScreen

_LOG = logging.getLogger(__name__)
_ARMED_FOR = 600.0  # seconds that operate mode lasts
_STYLES = ("base.tcss", "too_small.tcss")

Clock = Callable[[], float]


class SampleArrived(Message):
    """A probe brought a sample. Only the newest of one probe counts."""

    def __init__(self, sample: Sample[Any]) -> None:
        super().__init__()
        self.sample = sample

    def can_replace(self, message: Message) -> bool:
        """Return whether `message` is an older sample of the same probe."""
        return isinstance(message, SampleArrived) and message.sample.probe == self.sample.probe


class ConsoleApp(App[int], inherit_bindings=False):
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
        colors: Colors,
        wall_clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
        ticking: bool = True,
    ) -> None:
        styles = paths.styles_dir()
        # Native ANSI is said before the theme is: only then are no colour codes sent at all where none are wanted.
        super().__init__(css_path=[styles / name for name in _STYLES], ansi_color=colors is not Colors.FULL)
        theme = make_theme(colors, styles)
        self.register_theme(theme)
        self.theme = theme.name
        self.animation_level = "none"
        self.settings = settings
        self.state = StationState()
        self.plain_glyphs = colors is Colors.SIXTEEN
        self.paused = False
        self.wall_clock = wall_clock
        self.monotonic = monotonic
        self._ticking = ticking
        self._armed_until = 0.0

    # ---- life --------------------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Dashboard:
        """Return the first screen: nothing is asked of any source before it is painted."""
        return Dashboard()

    def on_mount(self) -> None:
        """Start the clock."""
        if self._ticking:
            self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        if isinstance(self.screen, FramedScreen):
            self.screen.tick()

    def take(self, *samples: Sample[Any]) -> None:
        """Take samples into the state and show them."""
        for sample in samples:
            self.state = self.state.taking(sample)
        self._tick()

    def on_sample_arrived(self, message: SampleArrived) -> None:
        """Take a sample that a probe brought."""
        self.take(message.sample)

    # ---- mode --------------------------------------------------------------------------------------------------------

    @property
    def armed_for(self) -> float:
        """Return the seconds for which operate mode is still armed; 0 in observe mode."""
        return max(0.0, self._armed_until - self.monotonic())

    def header(self, title: str, width: int) -> Line:
        """Return the header line: station, mode in words, clock."""
        left = self.armed_for
        mode = Span(f" OPERATE {figures.duration(left)} left ", Role.ARMED) if left else Span("OBSERVE", Role.STRONG)
        start = line(
            " ", Span("walmedic", Role.KEY), "  ", Span(self.settings.station_name, Role.STRONG), "  ", mode,
            Span("  PAUSED" if self.paused else "", Role.WARN), Span(f"  {title}" if title else "", Role.PLAIN),
        )  # fmt: skip
        return spread(start, line(Span(figures.clock(self.wall_clock()), Role.DIM), " "), width)

    # ---- actions -----------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Hold the screen still, or let it go on."""
        self.paused = not self.paused
        self._tick()

    async def action_back(self) -> None:
        """Leave the screen on top."""
        if len(self.screen_stack) > 1:
            await self.pop_screen()

    def action_hint_quit(self) -> None:
        """Say which key quits: an interrupt meant for something else must not end the console."""
        self.notify("q quits from the dashboard; Esc goes back one screen", timeout=4)


def make_app(settings: Settings, *, colors: Colors = Colors.FULL, **parts: Any) -> ConsoleApp:
    """Return the console for `settings`; `parts` replace clocks, sources and engine."""
    return ConsoleApp(settings, colors=colors, **parts)


def run_console(settings: Settings, *, mouse: bool = False, colors: str = "auto") -> int:
    """Run the console until the operator leaves it; return the exit code."""
    chosen = choose(colors, os.environ)
    # Textual takes even an empty NO_COLOR for one; ours is decided above.
    os.environ.pop("NO_COLOR", None)
    if chosen is Colors.NONE:
        os.environ["NO_COLOR"] = "1"
    app = make_app(settings, colors=chosen)
    return app.run(mouse=mouse) or 0
