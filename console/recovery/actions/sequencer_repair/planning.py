"""From a table on disk to the plan of a repair: what the three repairs of a sequencer have in common."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from console.diagnosis.findings.conversion import half_done, waiting_marker
from console.errors import run_as_owner
from console.questdb.conversion import MARKER
from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem
from console.recovery.actions.sequencer_repair import checking
from console.recovery.actions.sequencer_repair.event_files import event_files
from console.recovery.actions.sequencer_repair.vanished import vanished_wal
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Fact, Plan, Refusal, Requirement, RowsLost, Stage
from console.recovery.plans import make_plan, mark_of, refused_plan
from console.recovery.sequencer.disk import LogSource, TableOnDisk, TableUnreadableError, read_sources, read_table
from console.recovery.sequencer.files import files_of
from console.recovery.sequencer.reconstruction import reconstruct
from console.recovery.sequencer.target import SequencerTarget
from console.recovery.steps.files import build_directory, new_name, old_name, swap_directory
from console.table.closed import closed_files
from console.table.ledger import Entry, Evidence, Fate
from console.table.uncounted import MOST_TIMES, behind_the_count, of_no_wal
from console.text import clean_line, plural


@dataclass(frozen=True, slots=True)
class Case:
    """A table to be repaired and what its repair may rest on; `live` is its own sequencer, None without `txn_seq`."""

    context: PlanContext
    spec: ActionSpec
    table: TableOnDisk
    sources: tuple[LogSource, ...]

    @property
    def live(self) -> LogSource | None:
        return next((source for source in self.sources if source.live), None)

    @property
    def copies(self) -> tuple[LogSource, ...]:
        return tuple(source for source in self.sources if not source.live)

    def target(self, base: LogSource | None) -> SequencerTarget:
        """Return the sequencer that the table must have, on `base` (None: on filler)."""
        return reconstruct(self.table, base, self.sources, self.context.settings)


def open_case(context: PlanContext, spec: ActionSpec, name: str) -> Case | Plan:
    """Return the case of a table, or a refused plan where it is no WAL table or cannot be read."""
    directory = context.database.table(name)
    if directory.wal is False:
        refusal = Refusal(
            RefusalCode.NOT_WAL, f"{directory.name} is no WAL table, so it has no sequencer", "nothing to do"
        )
        return refused(context, spec, directory, refusal)
    closed = closed_files(directory.path, partitions=True)
    if closed:
        return _closed(context, spec, directory, closed)
    try:
        table = read_table(directory)
        return Case(context, spec, table, read_sources(table))
    except TableUnreadableError as error:
        refusal = Refusal(RefusalCode.TABLE_UNREADABLE, str(error), f"{error.action} first", action=error.action)
        return refused(context, spec, directory, refusal)


def _closed(context: PlanContext, spec: ActionSpec, table: TableDirectory, closed: Sequence[Path]) -> Plan:
    first = clean_line(str(closed[0].relative_to(table.path.parent)))
    more = f" and {len(closed) - 1:,} more" if len(closed) > 1 else ""
    reason = f"{first}{more} cannot be read as uid {os.geteuid()}, so what would be lost is not known"
    return make_plan(
        spec,
        context.target(table),
        why=reason,
        facts=(Fact(table.directory, table_stamp(table.path)),),
        rows_lost=RowsLost.unknown(),
        refused=(Refusal(RefusalCode.PERMISSION, reason, run_as_owner()),),
    )


def whole(case: Case, target: SequencerTarget) -> str:
    """Return why the live sequencer is as good as `target`, empty where something is wrong with it."""
    live = case.live
    if live is None or not live.verdict.own or live.scan is None or live.log.header is None:
        return ""
    scan, metadata = live.scan, live.metadata
    sound = (
        live.log.header.version in (0, 1)
        and live.log.header.reserved_zero
        and scan.max_txn == target.max_txn
        and np.array_equal(np.sort(scan.named.event[scan.believed]), np.sort(target.unapplied[target.unapplied >= 0]))
        and scan.changed == int((target.unapplied < 0).sum())
        and not scan.bad
        and not scan.beyond
        and not scan.lost
        and not target.refusals
        and live.log.whole_records >= scan.max_txn
        and (live.wal_index.highest or 0) >= case.table.highest_wal
        and not isinstance(metadata, Problem)
        and metadata.structure_version == target.structure.version
        and (scan.max_txn == 0 or _last_version(live, scan.max_txn) == target.structure.version)
    )
    return (
        f"the log has {scan.max_txn:,} transactions, every record above the applied {target.applied:,} is there and "
        "names a segment on disk, and no segment holds more"
        if sound
        else ""
    )


def _last_version(live: LogSource, last: int) -> int:
    records = live.log.records(last, last)
    return int(records["structure_version"][0]) if len(records) else -1


def make(case: Case, target: SequencerTarget, *, why: str) -> Plan:
    table = case.table.directory
    facts = facts_of(case)
    missing = whole(case, target)
    if missing and not target.events_anew:
        return _plan(case, (), facts, f"Nothing to do: {missing}.", target, {}, 0)
    if waiting_marker(table) and not half_done(table):
        target = replace(target, refusals=(*target.refusals, _conversion_pending(table)))
    if target.refusals:
        return _plan(case, (), facts, why, target, {}, 0)
    mark = mark_of(facts)
    events, event_content = event_files(case.table, target, mark)
    if missing:
        size = sum(change.size or 0 for stage in events for change in stage.changes)
        return _plan(case, events, facts, why, target, event_content, size)
    path = f"{table.directory}/txn_seq"
    new = new_name(path, mark)
    files = files_of(target, table, new)
    stages = (
        *events,
        build_directory(
            new, table.directory, files.specs, title=f"build the sequencer beside, as {new}", changes=files.changes
        ),
        checking.stage(new, case.table, target),
        swap_directory(
            path,
            mark,
            existed=table.sequencer.exists(),
            title=f"put it in place; what is there now stays as {old_name(path, mark).rsplit('/', 1)[-1]}"
            if table.sequencer.exists()
            else "put it in place",
        ),
    )
    return _plan(case, stages, facts, why, target, files.attachments | event_content, files.size)


def _conversion_pending(table: TableDirectory) -> Refusal:
    return Refusal(
        RefusalCode.CONVERSION_PENDING,
        f"{table.name} has a marker {MARKER}: the next start makes it a table without WAL, and deletes every walN with "
        "what is not applied in it",
        f"move {MARKER} out of {table.directory} (keep it) if the conversion is not wanted; else convert-table, which "
        "keeps the WAL",
    )


def facts_of(case: Case) -> tuple[Fact, ...]:
    """Return what a plan rests on: the stamp of the table's files, and the content of each log it was made from."""
    table = case.table.directory
    logs = tuple(
        Fact(f"{table.directory}/{source.name}/_txnlog", source.digest) for source in case.sources if source.digest
    )
    return Fact(table.directory, table_stamp(table.path)), *logs


