"""The verdict on the station at one moment, for the header of every screen: fields, no sentences. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.diagnosis.model import DatabaseReport, ServerState, Severity, TableReport, Verdict
from console.probes.contents import UnitSample, UnitState
from console.probes.flow import ByHand, flow
from console.probes.sample import Status
from console.probes.state import StationState
from console.recovery.codes import StepState
from console.settings import Role, Settings

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from console.recovery.next_steps.way import Recovered, Way, WayStep

_RECENT = 600.0  # seconds for which the end of a recovery stays the news
_OLD = 30.0  # seconds from which on what was read last is not the present
_UNIT_BAD = (UnitState.FAILED, UnitState.DOWN)


class Alarm(enum.StrEnum):
    """How the whole stands, the worst first: `BAD`, `UNKNOWN` (not read, or not readable), `RISK`, `WELL`."""

    BAD = "bad"
    UNKNOWN = "unknown"
    RISK = "risk"
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Counts:
    """The tables: how many there are, and how many of them are in which trouble; `rows` at risk, None: unknown."""

    tables: int
    unreadable: int
    unwritable: int
    broken: int  # broken in another way
    unknown: int
    at_risk: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Headline:
    """What the header says. `counts` is None while the tables are not read, `error` why they cannot be.

    `old` is the age in seconds of tables that could not be read again. `server` None: it was not asked yet. `held`:
    it was stopped by a step of the way. `units` are services that should run and do not, `loops` those that start again
    and again. `since_crash` is seconds.
    `at_work` is the action that runs now, `next` the step to take; `asked`: it is being found out.
    """

    alarm: Alarm
    configured: bool = True
    counts: Counts | None = None
    error: str = ""
    old: float | None = None
    elsewhere: bool = False  # damage that belongs to no table
    server: bool | None = None
    held: bool = False
    losing: bool = False
    by_hand: ByHand | None = None  # what a person does before the next step
    units: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    since_crash: float | None = None
    at_work: tuple[str, str] | None = None
    next: WayStep | None = None
    table: str | None = None  # the table that the next step is for
    asked: bool = False
    helpless: bool = False  # something is wrong, and no action is next
    recovered: Recovered | None = None
    ended_at: float | None = None


def headline(
    state: StationState, settings: Settings, way: Way | None, *, asked: bool, now: float, monotonic: float
) -> Headline:
    """Return the verdict on `state` and `way`; `now` is epoch seconds, `monotonic` the clock of ages."""
    report = state.tables.data
    if report is None:
        configured = bool(settings.questdb.db_root) or state.tables.latest is not None
        error = state.tables.error if state.tables.status.failed else ""
        return Headline(Alarm.UNKNOWN, configured, error=error)
    counts = _counts(report)
    age = state.tables.age(monotonic) or 0.0
    stopped = stopped_roles(way)
    held = Role.DATABASE in stopped
    units = list(_units(state, stopped))
    step = way.next if way is not None else None
    last = state.crashes.data.last_at if state.crashes.data is not None else None
    server = _server(state, report)
    stream = flow(state, settings, now, way)
    losing = stream.losing
    elsewhere = any(f.severity is not Severity.NOTE for f in report.findings)
    alarm = _alarm(counts, server, units, losing=losing, elsewhere=elsewhere, old=age >= _OLD, walking=step is not None)
    over = way is not None and alarm is Alarm.WELL and _news(way, last, now)
    return Headline(
        alarm,
        counts=counts,
        old=age if age >= _OLD else None,
        elsewhere=elsewhere,
        server=server,
        held=held,
        losing=losing,
        by_hand=stream.by_hand,
        units=tuple(u.name for u in units if not u.loop and not (server is False and u.role == Role.DATABASE)),
        loops=tuple(unit.name for unit in units if unit.loop),
        since_crash=now - last if last is not None else None,
        at_work=state.at_work,
        next=step,
        table=way.first.table if way is not None and way.first is not None else None,
        asked=asked and alarm is not Alarm.WELL,
        helpless=alarm is not Alarm.WELL and way is not None and step is None and not report.healthy,
        recovered=way.recovered if way is not None and over else None,
        ended_at=way.ended_at if way is not None and over else None,
    )


def _counts(report: DatabaseReport) -> Counts:
    tables = report.tables
    broken = [table for table in tables if table.verdict is Verdict.BROKEN]
    risks = [table.rows_at_risk for table in tables]
    return Counts(
        tables=len(tables),
        unreadable=sum(table.can_read is False for table in tables),
        unwritable=sum(table.can_write is False for table in tables),
        broken=sum(_otherwise(table) for table in broken),
        unknown=sum(table.verdict is Verdict.UNKNOWN for table in tables),
        at_risk=sum(table.verdict is Verdict.AT_RISK for table in tables),
        rows=None if any(rows is None for rows in risks) else sum(rows or 0 for rows in risks),
    )


def _otherwise(table: TableReport) -> bool:
    return table.can_read is not False and table.can_write is not False


def _server(state: StationState, report: DatabaseReport) -> bool | None:
    """Return whether QuestDB answers; None if that is not known."""
    if state.server.status is Status.DOWN or report.server is ServerState.DOWN:
        return False
    if state.server.latest is None or state.server.status in (Status.UNKNOWN, Status.REFUSED):
        return True if report.server is ServerState.UP else None
    return True


def _between(way: Way | None, first: str, last: str) -> bool:
    """Return whether the way has done the one step and not yet the other, which reverses it."""
    done = {step.action: step.state is StepState.DONE for step in way.steps} if way is not None else {}
    return done.get(first, False) and not done.get(last, True)


def stopped_roles(way: Way | None) -> frozenset[str]:
    """Return the roles of the services that a step of the way has stopped, and a later one starts again."""
    roles = ((Role.DATABASE, "stop-server", "start-server"), (Role.WRITER, "freeze-writer", "thaw-writer"))
    return frozenset(role for role, first, last in roles if _between(way, first, last))


def _units(state: StationState, stopped: frozenset[str]) -> Iterator[UnitSample]:
    """Yield the services that should run and do not, without those that the way has stopped."""
    services = state.services.data
    for unit in services.units if services is not None else ():
        if unit.role not in stopped and (unit.state in _UNIT_BAD or unit.loop):
            yield unit


def _alarm(
    counts: Counts,
    server: bool | None,
    units: Sequence[UnitSample],
    *,
    losing: bool,
    elsewhere: bool,
    old: bool,
    walking: bool,
) -> Alarm:
    if counts.unreadable or counts.unwritable or counts.broken or losing or units or elsewhere:
        return Alarm.BAD
    if server is False and not walking:
        return Alarm.BAD
    if counts.unknown or server is None or old or not counts.tables:
        return Alarm.UNKNOWN
    return Alarm.RISK if counts.at_risk or walking or server is False else Alarm.WELL


def _news(way: Way, last_crash: float | None, now: float) -> bool:
    if way.ended_at is None or now - way.ended_at > _RECENT:
        return False
    return last_crash is None or last_crash < way.ended_at
