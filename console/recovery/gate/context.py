"""What a plan may look at, made anew for each plan: by the engine, and by a step that plans others."""

import time

from console.diagnosis.database import HistoryOf, diagnose_table
from console.diagnosis.model import TableReport
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.evidence.index import EvidenceIndex
from console.recovery.gate.history import Histories
from console.recovery.gate.registry import PlanContext
from console.recovery.store.journal import Journal
from console.recovery.store.locks import server_is_down
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir
from console.services.model import ServiceControl
from console.settings import Settings


class DiskReports:
    """Diagnoses tables of one database from disk and remembers each report."""

    def __init__(self, database: DatabaseRoot, history: HistoryOf | None = None) -> None:
        self._database, self._history = database, history
        self._reports: dict[str, TableReport | None] = {}

    def of_table(self, table: str) -> TableReport | None:
        if table not in self._reports:
            self._reports[table] = self._made(table)
        return self._reports[table]

    def _made(self, table: str) -> TableReport | None:
        try:
            return diagnose_table(self._database, self._database.in_directory(table), self._history)
        except WalmedicError:
            return None


def plan_context(
    settings: Settings,
    database: DatabaseRoot,
    state: StateDir,
    journal: Journal,
    services: ServiceControl | None,
    *,
    lock_held: bool,
) -> PlanContext:
    """Return a context of now. `lock_held`: our own run holds the server's lock, so that no server is up."""
    history = Histories(database, state, journal).of_table
    return PlanContext(
        settings=settings.observing(),
        database=database,
        state=state,
        journal=journal,
        evidence=EvidenceIndex(state, root_key(database.db), journal),
        services=services,
        report=DiskReports(database, history).of_table,
        history=history,
        server_down=True if lock_held else server_is_down(database.db, settings.questdb),
        now=time.time(),
    )
