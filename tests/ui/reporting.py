"""A desk that answers from values: a real damaged database before, the captured plan and proof after its recovery."""

from dataclasses import replace
from pathlib import Path

from console.diagnosis.model import DatabaseReport, NextStep, TableReport, Verdict
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import ClaimKey
from console.recovery.model import Outcome
from console.reporting.bundle import Bundle, Written, prepare
from console.reporting.history import PastAction
from console.reporting.incident import Incident, read_incident
from console.reporting.parts import Missing, Part
from console.reporting.private import redacted, redactor_for
from console.reporting.timeline import timeline
from console.settings import Settings
from screens.reporting_port import StationDesk
from tests.ui import captured, samples
from tests.unit.reporting.place import build

_TABLE = "market_orderbook"
_AT = 1_762_764_000.0


def before(folder: Path) -> Incident:
    """Return the incident of a damaged database, at a frozen time."""
    settings, _ = build(folder.resolve())
    known = read_incident(settings)
    return replace(redacted(known, redactor_for(known, private=False)), made_at=samples.NOW, missing=())


def after(folder: Path) -> Incident:
    """Return the same station recovered: what was done, with the captured plan and proof."""
    known = before(folder)
    past_actions = (
        _past_action("20251110-084001-aaaaaa", "stop-server", 0.0, None),
        _past_action("20251110-084101-bbbbbb", "restore-sequencer", 60.0, _TABLE),
        _past_action("20251110-084201-cccccc", "start-server", 120.0, None),
    )
    healthy = DatabaseReport(known.database.db, tuple(map(_healthy, captured.INCIDENT_TABLES.tables)))
    events = timeline(known.database, known.tables, known.crashes, past_actions, ())
    return replace(known, tables=healthy, past_actions=past_actions, events=events, first_step=None)


def _past_action(entry: str, action: str, later: float, table: str | None) -> PastAction:
    plan = replace(captured.RESTORE_PLAN, table=table, confirmation=f"{table} lose 0") if table else None
    rows = next(claim for claim in captured.REHEARSED.verification if claim.key == ClaimKey.ROWS)
    return PastAction(
        entry, _AT + later, _AT + later + 12.0, action, table, Outcome.DONE, "", "operator", "host", (rows,), plan
    )


def _healthy(table: TableReport) -> TableReport:
    return replace(
        table, verdict=Verdict.HEALTHY, can_write=True, findings=(), rows_at_risk=0, next_step=NextStep(None, "")
    )


def bundle(folder: Path) -> Bundle:
    """Return a real bundle with contents of fixed sizes: versions and clocks of this machine are not for a picture."""
    settings, _ = build(folder.resolve())
    made = prepare(settings)
    parts = [
        Part(
            part.name,
            b"x" * (700 + 900 * n),
            part.source.replace(str(folder.resolve()), "/srv"),
            _taken(part),
            part.cut,
        )
        for n, part in enumerate(made.parts)
    ]
    missing = (Missing("server", "QuestDB at 127.0.0.1:9 refuses connections"),)
    return replace(made, name="walmedic-bundle-demo", parts=tuple(parts), missing=missing, removed=_REMOVED)


_REMOVED = {"path": 42, "secret": 9}


def _taken(part: Part) -> dict[str, int]:
    return {"secret": 2} if part.removed.get("secret") else {}


class ScriptedDesk(StationDesk):
    """Answers from values; notes what was written."""

    def __init__(self, incident: Incident | None = None, made: Bundle | None = None) -> None:
        super().__init__(Settings())
        self.known = incident
        self.made = made
        self.error = ""
        self.saved: list[str] = []

    def incident(self) -> Incident:
        """Return the incident."""
        self._fail()
        assert self.known is not None
        return self.known

    def save_report(self, incident: Incident) -> Path:
        """Note it."""
        self._fail()
        self.saved.append(self.report(incident))
        return Path("/var/lib/walmedic/reports/incident-20251110T084500Z.md")

    def bundle(self) -> Bundle:
        """Return the bundle."""
        self._fail()
        assert self.made is not None
        return self.made

    def save_bundle(self, bundle: Bundle) -> Written:
        """Note it."""
        self._fail()
        self.saved.append(bundle.name)
        return Written(Path(f"/var/lib/walmedic/bundles/{bundle.name}.tar.gz"), 48_106, "ab" * 32, bundle)

    def _fail(self) -> None:
        if self.error:
            raise WalmedicError(self.error)


def station(folder: Path) -> tuple[Settings, DatabaseRoot]:
    """Return settings and root of the damaged database, for the real desk."""
    return build(folder.resolve())
