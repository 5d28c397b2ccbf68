"""What a screen may ask of the application and of the engine behind it. Screens know these, never the wiring."""

from typing import Protocol, runtime_checkable

from console.probes.state import StationState
from console.settings import Settings
from console.widgets.line import Line


@runtime_checkable
class ConsolePort(Protocol):
    """The application as screens see it."""

    settings: Settings
    state: StationState
    paused: bool

    def header(self, title: str, width: int) -> Line:
        """Return the header line: station, mode in words, clock."""
        ...

    def wall_clock(self) -> float:
        """Return the time in epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Return the clock of ages, in seconds."""
        ...
