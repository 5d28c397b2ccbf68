"""What a screen may ask of the application and of the engine behind it. Screens know these, never the wiring."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

from console.probes.log_tail import LogLine
from console.probes.state import StationState
from console.recovery.journal import Entry
from console.recovery.model import Availability, Plan, Progress, RunResult
from console.settings import Settings
from console.widgets.line import Line


class RunningAction(Protocol):
    """An action that was started in a process of its own: it goes on when the console is closed."""

    def poll(self) -> Sequence[Progress]:
        """Return what it has told since the last call."""
        ...

    def result(self) -> RunResult | None:
        """Return how it ended, None while it works."""
        ...


class EnginePort(Protocol):
    """The recovery engine as screens see it. Every call may take seconds: from a thread only."""

    def availability(self, table: str | None) -> Sequence[Availability]:
        """Return each action with what stands against it now."""
        ...

    def plan(self, action: str, table: str | None = None) -> Plan:
        """Return what would be done."""
        ...

    def launch(self, plan: Plan, phrase: str) -> RunningAction:
        """Start a confirmed plan. Raises WalmedicError where it is refused."""
        ...

    def unfinished(self) -> Sequence[Entry]:
        """Return what was cut off."""
        ...


@runtime_checkable
class ConsolePort(Protocol):
    """The application as screens see it."""

    settings: Settings
    state: StationState
    paused: bool

    @property
    def armed_for(self) -> float:
        """Return the seconds for which operate mode is armed; 0 in observe mode."""
        ...

    def arm(self) -> None:
        """Arm operate mode for a while."""
        ...

    def disarm(self) -> None:
        """Go back to observe mode."""
        ...

    def engine(self) -> EnginePort:
        """Return the engine; from a thread only. Raises WalmedicError where there is none for this database."""
        ...

    def refresh_sources(self) -> None:
        """Have all sources read again now."""
        ...

    def action_unit_log(self, unit: str = "") -> None:
        """Open the log of a service, the first one where none is named."""
        ...

    def follow_unit(self, unit: str) -> AsyncGenerator[LogLine, None]:
        """Return the last lines of a service's log and then each new one. Raises WalmedicError where there is none."""
        ...

    def copy_text(self, text: str) -> None:
        """Copy text beyond the terminal, and say what happened."""
        ...

    def header(self, title: str, width: int) -> Line:
        """Return the header line: station, mode in words, clock."""
        ...

    def wall_clock(self) -> float:
        """Return the time in epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Return the clock of ages, in seconds."""
        ...
