"""capture-evidence: copy what a repair may touch or rest on into the state directory, before anything is changed."""

import contextlib
import os
from collections.abc import Iterable

from console.diagnosis.model import Severity
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.recovery.actions.capture_evidence.capture import CaptureSurroundings, CaptureTable, replaced_of
from console.recovery.evidence.selection import Selection, select
from console.recovery.evidence.verification import verify_capture
from console.recovery.gate.context import plan_context
from console.recovery.gate.registry import TABLE_REPAIRS, PlanContext, action_module
from console.recovery.gate.rehearsed import Records
from console.recovery.gate.start_checks import harming
from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Stage
from console.recovery.plans import make_plan
from console.recovery.steps.steps import CheckStep, RunContext
from console.recovery.store.deep_damage import damaged_tables
from console.recovery.store.places import root_key
from console.recovery.table_repair.planning import replaced_by
from console.text import clean_line, plural

_UNCERTAIN = "a repair whose loss is not known was rehearsed"
_DAMAGED = "files of the table itself are damaged"

SPEC = ActionSpec(
    id="capture-evidence",
    title="Capture evidence",
    danger=Danger.SAFE,
    needs_table=False,
    summary="Copies sequencers, in-table backups, WAL and table state into the state directory, hashed and read back.",
    undo="Nothing under the database is changed; the copy stays until you remove its folder yourself.",
)


class PlanRepairs(CheckStep):
    """Find what of a table its repairs replace: some read whole columns, so that a plan of a capture does not."""

    name = "plan-repairs"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Note the entries of the table's directory, for the stage that copies it."""
        table = run.database.in_directory(str(stage.parameters["directory"]))
        held = run.server_lock is not None and run.server_lock.held
        context = plan_context(run.settings, run.database, run.state, run.journal, run.services, lock_held=held)
        files: list[str] = []
        for action in TABLE_REPAIRS:
            run.progress(f"what {action} would replace")
            with contextlib.suppress(WalmedicError, OSError):
                files += replaced_by(action_module(action).plan(context, table.directory))
        run.remember(replaced_of(table.directory), sorted(_entries(table, files)))


STEPS = (PlanRepairs(), CaptureTable(), CaptureSurroundings())


def plan(context: PlanContext, table: str | None) -> Plan:
    damaged = _damaged(context)
    chosen = [context.database.table(table)] if table is not None else _all(context, damaged)
    whole = dict.fromkeys(_of_unknown_loss(context), _UNCERTAIN)
    whole.update(dict.fromkeys(damaged, _DAMAGED))
    also = {each.directory: _with_findings(context, each) for each in chosen}
    selections = {d.directory: select(d, whole=d.directory in whole, also=also[d.directory]) for d in chosen}
    size = sum(selection.size for selection in selections.values())
    known = damaged_tables(context.state, context.database.db)
    repaired = [each for each in chosen if table is not None or each.directory in known]
    stages = [_repairs(index, each) for index, each in enumerate(repaired)]
    stages += [
        _stage(index, each, selections[each.directory], whole.get(each.directory, ""), also[each.directory])
        for index, each in enumerate(chosen)
    ]
    stages.append(
        Stage("surroundings", "copy registry, configuration, crash logs; write the manifest", "capture-surroundings")
    )
    skipped = sum(len(selection.skipped) for selection in selections.values())
    warnings = (
        [f"{plural(skipped, 'link or special file', 'links or special files')} will not be copied"] if skipped else []
    )
    if context.server_down is not True:
        warnings.append("a server may be writing meanwhile: no repair will be based on this copy; stop-server first")
    return make_plan(
        SPEC,
        context.target(chosen[0] if table is not None else None),
        why=(
            f"Copies {size:,} bytes of {plural(len(chosen), 'table')} to {context.state.evidence}; "
            "every repair is locked until that exists."
        ),
        stages=stages,
        disk_needed=size,
        warnings=warnings,
    )


def _all(context: PlanContext, damaged: frozenset[str]) -> list[TableDirectory]:
    """Return all WAL tables, and whatever other table has a finding: each that a repair may ask evidence of."""
    known = damaged_tables(context.state, context.database.db)  # what mends it then is seen by reading the values
    return [
        each
        for each in context.database.tables()
        if (each.wal is not False and not each.system)
        or each.directory in damaged
        or _with_findings(context, each)
        or each.directory in known
    ]


def _damaged(context: PlanContext) -> frozenset[str]:
    """Return the tables whose own files are damaged: a start or a repair may change any of their partitions."""
    reports = ((each.directory, context.report(each.directory)) for each in context.database.tables())
    return frozenset(directory for directory, report in reports if report is not None and harming(report))


def _of_unknown_loss(context: PlanContext) -> frozenset[str]:
    return frozenset(Records(context.state, root_key(context.database.db)).of_unknown_loss())


def _with_findings(context: PlanContext, table: TableDirectory) -> frozenset[str]:
    report = context.report(table.directory)
    findings = report.findings if report is not None else ()
    return _entries(table, [each.file for each in findings if each.file and each.severity is not Severity.NOTE])


def _entries(table: TableDirectory, files: Iterable[str]) -> frozenset[str]:
    """Return the entries of a table's directory that hold `files`, which are relative to the db directory."""
    prefix = f"{clean_line(table.directory)}/"
    below = (clean_line(file) for file in files)
    found = {file.removeprefix(prefix).split("/", 1)[0] for file in below if file.startswith(prefix)}
    return frozenset(entry.name for entry in os.scandir(table.path) if clean_line(entry.name) in found)


def _repairs(index: int, table: TableDirectory) -> Stage:
    title = f"find what repairs of {table.name} would replace, and copy that too"
    return Stage(f"repairs-{index}", title, PlanRepairs.name, {"directory": table.directory})


def _stage(index: int, table: TableDirectory, selection: Selection, whole: str, also: frozenset[str]) -> Stage:
    listed = (
        f"; {plural(len(selection.listed), 'file')} of untouched partitions only listed" if selection.listed else ""
    )
    if whole:
        listed = f" whole, {plural(selection.size, 'byte')}: {whole}"
    return Stage(
        f"table-{index}",
        f"copy {table.name}{listed}",
        "capture-table",
        {"directory": table.directory, "whole": bool(whole), **({"also": sorted(also)} if also else {})},
        (Change("copy", table.directory, after="evidence", size=selection.size),),
    )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Hash the whole capture once more, from its manifest."""
    del plan
    return (verify_capture(run.state.evidence / run.entry),)
