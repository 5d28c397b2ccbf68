"""capture-evidence: copy what a repair may touch or rest on into the state directory, before anything is changed."""

from console.questdb.layout import TableDirectory
from console.recovery.evidence import steps
from console.recovery.evidence.selection import Selection, select
from console.recovery.evidence.verification import verify_capture
from console.recovery.gate.registry import PlanContext
from console.recovery.gate.rehearsed import Records
from console.recovery.gate.start_checks import harmed
from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Stage
from console.recovery.plans import make_plan
from console.recovery.steps.steps import RunContext
from console.recovery.store.places import root_key
from console.text import plural

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
STEPS = steps.STEPS


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan to capture one table, or all WAL tables."""
    damaged = _damaged(context)
    chosen = [context.database.table(table)] if table is not None else _all(context, damaged)
    whole = dict.fromkeys(_of_unknown_loss(context), _UNCERTAIN)
    whole.update(dict.fromkeys(damaged, _DAMAGED))
    selections = {each.directory: select(each, whole=each.directory in whole) for each in chosen}
    size = sum(selection.size for selection in selections.values())
    stages = [
        _stage(index, each, selections[each.directory], whole.get(each.directory, ""))
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
        station=context.settings.station_name,
        table=chosen[0].name if table is not None else None,
        directory=chosen[0].directory if table is not None else None,
        why=(
            f"Copies {size:,} bytes of {plural(len(chosen), 'table')} to {context.state.evidence}; "
            "every repair is locked until that exists."
        ),
        stages=stages,
        facts=(),
        disk_needed=size,
        warnings=warnings,
    )


def _all(context: PlanContext, damaged: frozenset[str]) -> list[TableDirectory]:
    """Return all WAL tables, and whatever other table is damaged."""
    tables = context.database.tables()
    return [each for each in tables if (each.wal is not False and not each.system) or each.directory in damaged]


def _damaged(context: PlanContext) -> frozenset[str]:
    """Return the tables whose own files are damaged: a start or a repair may change any of their partitions."""
    reports = ((each.directory, context.report(each.raw_name)) for each in context.database.tables())
    return frozenset(directory for directory, report in reports if report is not None and harmed(report))


def _of_unknown_loss(context: PlanContext) -> frozenset[str]:
    return frozenset(Records(context.state, root_key(context.database.db)).of_unknown_loss())


def _stage(index: int, table: TableDirectory, selection: Selection, whole: str) -> Stage:
    listed = (
        f"; {plural(len(selection.listed), 'file')} of untouched partitions only listed" if selection.listed else ""
    )
    if whole:
        listed = f" whole, {plural(selection.size, 'byte')}: {whole}"
    return Stage(
        f"table-{index}",
        f"copy {table.name}{listed}",
        "capture-table",
        {"directory": table.directory, "whole": bool(whole)},
        (Change("copy", table.directory, after="evidence", size=selection.size),),
    )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Hash the whole capture once more, from its manifest."""
    del plan
    return (verify_capture(run.state.evidence / run.entry),)
