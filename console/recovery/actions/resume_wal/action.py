"""resume-wal: let the server go on with a suspended table, past a transaction that cannot be applied where need be."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from console.diagnosis.server.cause import Cause, cause_of
from console.diagnosis.table import examine_table
from console.digests import digest_of
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.questdb.partitioning import Partitioning
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.recovery.actions.resume_wal import steps as resume_steps
from console.recovery.actions.resume_wal.blockage import Blockage, Queue, queue_of, skipped_lines
from console.recovery.actions.resume_wal.refusals import own_files_refusals, resume_refusals
from console.recovery.actions.resume_wal.steps import KEPT, statement
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.gate.history import SKIPPED
from console.recovery.gate.registry import PlanContext
from console.recovery.model import (
    ActionSpec,
    Change,
    Claim,
    Danger,
    Fact,
    Plan,
    Refusal,
    Requirement,
    RowsLost,
    Stage,
)
from console.recovery.plans import make_plan, refused_plan
from console.recovery.server.expectation import ExpectationError, expectation_of
from console.recovery.server.sql import Server, SqlError
from console.recovery.steps.steps import RunContext
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="resume-wal",
    title="Resume the table's WAL",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Lets the server apply what waits in a suspended table; where a transaction cannot be applied, skips it and "
        "says first which rows that loses."
    ),
    undo="None for a transaction that was skipped; its segments are kept, from where salvage-wal reads its rows.",
    final="what QuestDB has applied or skipped is not undone",
    for_all="resume-all",
)
STEPS = resume_steps.STEPS


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty where the table is not suspended, refused where another step loses less."""
    directory = context.database.table(table or "")
    target = context.target(directory)
    server = Server(context.settings.questdb)
    try:
        server.prove_ours(context.database.db)
        row = server.wal_table(directory.raw_name)
    except SqlError as error:
        return refused_plan(
            SPEC,
            target,
            Refusal(RefusalCode.SERVER_DOWN, str(error), "start-server", action="start-server"),
        )
    if directory.wal is False:
        return refused_plan(
            SPEC,
            target,
            Refusal(
                RefusalCode.NOT_WAL, f"{directory.name} is not a WAL table; there is nothing to resume", "nothing to do"
            ),
        )
    queue = queue_of(examine_table(directory))
    if row is None or queue is None:
        reason = f"the server does not list {directory.name}, or its log cannot be read: it has no sequencer to resume"
        return refused_plan(
            SPEC,
            target,
            Refusal(
                RefusalCode.NO_SEQUENCER, reason, "restore-sequencer, or rebuild-sequencer", action="restore-sequencer"
            ),
        )
    suspended = bool(row["suspended"])
    stated = Requirement(
        "the server has suspended the table",
        suspended,
        f"{'suspended' if suspended else 'not suspended'}, applied {queue.applied:,} of {queue.logged:,}"
        + (f", {_error(row)}" if _error(row) else ""),
    )
    if not suspended:
        return _made(context, directory, queue, (), stated, why="The table is not suspended: there is nothing to do.")
    report = context.report(directory.directory)
    refusals = (
        *own_files_refusals(directory, report, _error(row)),
        *resume_refusals(directory, queue, context.history(directory.directory).stopped_at, _error(row)),
    )
    made = _planned(context, directory, queue, refusals, stated)
    if cause_of(_error(row), directory.directory) is Cause.UNKNOWN:
        return made
    warning = f"QuestDB says what stopped it: {_error(row)}; it stops there again unless that is mended"
    return replace(made, warnings=(warning, *made.warnings))


def _error(row: dict[str, Any]) -> str:
    return clean_line(" ".join(str(row.get(key) or "") for key in ("errorTag", "errorMessage")), 300).strip()


def _planned(
    context: PlanContext, directory: TableDirectory, queue: Queue, refusals: tuple[Refusal, ...], stated: Requirement
) -> Plan:
    found = queue.blockage
    skips = found is not None and not found.good_before
    first = found.resume_from if found is not None and skips else None
    last = _reach(found)
    warnings: list[str] = []
    try:
        expected = expectation_of(directory, first=first, last=last)
        back = max(0, expected.rows - expectation_of(directory, last=queue.applied).rows)
    except ExpectationError as error:
        refusals = (
            *refusals,
            Refusal(RefusalCode.RESULT_UNKNOWN, str(error), "repair-log, with the server stopped", action="repair-log"),
        )
        return _made(context, directory, queue, (), stated, why=str(error), refused=refusals)
    if found is None:
        why = (
            f"All of seqTxn {queue.applied + 1:,} to {queue.logged:,} can be applied: QuestDB resumes, and "
            f"{plural(back, 'row')} will appear."
            if queue.logged > queue.applied
            else "Everything logged is applied: QuestDB only ends the suspension."
        )
    elif skips:
        why = (
            f"{found.reason[0].upper()}{found.reason[1:]}. QuestDB can only continue from seqTxn "
            f"{found.resume_from:,}. {found.run} will be skipped for good."
        )
        warnings += skipped_lines(found, _show_time(directory))
        if found.on_disk:
            warnings.append(
                f"the rows of {found.run} are still on disk, only its record is lost: repair-log (with the server "
                "stopped) makes the record again and loses nothing"
            )
        if found.next_first is not None:
            warnings.append(f"the server will stop again at seqTxn {found.next_first:,}; that is planned when it has")
    else:
        why = (
            f"{plural(found.good_before, 'transaction')} with {plural(found.rows_before, 'row')} come before the first "
            f"bad one, and are applied first. There the server stops again: {found.reason}. What skipping that "
            "loses is planned then, by resume-wal again."
        )
    lost = _lost(directory, found) if found is not None and skips else RowsLost.exact(0)
    if queue.suspect_rows:
        lost = RowsLost.total((lost, RowsLost.at_most(queue.suspect_rows)))
        warnings.append(
            f"up to {plural(queue.suspect_rows, 'row')} have whole pages of zeros between other values, which the disk "
            "may have lost: the server applies them as they are"
        )
    return _made(
        context, directory, queue, _stages(directory, found if skips else None, first, last), stated,
        why=why, refused=refusals, lost=lost, back=back, warnings=tuple(warnings),
        disk=_size(directory, found) if skips else 0,
    )  # fmt: skip


