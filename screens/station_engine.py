"""The recovery engine behind the screens; what it starts runs in a process of its own and outlives the console."""

from collections.abc import Sequence
from dataclasses import replace

from console.diagnosis.model import DatabaseReport
from console.recovery.engine import Engine
from console.recovery.model import Availability, Plan
from console.recovery.next_steps.way import Way
from console.recovery.process.launch import Attached, RunningAction, attach, launch
from console.recovery.rehearsal.launching import RunningRehearsal, launch_rehearsal, rehearsal_of
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.journal import Entry
from console.recovery.store.locks import StationLock
from console.reporting.accounts import recovered
from console.reporting.incident import read_incident
from console.settings import Settings


class StationEngine:
    """The engine as screens see it. Imports all of it: not before the first paint. Every call may take seconds."""

    def __init__(self, settings: Settings) -> None:
        self._engine = Engine(settings)

    def availability(self, table: str | None) -> Sequence[Availability]:
        return self._engine.availability(table)

    def way(self, report: DatabaseReport | None = None) -> Way:
        way = self._engine.way(report)
        return way if way.ended_at is None else replace(way, recovered=recovered(read_incident(self._engine.settings)))

    def plan(self, action: str, table: str | None = None) -> Plan:
        return self._engine.plan(action, table)

    def plan_undo(self, entry: str) -> Plan:
        return self._engine.plan_undo(entry)

    def launch(self, plan: Plan, phrase: str, undoes: str = "") -> RunningAction:
        return launch(self._engine, plan, phrase, undoes=undoes)

    def busy(self) -> bool:
        """Return whether an action runs on this database, whoever started it."""
        holder = StationLock(self._engine.state, self._engine.database.db).holder()
        return holder is not None and holder.alive

    def attach(self) -> Attached | None:
        return attach(self._engine)

    def unfinished(self) -> Sequence[Entry]:
        return self._engine.unfinished()

    def entry(self, entry: str) -> Entry:
        return self._engine.journal.entry(entry)

    def entry_plan(self, entry: str) -> Plan:
        return read_entry_plan(self._engine.state, entry)

    def rehearse(self, plan: Plan) -> RunningRehearsal:
        return launch_rehearsal(self._engine, plan)

    def rehearsal(self, plan: Plan) -> RunningRehearsal | None:
        return rehearsal_of(self._engine, plan)
