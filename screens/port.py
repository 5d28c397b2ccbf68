"""What a screen may ask of the application. Screens know this, never the wiring."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from console.probes.state import StationState
from console.settings import Settings
from console.widgets.line import Line

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from console.probes.log_tail import LogLine
    from console.recovery.next_steps.way import Way
    from screens.station_engine import StationEngine


@runtime_checkable
class FollowsSteps(Protocol):
    """A screen that stands on the recommended step: the action palette."""

    def follow(self) -> None:
        """Stand on the next step again, once the screen is on top."""


@runtime_checkable
class ConsolePort(Protocol):
    """The application as screens see it."""

    settings: Settings
    state: StationState
    paused: bool
    way: Way | None  # the steps of the recovery as they were last known, None before that
    way_asked: bool  # it is being found out anew, since the station has changed

    @property
    def armed_for(self) -> float:
        """Return the seconds for which operate mode is armed; 0 in observe mode."""

    def expire_way(self) -> None:
        """Name no step until it is found out anew."""

    def take_way(self, way: Way) -> None:
        """Show the way as a screen has just found it out."""

    def arm(self) -> None:
        """Arm operate mode for a while."""

    def disarm(self) -> None:
        """Go back to observe mode."""

    def engine(self) -> StationEngine:
        """Return the engine; from a thread only. Raises WalmedicError where there is none for this database."""

    def refresh_sources(self) -> None:
        """Have all sources read again now."""

    def leave_for(self, file: Path) -> None:
        """End the console here, to open it on the station whose settings are in `file`."""

    def open_undo(self, entry: str) -> None:
        """Open the plan of the undo of a journal entry."""

    def replace_by_palette(self) -> None:
        """Open the action palette in place of the screen on top."""

    def action_unit_log(self, unit: str = "") -> None:
        """Open the log of a service, the first one where none is named."""

    def follow_unit(self, unit: str) -> AsyncGenerator[LogLine, None]:
        """Return the last lines of a service's log and then each new one. Raises WalmedicError where there is none."""

    def copy_text(self, text: str) -> None:
        """Copy text beyond the terminal, and say what happened."""

    def call_operator(self, message: str) -> None:
        """Ring the bell, and have the terminal show `message`."""

    def header(self, title: str, width: int) -> list[Line]:
        """Return the header: the verdict with the next step, then the way, the mode in words, station and clock."""

    def wall_clock(self) -> float:
        """Return the time in epoch seconds."""

    def monotonic(self) -> float:
        """Return the clock of ages, in seconds."""
