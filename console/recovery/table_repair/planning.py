"""From new files of a table to the plan that replaces them: what all repairs of a table's own files have in common.

An action makes a `Repair` (replacements in order, one stage each; what it costs; refusals), gives it to `repair_plan`,
and proves it with `written_claims` and its own reading of the files. It is named in `TABLE_REPAIRS` of the registry, so
that evidence holds what it replaces; its STEPS have those of `steps.table_files`. One that replaces `_txn`, `_meta` or
`_cv` also takes `world` from here.

The plan rests on the table's stamp and on each file that it replaces or was made from. The old bytes are kept in the
entry's folder; the policy asks for evidence that holds them as well, since that is the way back after a start.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.diagnosis.model import Code, Severity
from console.digests import digest_of
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.table_txn import read_table_txn
from console.recovery.codes import ClaimKey
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.context import DiskReports
from console.recovery.gate.registry import PlanContext
from console.recovery.model import (
    ActionSpec,
    Change,
    Claim,
    Fact,
    LostValues,
    Plan,
    Refusal,
    Requirement,
    RowsLost,
    Stage,
)
from console.recovery.plans import make_plan, mark_of
from console.recovery.steps import table_files
from console.recovery.steps.steps import RunContext
from console.recovery.steps.table_files import replace_files
from console.recovery.store.copying import digest_of_file
from console.recovery.table_repair.new_files import NewFile, specs_of
from console.text import clean_line, plural

_WORLD = ("_txn", "_meta", "_cv")
NOTHING_LOST = RowsLost.exact(0)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Files of a table that are replaced together, in this order, in one stage with `title`."""

    title: str
    files: tuple[NewFile, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair does to one table, and what it costs.

    `read` are further files that it was made from, below the table's directory. `rows_back` are the rows that the table
    will show, if it shows none before.
    """

    why: str
    replacements: tuple[Replacement, ...] = ()
    read: tuple[str, ...] = ()
    rows_lost: RowsLost = NOTHING_LOST
    rows_back: int = 0
    values_lost: tuple[LostValues, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    refused: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()


def repair_plan(
    context: PlanContext, spec: ActionSpec, table: TableDirectory, repair: Repair, before: Sequence[Stage] = ()
) -> Plan:
    """Return the plan of a repair; with a refusal it has no stage. `before` are stages that come first.

    Raises OSError if a file that is to be replaced cannot be read.
    """
    files = [file for each in repair.replacements for file in each.files]
    named = dict.fromkeys([*(file.path for file in files), *repair.read])
    facts = (
        Fact(table.directory, table_stamp(table.path)),
        *(Fact(f"{table.directory}/{path}", stamp_of(table.path / path)) for path in named),
    )
    mark = mark_of(facts)
    stages: list[Stage] = list(before)
    attachments: dict[str, bytes] = {}
    for number, each in enumerate(() if repair.refused else repair.replacements):
        specs, attached = specs_of(each.files, table, f"files-{number}")
        attachments |= attached
        stages.append(replace_files(number, table.directory, mark, specs, each.title, _changes(each, table)))
    return make_plan(
        spec,
        context.target(table),
        why=repair.why,
        stages=() if repair.refused else stages,
        facts=facts,
        rows_lost=repair.rows_lost,
        rows_back=repair.rows_back,
        values_lost=repair.values_lost,
        refused=repair.refused,
        requirements=repair.requirements,
        warnings=repair.warnings,
        disk_needed=sum(file.size + (file.old_size(table) or 0) for file in files),
        attachments=attachments,
    )


def replaced_by(plan: Plan) -> tuple[str, ...]:
    """Return the files that a plan replaces, relative to the db directory, in order."""
    return tuple(
        str(spec["name"])
        for stage in plan.stages
        if stage.step == table_files.STEP
        for spec in stage.parameters["files"]
    )


def partitions_of(plan: Plan) -> frozenset[str] | None:
    """Return the directories of the partitions whose files a plan replaces; None: files of all partitions' columns."""
    below = [name.split("/")[1:] for name in replaced_by(plan)]
    return None if any(len(parts) == 1 for parts in below) else frozenset(parts[0] for parts in below)


def world(database: DatabaseRoot, plan: Plan) -> str:
    """Return a stamp of what of a table only others change: unchanged means that no server has written since.

    An action of these that replaces `_txn`, `_meta` or `_cv` gives it as its own `world`.
    """
    own = set(replaced_by(plan))
    table = database.db / (plan.directory or "")
    area = read_table_txn(table).current
    version = area.txn if area is not None and f"{plan.directory}/_txn" not in own else None
    left = [stamp_of(table / name) for name in _WORLD if f"{plan.directory}/{name}" not in own]
    return digest_of(version, left, sorted(path.name for path in table.glob("wal*[0-9]")))


def written_claims(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return that each replaced file holds what the plan says: read again from the disk."""
    wrong, count = [], 0
    for stage in plan.stages:
        for spec in stage.parameters.get("files", ()) if stage.step == table_files.STEP else ():
            count += 1
            if not _holds(run.database.db / str(spec["name"]), spec):
                wrong.append(clean_line(str(spec["name"])))
    claim = f"{plural(count, 'file')} written as planned"
    return (Claim(ClaimKey.FILES_WRITTEN, claim, "as planned", ", ".join(wrong[:3]) or "as planned", not wrong),)


def whole_claims(plan: Plan, run: RunContext, codes: Sequence[Code]) -> tuple[Claim, ...]:
    """Return that a check of the table finds none of `codes` any more, as more than a note."""
    table = run.database.in_directory(plan.directory or "")
    report = DiskReports(run.database).of_table(table.directory)
    left = [f for f in report.findings if f.code in codes and f.severity is not Severity.NOTE] if report else []
    found = "the table cannot be checked" if report is None else left[0].message if left else "no finding"
    claim = f"{table.name}: a check of the repaired files"
    return (Claim(ClaimKey.FILES_WHOLE, claim, "no finding", found, report is not None and not left, table=table.name),)


def stamp_of(path: Path) -> str:
    """Return size, time and inode of a file in one word, `missing` if there is none."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return "missing" if isinstance(error, FileNotFoundError) else f"errno {error.errno}"
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


def _holds(path: Path, spec: Mapping[str, Any]) -> bool:
    try:
        return digest_of_file(path) == str(spec["sha256"])
    except OSError:
        return False


def _changes(each: Replacement, table: TableDirectory) -> tuple[Change, ...]:
    found = []
    for file in each.files:
        old = file.old_size(table)
        kind, before = ("create", "missing") if old is None else ("overwrite", f"{old:,} bytes")
        after = f"{file.size:,} bytes: {file.told}"
        found.append(Change(kind, f"{table.directory}/{file.path}", before=before, after=after, size=file.size))
    return tuple(found)