def _lost(directory: TableDirectory, found: Blockage) -> RowsLost:
    """Return the rows that a skip loses; with dedup keys some of them would have replaced others, or been replaced."""
    metadata = read_table_metadata(directory.path)
    replacing = isinstance(metadata, TableMetadata) and metadata.has_dedup
    if found.rows.kind == "exact" and found.rows.value and replacing:
        return RowsLost("bound", found.rows.value)
    return found.rows


def _reach(found: Blockage | None) -> int | None:
    """Return the transaction that the server gets to at least, None for the last logged one."""
    if found is None:
        return None
    if found.good_before:
        return found.first - 1
    if found.next_first is None:
        return None
    # Looking ahead the server meets the next bad one early: no more than the skip itself is promised then.
    return found.last if found.next_ahead else found.next_first - 1


def _show_time(directory: TableDirectory) -> Any:
    metadata = read_table_metadata(directory.path)
    nanos = isinstance(metadata, TableMetadata) and Partitioning.of(metadata).nanos
    return lambda value: f"{np.datetime64(value, 'ns' if nanos else 'us')}Z"


def _segments(found: Blockage | None) -> list[tuple[int, int]]:
    return sorted({(each.wal, each.segment) for each in found.skipped}) if found is not None else []


def _skipped(found: Blockage) -> Iterator[list[int]]:
    """Yield wal, segment, first and last transaction and rows of what is skipped of each segment."""
    for (wal, segment), members in groupby(found.skipped, key=lambda each: (each.wal, each.segment)):
        several = list(members)
        yield [wal, segment, several[0].segment_txn, several[-1].segment_txn, sum(each.rows for each in several)]


def _size(directory: TableDirectory, found: Blockage | None) -> int:
    folders = [directory.path / f"wal{wal}" / str(segment) for wal, segment in _segments(found)]
    return sum(path.lstat().st_size for folder in folders for path in folder.iterdir())


def _stages(
    directory: TableDirectory, found: Blockage | None, first: int | None, last: int | None
) -> tuple[Stage, ...]:
    segments = _segments(found)
    keep = Stage(
        "keep",
        f"keep a copy of {plural(len(segments), 'segment')}: the next sweep deletes what is skipped",
        "keep-segments",
        {"directory": directory.directory, "segments": [list(each) for each in segments]},
        tuple(
            Change("copy", f"{directory.directory}/wal{wal}/{segment}", after=f"the entry's folder, {KEPT}")
            for wal, segment in segments
        ),
    )
    sql = statement(directory.raw_name, first)
    resume = Stage(
        "resume",
        "resume the table" + (f" from seqTxn {first:,}" if first is not None else ""),
        "resume-table",
        {
            "table": directory.raw_name, "directory": directory.directory, "from_txn": first, "last_txn": last,
            **({SKIPPED: list(_skipped(found))} if found is not None else {}),
        },
        (Change("sql", clean_line(sql)),),
    )  # fmt: skip
    verify = Stage(
        "verify",
        "wait until all is applied, and prove it by rows",
        "verify-resumed",
        {"last_txn": last, "at_least": found is not None and found.next_ahead},
    )
    return (*((keep,) if segments else ()), resume, verify)


def _made(
    context: PlanContext,
    directory: TableDirectory,
    queue: Queue,
    stages: tuple[Stage, ...],
    stated: Requirement,
    *,
    why: str,
    refused: tuple[Refusal, ...] = (),
    lost: RowsLost = RowsLost("exact", 0),  # noqa: B008 - frozen
    back: int = 0,
    warnings: tuple[str, ...] = (),
    disk: int = 0,
) -> Plan:
    found = queue.blockage
    lag = Requirement(
        "no transaction waits in the table's lag", queue.lag_txns == 0, f"{queue.lag_txns} with {queue.lag_rows} rows"
    )
    # New rows may be logged meanwhile: what the plan rests on is what is applied, and what stands in the way.
    rests_on = [queue.applied, queue.lag_txns, None if found is None else [found.first, found.last, found.good_before]]
    return make_plan(
        SPEC,
        context.target(directory),
        why=why,
        stages=stages,
        facts=(Fact(directory.directory, digest_of(rests_on)),),
        rows_lost=lost,
        rows_back=back,
        refused=refused,
        requirements=(stated, lag),
        warnings=warnings,
        disk_needed=disk,
    )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The stages proved the rows; what is left is that the server is still the one on this database."""
    del plan
    try:
        Server(run.settings.questdb).prove_ours(run.database.db)
    except WalmedicError as error:
        return (Claim(ClaimKey.ANSWERS, "the server still answers", "answers", str(error), ok=False),)
    return (Claim(ClaimKey.ANSWERS, "the server still answers", "answers", "answers", ok=True),)
