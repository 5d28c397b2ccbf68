"""repair-partition: a damaged partition from a copy, with NULL for what is lost, up to its last whole row, or aside."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from console.diagnosis.deep_files import DeepFiles
from console.diagnosis.deep_scope import DeepScope
from console.diagnosis.model import Code
from console.questdb.partition_rows import Partition, TableRows
from console.questdb.reading import DamageError
from console.recovery.codes import ClaimKey
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Claim, Danger, Plan
from console.recovery.steps import files, set_aside, table_files
from console.recovery.steps.files import SwapDirectory
from console.recovery.steps.steps import RunContext
from console.recovery.store.deep_damage import known_damage
from console.recovery.table_repair.partition_repair import partition_repair
from console.recovery.table_repair.planning import repair_plan, replaced_by, whole_claims, world, written_claims
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
    Code.PARQUET_FILE_INVALID, Code.TIMESTAMPS_INVALID, Code.SYMBOL_KEYS_UNKNOWN,
)  # fmt: skip
"""What must be gone after it. Damaged indexes and symbol maps are for the actions that come next."""

_COLUMN_FILE = re.compile(r"\.[di](\.\d+)?$")

__all__ = ["SPEC", "STEPS", "plan", "verify", "world"]


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty if no partition is damaged."""
    directory = context.database.table(table or "")
    evidence = tuple(
        capture.folder / "db" / directory.directory
        for capture in reversed(context.evidence.captures())
        if directory.directory in capture.stamps and not capture.changed
    )
    known = known_damage(context.state, context.database.db, directory.directory)
    made = partition_repair(directory, context.settings.partition, evidence, known)
    return repair_plan(context, SPEC, directory, made.repair, made.before)


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The files hold what was planned, a check finds them whole, and every value of the table's rows can be read."""
    whole = whole_claims(plan, run, _CODES) if not run.settings.partition.partition else ()
    return (*written_claims(plan, run), *whole, *_fitting_claims(plan, run), *_read_claims(plan, run))


def _fitting_claims(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return that a full check of the columns that were written finds every value fit."""
    table = run.database.in_directory(plan.directory or "")
    columns, swapped = _written(plan)
    scopes = [DeepScope(frozenset(swapped))] if swapped else []
    if columns:
        scopes.append(DeepScope(*map(frozenset, zip(*columns, strict=True))))
    looks = [DeepFiles(table, scope=scope).look() for scope in scopes]
    wrong = [each.message for look in looks for each in look.findings if each.code in _CODES]
    wrong += [why for look in looks for why in look.left_out]
    claim = f"{table.name}: a full check of what was written"
    told = wrong[0] if wrong else "no finding"
    return (Claim(ClaimKey.FILES_WHOLE, claim, "no finding", told, not wrong, table.name),) if looks else ()


def _written(plan: Plan) -> tuple[list[tuple[str, str]], set[str]]:
    """Return the columns that a plan writes, each with its partition directory, and the directories put in place."""
    files = [Path(name).parts[1:] for name in replaced_by(plan)]
    swapped = {Path(str(stage.parameters["path"])).name for stage in plan.stages if stage.step == SwapDirectory.name}
    return [(each[0], _COLUMN_FILE.sub("", each[1])) for each in files if len(each) > 1], swapped


def _directories(rows: TableRows, partition: Partition) -> Iterator[str]:
    for part in partition.parts:
        yield rows.partitioning.directory(int(part.record["timestamp"]), int(part.record["name_txn"]))


def _read_claims(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return that each value of the native partitions that were written can be read, and that announced ones are NULL.

    What is damaged elsewhere was so before, and is for the next plan.
    """
    name = clean_line(plan.table or "")
    try:
        # Names of symbols are for repair-symbols, which comes after this: a map may be damaged still.
        rows = TableRows(run.database.db / (plan.directory or ""), keys=True)
    except (DamageError, OSError) as error:
        return (Claim.note(ClaimKey.VALUES_READ, f"{name}: values not read", str(error), table=name),)
    lost = {(each.partition, each.column): each.count or 0 for each in plan.values_lost}
    bad, read, missing = "", 0, []
    columns, swapped = _written(plan)
    written = swapped.union(place for place, _ in columns)
    for partition in rows.partitions:
        if not written.intersection(_directories(rows, partition)):
            continue
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
    claims = []
    if read or bad:  # partitions that are out of the table have none
        what = f"{name}: {plural(read, 'value')}"
        claims.append(Claim(ClaimKey.VALUES_READ, what, "each value read", told, not bad, name))
    if plan.values_lost:
        found = "; ".join(missing[:3]) or "NULL"
        claims.append(Claim(ClaimKey.VALUES, f"{name}: values that are lost", "NULL", found, not missing, name))
    return tuple(claims)
