"""The tables probe: every table diagnosed from disk, with the server's word added where it answers."""

from pathlib import Path

from console.diagnosis.live import LiveDiagnosis
from console.diagnosis.model import DatabaseReport
from console.probes.sample import Sample, Status
from console.probes.server import ServerProbe
from console.probes.worker import ThreadProbe
from console.questdb.layout import DatabaseRoot
from console.settings import Settings

_SHORTEST, _LONGEST = 3.0, 60.0  # seconds between two readings
_SHARE = 20.0  # a reading of one second is followed by a rest of so many: at most a twentieth of one core
_FRESH = 10.0  # seconds for which the server's last word holds


class TablesProbe(ThreadProbe[DatabaseReport]):
    """Diagnoses in a thread, with what it knows kept between two readings: only what changed is read."""

    name = "tables"
    deadline = 60.0

    def __init__(self, settings: Settings, server: ServerProbe | None = None) -> None:
        self.interval = _SHORTEST
        self._root = settings.questdb.db_root
        self._bare, self._state, self._guard = settings.bare, settings.state_path, settings.guard_path
        self._server = server
        super().__init__("" if self._root else self.NO_ROOT)
        self._live = LiveDiagnosis()

    def _sample(self) -> Sample[DatabaseReport]:
        from console.recovery.gate.history import Histories  # not before the first paint
        from console.recovery.store.journal import Journal
        from console.recovery.store.state import StateDir

        database, state = DatabaseRoot.locate(Path(self._root)).guarded(self._guard), StateDir(self._state)
        history = Histories(database, state, Journal(state)).of_table
        sql_facts = self._server.facts(_FRESH) if self._server else None
        silent = (
            () if sql_facts is not None else ("SQL: the server does not answer, or none belongs to this directory",)
        )
        report = self._live.look(database, sql_facts, silent, history=history, station=not self._bare)
        self.interval = min(_LONGEST, max(_SHORTEST, report.seconds * _SHARE))
        return Sample(self.name, Status.OK, report)
