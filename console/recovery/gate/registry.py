"""The actions: id to module, and what a module gets to make its plan from."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from console.diagnosis.model import TableHistory, TableReport
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.evidence.index import EvidenceIndex
from console.recovery.model import ActionSpec, Claim, Plan, Refusal
from console.recovery.plans import Target
from console.recovery.steps.steps import RunContext, Step
from console.recovery.store.journal import Entry, Journal
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir
from console.services.model import ServiceControl
from console.settings import Settings

# In the order in which an incident is worked through; palette, help and docs keep it.
_MODULES = {
    "freeze-writer": "freeze_writer.action",
    "stop-server": "stop_server",
    "capture-evidence": "capture_evidence.action",
    "salvage-wal": "salvage.salvage_wal",
    "salvage-table": "salvage.salvage_table",
    "repair-ownership": "repair_ownership",
    "repair-registry": "repair_registry",
    "repair-metadata": "repair_metadata",
    "repair-table-state": "repair_table_state",
    "repair-partition": "repair_partition",
    "repair-symbols": "repair_symbols",
    "rebuild-index": "rebuild_index",
    "restore-sequencer": "sequencer_repair.restore_sequencer",
    "rebuild-sequencer": "sequencer_repair.rebuild_sequencer",
    "repair-log": "sequencer_repair.repair_log",
    "raise-wal-index": "raise_wal_index",
    "resume-wal": "resume_wal.action",
    "resume-all": "resume_wal.all_tables",
    "convert-table": "convert_table.action",
    "copy-table": "copy_table.action",
    "set-table-aside": "set_table_aside",
    "start-server": "start_server.action",
    "thaw-writer": "thaw_writer.action",
}

TABLE_REPAIRS: tuple[str, ...] = (
    "repair-metadata", "repair-table-state", "repair-partition", "repair-symbols", "rebuild-index",
)  # fmt: skip
"""Actions that replace a table's own files, in the order in which each rests on the one before."""


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a plan may look at. Everything is read-only; `report` diagnoses a table from disk, once per context.

    `history` says what the journal has of the table in a directory.
    `settings` name the user who observes: only a run connects as the one who may write.

    `server_down` says whether the server's lock could be won; None where that cannot be known (no such file).
    `judged` keeps what stands against an action on no table's data: its plan asks Redis and the service manager.
    """

    settings: Settings
    database: DatabaseRoot
    state: StateDir
    journal: Journal
    evidence: EvidenceIndex
    services: ServiceControl | None
    report: Callable[[str], TableReport | None]
    history: Callable[[str], TableHistory]
    server_down: bool | None
    now: float
    judged: dict[str, tuple[Refusal, ...]] = field(default_factory=dict)

    def target(self, table: TableDirectory | None = None) -> Target:
        """Return the target of a plan for `table`, or for the station."""
        return Target.of(self.settings.station_name, table)

    def unfinished(self) -> tuple[Entry, ...]:
        """Return the journal's entries of this database that have no outcome, oldest first."""
        return self.journal.unfinished(root_key(self.database.db))


class ActionModule(Protocol):
    """What a module in `console.recovery.actions` offers. Its stages name steps of `STEPS`.

    One that works through the server may also have `undo_refusals(context, entry, plan)`: what stands against its undo.
    """

    SPEC: ActionSpec
    STEPS: Sequence[Step]

    def plan(self, context: PlanContext, table: str | None) -> Plan:
        """Return what would be done; refusals that only the action itself can know are in the plan."""

    def verify(self, plan: Plan, run: RunContext) -> tuple[Claim, ...]:
        """Prove the result on what is there now, disk or server."""


class UnknownActionError(WalmedicError):
    """No action of that name."""


def action_ids() -> tuple[str, ...]:
    return tuple(_MODULES)


def action_module(action: str) -> ActionModule:
    """Return the module of an action, importing it. Raises UnknownActionError naming the known ones."""
    if action not in _MODULES:
        raise UnknownActionError(f"there is no action {action!r}; the actions are {', '.join(_MODULES)}")
    return cast(ActionModule, importlib.import_module(f"console.recovery.actions.{_MODULES[action]}"))


def spec_of(action: str) -> ActionSpec:
    return action_module(action).SPEC
