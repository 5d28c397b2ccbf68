"""The whole station as one list of steps: what each table needs, in the order of its ladder, and the total loss.

Each repair of a table's own files rests on the ones before it: so do the steps of a table. A step is planned on what is
there now. One that an earlier step of the same table makes possible has no known cost yet, and the total says so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from console import records
from console.diagnosis.model import Code, DatabaseReport, Severity, TableReport
from console.diagnosis.situation import LADDER, LOG_REPAIR, METADATA, NO_LOG
from console.errors import WalmedicError
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import action_ids
from console.recovery.model import LostValues, Plan, RowsLost

MakePlan = Callable[[str, str], Plan]


@dataclass(frozen=True, slots=True)
class StationStep:
    """One action on one table: what it loses by the plan of now. `open_` says why that is not known, empty if it is.

    `later` stands for the steps that cannot be named before the ones above it are done.
    """

    table: str
    action: str | None
    reason: str
    rows_lost: RowsLost
    values_lost: tuple[LostValues, ...] = ()
    confirmation: str = ""
    open_: str = ""
    later: bool = False


@dataclass(frozen=True, slots=True)
class StationPlan:
    """All steps, tables in the order in which they need the operator, and what they lose together."""

    steps: tuple[StationStep, ...]

    @property
    def rows_lost(self) -> RowsLost:
        return RowsLost.total(step.rows_lost for step in self.steps)

    @property
    def values_lost(self) -> tuple[LostValues, ...]:
        return tuple(lost for step in self.steps for lost in step.values_lost)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `plan station --json`."""
        total = {"rows_lost": self.rows_lost, "values_lost": self.values_lost}
        return {"schema": 1, "steps": records.to_json(self.steps), "total": records.to_json(total)}


def station_plan(report: DatabaseReport, make: MakePlan) -> StationPlan:
    """Return the steps of all tables of `report`, each planned by `make` (action, directory)."""
    return StationPlan(tuple(step for table in report.worst_first() for step in _steps(table, make)))


def _steps(report: TableReport, make: MakePlan) -> Iterator[StationStep]:
    actions = actions_for(report)
    if not actions and report.next_step.evidence:
        yield StationStep(report.table, None, report.next_step.reason, RowsLost.unknown(), open_="no action does it")
    earlier: list[str] = []
    for action in actions:
        yield _step(report, action, earlier, make)
        earlier.append(action)
    if hiding := [action for action in actions if action in HIDING]:
        reason = "damage to partitions, symbol maps and indexes cannot be seen yet"
        after = f"known after {hiding[-1]}; a rehearsal of {hiding[0]} shows it before"
        yield StationStep(report.table, None, reason, RowsLost.unknown(), open_=after, later=True)


def actions_for(report: TableReport) -> tuple[str, ...]:
    """Return the actions that the findings of a table ask for, in the order of the ladder."""
    damaged = {finding.code for finding in report.findings if finding.severity is not Severity.NOTE}
    found = [action for action, codes in LADDER if damaged.intersection(codes)]
    if report.next_step.action in found:  # it says nothing of the sequencer yet
        found += [action for action, codes in _SEQUENCER if damaged.intersection(codes)][:1]
    elif report.next_step.action is not None:
        found.append(report.next_step.action)
    if Code.OWNERSHIP_DIFFERS in damaged and _OWNERSHIP not in found:
        found.append(_OWNERSHIP)
    return tuple(action for action in found if action in action_ids())


def _step(report: TableReport, action: str, earlier: Sequence[str], make: MakePlan) -> StationStep:
    try:
        plan = make(action, report.directory)
    except WalmedicError as error:
        return StationStep(report.table, action, "", RowsLost.unknown(), open_=str(error))
    if action == "restore-sequencer" and any(r.code is RefusalCode.NO_BACKUP for r in plan.refused):
        return _step(report, "rebuild-sequencer", earlier, make)
    missing = [refusal for refusal in plan.refused if refusal.action not in _PREPARING]
    if missing:
        first = missing[0]
        after = f"known after {first.action}: " if first.action in earlier else ""
        return StationStep(report.table, action, plan.why, RowsLost.unknown(), open_=f"{after}{first.reason}")
    return StationStep(report.table, action, plan.why, plan.rows_lost, plan.values_lost, plan.confirmation)


_SEQUENCER = (
    ("restore-sequencer", (*NO_LOG, *METADATA, Code.SEQUENCER_FOREIGN)),
    ("repair-log", (*LOG_REPAIR, Code.SEGMENT_MISSING, Code.SEGMENT_DATA_TORN, Code.SEGMENT_EVENT_TRUNCATED)),
    ("raise-wal-index", (Code.WAL_INDEX_MISSING, Code.WAL_INDEX_LOW)),
)
HIDING = ("repair-metadata", "repair-table-state")
"""What writes `_meta` and `_txn` anew: before that nothing says which files the table must have."""
_OWNERSHIP = "repair-ownership"
_PREPARING = ("stop-server", "freeze-writer", "capture-evidence")
"""What stands before every repair and says nothing about its cost."""
