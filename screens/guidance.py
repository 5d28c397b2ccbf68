"""The one recommended next step of the station: asked of the engine whenever something that it rests on has changed."""

from collections.abc import Hashable

from console.diagnosis.model import DatabaseReport
from console.probes.state import StationState


def rests_on(state: StationState) -> Hashable | None:
    """Return what the recommendation rests on; None while too little is known to ask for one."""
    report: DatabaseReport | None = state.tables.data
    if report is None:
        return None
    services, journal = state.services.data, state.journal.data
    return (
        tuple((t.table, t.verdict, t.next_step.action, tuple(f.code for f in t.findings)) for t in report.tables),
        tuple((unit.name, unit.state) for unit in services.units) if services is not None else (),
        tuple((entry.entry, entry.outcome) for entry in journal.lines[:3]) if journal is not None else (),
    )