def refused(context: PlanContext, spec: ActionSpec, table: TableDirectory, *refusals: Refusal) -> Plan:
    facts = (Fact(table.directory, table_stamp(table.path)),)
    return refused_plan(spec, context.target(table), *refusals, facts=facts)


def _plan(
    case: Case,
    stages: tuple[Stage, ...],
    facts: tuple[Fact, ...],
    why: str,
    target: SequencerTarget,
    attachments: dict[str, bytes],
    size: int,
) -> Plan:
    table = case.table.directory
    needed = bool(stages) or bool(target.refusals)
    beside = (*vanished_wal(case.context, case.table), *_uncounted(case.table)) if stages else ()
    ledger = (*target.ledger, *beside)
    rows_lost = RowsLost.total((target.rows_lost, *(each.rows for each in beside)))
    evidence = ", then ".join(target.evidence) or "nothing was applied, and nothing is on disk"
    decided = Requirement("applied transactions identified", not target.refusals, evidence)
    found = Requirement(
        "all unapplied rows are on disk",
        rows_lost.kind == "exact" and rows_lost.value == 0,
        f"{plural(len(target.unapplied), 'transaction')}, {plural(target.rows_back, 'row')}",
    )
    return make_plan(
        case.spec,
        case.context.target(table),
        why=why,
        stages=stages,
        facts=facts,
        rows_lost=rows_lost if needed else RowsLost.exact(0),
        ledger=ledger if needed else (),
        rows_back=target.rows_back if needed else 0,
        rows_maybe_twice=target.rows_maybe_twice if needed else 0,
        refused=target.refusals,
        requirements=(decided, found),
        warnings=(*target.warnings, *(each.why for each in beside)) if needed else (),
        disk_needed=size,
        attachments=attachments,
    )


def _uncounted(table: TableOnDisk) -> Iterator[Entry]:
    """Yield the rows behind those that `_txn` counts, if no WAL has them: the next writer overwrites them."""
    if table.directory.is_view:
        return  # a refresh may have replaced them
    for each in of_no_wal(table.path, table.metadata, behind_the_count(table.path, table.metadata, table.txn)):
        rows = RowsLost.at_most(len(each.times)) if len(each.times) < MOST_TIMES else RowsLost.unknown()
        why = f"{each.words} was never committed, or _txn is of before it: copy that directory to keep it"
        yield Entry(Fate.UNKNOWN, Evidence.ROWS_UNCOUNTED, None, rows, why)
