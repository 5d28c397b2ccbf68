"""repair-partition: a damaged partition from a copy, with NULL for what is lost, up to its last whole row, or aside."""

import numpy as np

from console.diagnosis.model import Code
from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError
from console.recovery.codes import ClaimKey
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Claim, Danger, Plan
from console.recovery.steps import files, set_aside, table_files
from console.recovery.steps.steps import RunContext
from console.recovery.table_repair.partition_repair import partition_repair
from console.recovery.table_repair.planning import repair_plan, whole_claims, world, written_claims
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="repair-partition",
    title="Repair partitions",
    danger=Danger.DATA,
    needs_table=True,
    summary="Mends damaged partitions: from a copy, with NULL, up to the last whole row, or set aside.",
    undo="The old files and directories are put back until a server has started on the result; then from evidence.",
    offline=True,
    needs_evidence=True,
)
STEPS = (*table_files.STEPS, *files.STEPS, *set_aside.STEPS)
_CODES = (
    Code.PARTITION_MISSING, Code.COLUMN_FILE_MISSING, Code.COLUMN_FILE_SHORT, Code.COLUMN_FILE_INVALID,
    Code.PARQUET_FILE_INVALID,
)  # fmt: skip
"""What must be gone after it. Damaged indexes and symbol maps are for the actions that come next."""

__all__ = ["SPEC", "STEPS", "plan", "verify", "world"]


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty if no partition is damaged."""
    directory = context.database.table(table or "")
    evidence = tuple(
        capture.folder / "db" / directory.directory
        for capture in reversed(context.evidence.captures())
        if directory.directory in capture.stamps and not capture.changed
    )
    made = partition_repair(directory, context.settings.partition, evidence)
    return repair_plan(context, SPEC, directory, made.repair, made.before)


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The files hold what was planned, a check finds them whole, and every value of the table's rows can be read."""
    whole = whole_claims(plan, run, _CODES) if not run.settings.partition.partition else ()
    return (*written_claims(plan, run), *whole, *_read_claims(plan, run))


def _read_claims(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return that each value of each native partition can be read, and that the announced values are NULL."""
    name = clean_line(plan.table or "")
    try:
        # Names of symbols are for repair-symbols, which comes after this: a map may be damaged still.
        rows = TableRows(run.database.db / (plan.directory or ""), keys=True)
    except (DamageError, OSError) as error:
        return (Claim.note(ClaimKey.VALUES_READ, f"{name}: values not read", str(error), table=name),)
    lost = {(each.partition, each.column): each.count or 0 for each in plan.values_lost}
    bad, read, missing = "", 0, []
    for partition in rows.partitions:
        shown = clean_line(rows.partitioning.name(partition.start))
        for column in rows.columns if not partition.parquet else ():
            nulls = 0
            try:
                for _, values in rows.chunks(partition, column):
                    read += len(values)
                    nulls += int(np.count_nonzero(values.null))
            except (DamageError, OSError) as error:
                bad = bad or f"{shown}, column {column.name}: {error}"
            wanted = lost.pop((shown, column.name), 0)
            if nulls < wanted and rows.has_null(column):
                missing.append(f"{shown}, column {column.name}: {nulls:,} of {wanted:,}")
    told = bad or "each value read"
    claims = [Claim(ClaimKey.VALUES_READ, f"{name}: {plural(read, 'value')}", "each value read", told, not bad, name)]
    if plan.values_lost:
        found = "; ".join(missing[:3]) or "NULL"
        claims.append(Claim(ClaimKey.VALUES, f"{name}: values that are lost", "NULL", found, not missing, name))
    return tuple(claims)
