"""What a screen may ask of the application and of the engine behind it. Screens know these, never the wiring."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from console.probes.state import StationState
from console.settings import Settings
from console.widgets.line import Line

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from console.diagnosis.model import DatabaseReport
    from console.probes.log_tail import LogLine
    from console.recovery.model import Availability, Plan, Progress, RunResult
    from console.recovery.next_steps.way import Way
    from console.recovery.rehearsal.model import Rehearsal
    from console.recovery.store.journal import Entry


class RunningAction(Protocol):
    """An action that was started in a process of its own: it goes on when the console is closed."""

    def poll(self) -> Sequence[Progress]:
        """Return what it has reported since the last call."""
        ...

    def result(self) -> RunResult | None:
        """Return how it ended, None while it works."""
        ...


class RunningRehearsal(Protocol):
    """A rehearsal in a process of its own, at work or over."""

    def poll(self) -> Sequence[Progress]:
        """Return what it has reported since the last call."""
        ...

    def result(self) -> Rehearsal | None:
        """Return how it ended, None while it works."""
        ...

    def cancel(self) -> None:
        """Ask it to end and to remove its clone."""
        ...


@runtime_checkable
class FollowsSteps(Protocol):
    """A screen that stands on the recommended step: the action palette."""

    def follow(self) -> None:
        """Stand on the next step again, once the screen is on top."""
        ...


class AttachedAction(Protocol):
    """An action that runs already, started by another console or a command line."""

    @property
    def running(self) -> RunningAction:
        """Return the way to watch it."""
        ...

    @property
    def plan(self) -> Plan:
        """Return what it does."""
        ...

    @property
    def entry(self) -> Entry:
        """Return its entry in the journal, which says by whom and from where."""
        ...


class EnginePort(Protocol):
    """The recovery engine as screens see it. Every call may take seconds: from a thread only."""

    def availability(self, table: str | None) -> Sequence[Availability]:
        """Return each action with what stands against it now."""
        ...

    def way(self, report: DatabaseReport | None = None) -> Way:
        """Return the steps of the recovery with the one to take now, by `report` or by what the disk says."""
        ...

    def plan(self, action: str, table: str | None = None) -> Plan:
        """Return what would be done."""
        ...

    def plan_undo(self, entry: str) -> Plan:
        """Return the way back of an entry as a plan. Raises WalmedicError where the entry has none."""
        ...

    def launch(self, plan: Plan, phrase: str, undoes: str = "") -> RunningAction:
        """Start a confirmed plan, or the way back of the entry `undoes`. Raises WalmedicError where it is refused."""
        ...

    def attach(self) -> AttachedAction | None:
        """Return the action that runs on this database now, None where there is none."""
        ...

    def unfinished(self) -> Sequence[Entry]:
        """Return what was cut off and does not run now."""
        ...

    def entry(self, entry: str) -> Entry:
        """Return an entry of the journal. Raises WalmedicError where there is none."""
        ...

    def entry_plan(self, entry: str) -> Plan:
        """Return the plan of an entry. Raises WalmedicError where its folder does not hold one."""
        ...

    def rehearse(self, plan: Plan) -> RunningRehearsal:
        """Begin to rehearse a plan on a clone; one at work already is returned instead."""
        ...

    def rehearsal(self, plan: Plan) -> RunningRehearsal | None:
        """Return the rehearsal of exactly this plan, at work or over; None where there was none."""
        ...


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
        ...

    def expire_way(self) -> None:
        """Name no step until it is found out anew."""
        ...

    def take_way(self, way: Way) -> None:
        """Show the way as a screen has just found it out."""
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

    def leave_for(self, file: Path) -> None:
        """End the console here, to open it on the station whose settings are in `file`."""
        ...

    def open_undo(self, entry: str) -> None:
        """Open the plan of the undo of a journal entry."""
        ...

    def replace_by_palette(self) -> None:
        """Open the action palette in place of the screen on top."""
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

    def call_operator(self, message: str) -> None:
        """Ring the bell, and have the terminal show `message`."""
        ...

    def header(self, title: str, width: int) -> list[Line]:
        """Return the header: the verdict with the next step, then the way, the mode in words, station and clock."""
        ...

    def wall_clock(self) -> float:
        """Return the time in epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Return the clock of ages, in seconds."""
        ...
