"""All that is known of an incident at one moment, read once for report, bundle and screen. Nothing is written."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from console.diagnosis.crashes.groups import CrashReport, examine
from console.diagnosis.crashes.places import crash_logs_of
from console.diagnosis.database import diagnose
from console.diagnosis.model import DatabaseReport, Verdict
from console.diagnosis.server.facts import ServerFacts, read_server_facts
from console.diagnosis.server.liveness import Life, liveness
from console.errors import WalmedicError
from console.probes.backlog import BacklogProbe
from console.probes.contents import BacklogSample, ServerSample, ServicesSample, UnitState
from console.probes.sample import Probe, Sample
from console.probes.scheduler import read_once
from console.probes.server import ServerProbe
from console.probes.services import ServicesProbe
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.gate.history import Histories
from console.recovery.model import FirstStep, Outcome
from console.recovery.store.journal import Journal
from console.recovery.store.state import StateDir
from console.reporting.events import Event
from console.reporting.history import RUNNING, PastAction, past_actions_of
from console.reporting.service_logs import ServiceLogs, service_logs
from console.reporting.timeline import timeline
from console.settings import Role, Settings
from console.text import clean_line

T = TypeVar("T")
_BEFORE = 86_400.0  # seconds of service events before the first crash or action


@dataclass(frozen=True, slots=True)
class Incident:
    """What a report tells. `missing` has one sentence for each source that could not be read."""

    settings: Settings
    database: DatabaseRoot
    made_at: float
    tables: DatabaseReport
    crashes: CrashReport
    past_actions: tuple[PastAction, ...]
    events: tuple[Event, ...]
    logs: ServiceLogs
    chain: str  # what breaks the journal's chain, empty where it is whole
    server: ServerSample | None
    services: ServicesSample | None
    backlog: BacklogSample | None
    first_step: FirstStep | None  # what the engine says is to be done first
    missing: tuple[str, ...]

    @property
    def version(self) -> str:
        """Return which QuestDB runs, or ran last, by what it or the data root says; empty if neither tells."""
        return self.server.version if self.server is not None else self.tables.version or ""

    @property
    def questdb(self) -> str:
        """Return the version in words, with those that ran before it."""
        if not self.version:
            return "unknown: no server answers and no file of the data root names it"
        earlier = [each for each in self.tables.versions_seen if each != self.version]
        said = self.version if self.server is not None else f"{self.version}, the last that started here"
        return said + (f"; also ran here: {', '.join(earlier)}" if earlier else "")

    @property
    def station(self) -> str:
        return clean_line(self.settings.station_name)

    @property
    def over(self) -> bool:
        return not left_to_do(self)


def read_incident(settings: Settings, *, journal_directory: Path | None = None) -> Incident:
    """Read everything once. Takes as long as the slowest source's deadline; what does not answer is missing.

    Raises WalmedicError where no database root is known or it is none.
    """
    if not settings.questdb.db_root:
        raise WalmedicError("no data root is known; name it with --db-root, or in the settings file (walmedic init)")
    database = DatabaseRoot.locate(Path(settings.questdb.db_root))
    missing: list[str] = []
    facts = _server_facts(settings, database, missing)
    crashes = _or(missing, "crash logs", CrashReport(0, ()), lambda: examine(crash_logs_of(database), database))
    state = StateDir(settings.state_path)
    journal = Journal(state)
    nothing: tuple[PastAction, ...] = ()
    history = Histories(database, state, journal).of_table
    tables = diagnose(database, (), facts, history=history, station=not settings.bare)
    past_actions = _or(missing, "the journal", nothing, lambda: past_actions_of(state, journal, database))
    logs = ServiceLogs()
    samples: tuple[Sample[Any], ...] = ()
    if settings.bare:
        missing.append("services, queue and their logs: this directory belongs to no configured station")
    else:
        logs = service_logs(settings, _since(crashes, past_actions), journal_directory)
        samples = asyncio.run(_read_samples(settings))
    missing += logs.missing
    missing += [f"{sample.probe}: {sample.error}" for sample in samples if sample.status.failed]
    by_name = {sample.probe: sample.data for sample in samples}
    return Incident(
        settings=settings,
        database=database,
        made_at=time.time(),
        tables=tables,
        crashes=crashes,
        past_actions=past_actions,
        events=timeline(database, tables, crashes, past_actions, logs.events),
        logs=logs,
        chain=_or(missing, "the journal's chain", "", lambda: _broken(journal)),
        server=by_name.get("server"),
        services=by_name.get("services"),
        backlog=by_name.get("backlog"),
        first_step=_or(missing, "the next step", None, lambda: Engine(settings).first_step(tables)),
        missing=tuple(dict.fromkeys(clean_line(each) for each in missing)),
    )


def left_to_do(incident: Incident) -> tuple[str, ...]:
    """Return what is still to be done, the most pressing first; nothing where the incident is over."""
    left = [f"wait for {past.title}, which runs now" for past in incident.past_actions if past.outcome == RUNNING]
    left += [
        f"finish what was cut off: {past.command} (entry {past.entry})"
        for past in incident.past_actions
        if past.outcome == Outcome.UNFINISHED
    ]
    first = incident.first_step
    steps = {(table.next_step.action, table.table) for table in incident.tables.tables}
    if first is not None and not left and (first.action, first.table) not in steps:
        reason = f": {first.reason}" if first.reason else ""
        left.append(f"first of all {first.action}{f' {first.table}' if first.table else ''}{reason}")
    for table in incident.tables.tables:
        if table.verdict is not Verdict.HEALTHY:
            left.append(f"{clean_line(table.table)} is {table.verdict.value}: {table.next_step.words}")
    units = incident.services.units if incident.services else ()
    for unit in units:
        if unit.loop:
            left.append(f"{unit.name} {unit.loop}")
        elif unit.state is not UnitState.UP:
            left.append(f"{unit.name} is {unit.state.value}{_how_to_start(unit.role)}")
    streams = incident.backlog.streams if incident.backlog else ()
    for stream in streams:
        if stream.losing:
            left.append(f"{clean_line(stream.stream)} loses entries that nobody has read: drain it, or raise its limit")
    if incident.chain:
        left.append(f"find out who changed the journal: {incident.chain}")
    return tuple(left)


def advice(incident: Incident) -> tuple[str, ...]:
    """Return what does not press and is wise: durability, and copies that lie where DROP TABLE would erase them."""
    notes = [*(incident.server.warnings if incident.server else ())]
    notes += [*(incident.backlog.warnings if incident.backlog else ())]
    copies = [
        f"{clean_line(table.directory)}/{clean_line(copy.name)}"
        for table in incident.database.tables()
        for copy in table.sequencer_backups()
    ]
    if copies:
        notes.append(f"copies of a sequencer lie in their tables, where DROP TABLE erases them: {', '.join(copies)}")
    return tuple(notes)


def _how_to_start(role: str) -> str:
    action = {Role.WRITER.value: "thaw-writer", Role.DATABASE.value: "start-server"}.get(role, "")
    return f": {action} starts it, once nothing stands against it" if action else ""


def _or(missing: list[str], what: str, otherwise: T, read: Callable[[], T]) -> T:
    """Return what `read` returns; where it cannot, `otherwise`, and say so in `missing`."""
    try:
        return read()
    except WalmedicError as error:
        missing.append(f"{what}: {error}")
    except OSError as error:
        missing.append(f"{what}: {(error.strerror or type(error).__name__).lower()}")
    return otherwise


def _server_facts(settings: Settings, database: DatabaseRoot, missing: list[str]) -> ServerFacts | None:
    if settings.bare and (found := liveness(database.db, settings.questdb)).life is not Life.ALIVE:
        missing.append(f"SQL: {found.sentence}, and it belongs to no configured station")
        return None
    facts = read_server_facts(settings.questdb, database)
    if isinstance(facts, str):
        missing.append(f"SQL: {facts}")
        return None
    return facts


def _since(crashes: CrashReport, past_actions: tuple[PastAction, ...]) -> float | None:
    begun = [*(group.first_at for group in crashes.groups), *(past.at for past in past_actions)]
    return min(begun) - _BEFORE if begun else None


def _broken(journal: Journal) -> str:
    broken = journal.verify()
    return f"line {broken[0].line}: {broken[0].what}" if broken else ""


async def _read_samples(settings: Settings) -> tuple[Sample[Any], ...]:
    probes: list[Probe[Any]] = [ServerProbe(settings), ServicesProbe(settings)]
    if settings.redis.streams:
        probes.append(BacklogProbe(settings))
    try:
        return tuple(await asyncio.gather(*(read_once(probe) for probe in probes)))
    finally:
        for probe in probes:
            await probe.close()
