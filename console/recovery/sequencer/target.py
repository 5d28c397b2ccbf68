"""The sequencer that a table must have: everything that is written, and what it costs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.txn_log import RECORD_V2, STRUCTURE_CHANGE
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer import applied_prefix, order, structure
from console.recovery.sequencer.applied_records import CREATED, records_below
from console.recovery.sequencer.disk import LogSource, TableOnDisk
from console.recovery.sequencer.found import Found
from console.recovery.sequencer.loss import ledger_of, left_out, most_duplicates, unseen_refusals
from console.recovery.sequencer.sources import Sources
from console.recovery.sequencer.strangers import (
    misplaced_refusals,
    origin_notes,
    origin_refusals,
    twin_refusals,
    unproven_wals,
)
from console.table.filler import FillerRule, Runs, views_of
from console.table.inventory import Index, Mask, carries_rows
from console.table.ledger import Evidence, Ledger, RowsLost, rows_lost, rows_unapplied
from console.table.log_scan import LogScan
from console.table.names import Names, put_together, uncommitted
from console.table.torn import Wholeness
from console.table.txn_set import TxnSet
from console.table.txn_state import set_back
from console.table.unseen import unseen_columns
from console.text import plural

_MOST_RUNS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Base:
    """A log whose records at or below applied are copied: `runs` of them, from the log at `path`. Of a log in more
    pieces the lowest become filler, as what is lost."""

    path: Path
    runs: Runs


@dataclass(frozen=True, slots=True)
class SequencerTarget:
    """What the sequencer must be. Rows as in `Plan`; `evidence`, `warnings` and `choices` are sentences for it.

    The log has `max_txn` records: those of `base` up to `applied`, filler (zeros) where it has none, then `tail` (dtype
    RECORD_V2), which begins at transaction `tail_first`. `unapplied` are the events behind it, in order (-1: a
    structure change), for prediction.
    """

    version: int
    part_size: int
    created_us: int
    applied: int
    max_txn: int
    base: Base | None
    tail_first: int
    tail: NDArray[Any]
    structure: structure.Structure
    wal_index: int
    unapplied: Index
    left_out: Mask
    events_anew: Mapping[tuple[int, int], int]
    rows_back: int
    ledger: Ledger
    rows_maybe_twice: int
    evidence: tuple[str, ...]
    warnings: tuple[str, ...]
    refusals: tuple[Refusal, ...]

    @property
    def rows_lost(self) -> RowsLost:
        """The rows that are lost: the sum of the ledger."""
        return rows_lost(self.ledger)

    @property
    def rows_unapplied(self) -> RowsLost:
        """The rows on disk that are not applied, whether they come back or not."""
        return rows_unapplied(self.ledger)


def compute(
    table: TableOnDisk,
    sources: Sources,
    *,
    look: applied_prefix.Look | None,
    why_no_look: applied_prefix.Why,
    check: Callable[[Index], Wholeness],
    shared_keys: Callable[[Index], bool],
    contradicted: Callable[[Mask, Index], Mask],
) -> SequencerTarget:
    """Return the sequencer that `table` must have. Refusals are in the result; nothing is raised for what is missing.

    Events whose columns do not hold what they say (`check`), and those that no server would read, are left out and
    counted as lost.
    """
    inventory, highest = table.inventory, sources.highest_known
    known = _names(table, sources, look)
    decided = applied_prefix.decide(
        inventory, known, table.applied, table.structure, look, why_no_look, highest, lambda events: check(events).torn
    )
    applied, settled = decided.applied, not decided.refusals
    named, known = known, known.where_new(~applied)
    sources = sources.without(TxnSet(np.unique(named.seq[named.seq != known.seq])))
    wholeness = check(np.flatnonzero(~applied))
    unseen = (*table.unseen, *unseen_columns(table.path, wholeness))
    covered, (out, anew) = sources.cover(applied), left_out(inventory, known, decided, wholeness)
    unsaid = uncommitted(inventory, known)
    events = np.flatnonzero(~applied & ~out)
    shape = structure.settle(table, known, sources.evidence, sources.whole)
    left = known.lost | TxnSet(np.unique(known.seq[out & (known.seq > 0)]))
    wanted = _wanted(table, shape, events, left, shared_keys if settled else None)
    arranged = order.arrange(inventory, known, wanted)
    of_order = (*(arranged.refusals if settled else ()), *([shape.refusal] if shape.refusal else []))
    scan = sources.base.scan if sources.base is not None else None
    base = _base(sources.base, table.applied)
    views = views_of(table.path.parent, table.directory, table.applied)
    filler = FillerRule.of(views, base.runs if base else (), table.applied, max(table.highest_wal, highest or 0))
    tail_first, tail = _tail(table, known, applied, arranged, sources, filler)
    found = Found(
        inventory=inventory,
        names=known,
        decided=decided,
        wholeness=wholeness,
        unseen=unseen,
        out=out,
        back=events,
        empty=arranged.empty,
        dedup=table.metadata.has_dedup,
        covered=covered,
        present=table.txn.rows + table.txn.lag_rows,
        changes_lost=shape.lost,
        logged=covered or sources.logged,
        changes_unseen=not covered and not sources.changes_known,
        unproven={} if covered else unproven_wals(table, known, applied),
        contradicted=events[contradicted(applied, events)] if settled else events[:0],
    )
    ledger = ledger_of(found)
    gone = sum(entry.transactions or 0 for entry in ledger if entry.evidence is Evidence.RECORD_ALONE)
    places = len(arranged.event) + int(out.sum()) + gone
    model = sources.model
    return SequencerTarget(
        version=2 if model is not None and model.log.v2 else 1,
        part_size=model.log.part_size if model is not None else 0,
        created_us=sources.created_us,
        applied=table.applied,
        max_txn=table.applied + len(arranged.event),
        base=base,
        tail_first=tail_first,
        tail=tail,
        structure=shape,
        wal_index=max(table.highest_wal, highest or 0, filler.wal or 0),
        unapplied=arranged.event,
        left_out=out,
        events_anew={
            (wal, segment): high - low - int(unsaid[low:high].sum())
            for wal, segment, low, high in inventory.slices()
            if anew[low:high].any()
        },
        rows_back=int(inventory.rows[events].sum()),
        ledger=ledger,
        rows_maybe_twice=most_duplicates(found, scan, table.applied, len(arranged.event)),
        evidence=decided.evidence,
        warnings=(
            *origin_notes(table.origins),
            *(entry.why for entry in ledger if entry.why),
            *_header_notes(scan, table, places),
            *_lag_notes(table),
            *known.left_out,
            *filler.warnings,
            *_order_notes(arranged),
            *shape.notes,
        ),
        refusals=(*_refusals(table, sources, found, of_order),),
    )


def _wanted(
    table: TableOnDisk,
    shape: structure.Structure,
    events: Index,
    left: TxnSet,
    shared_keys: Callable[[Index], bool] | None,
) -> order.Wanted:
    """Return what is to be ordered; without `shared_keys` it is not known which events are applied."""
    changes, dedup = bool(shape.key_changes), table.metadata.has_dedup
    return order.Wanted(
        events=events,
        applied=table.applied,
        structure_applied=table.structure,
        structure_target=shape.version,
        left_out=left,
        dedup=dedup or changes,
        shared_keys=changes or (dedup and shared_keys is not None and shared_keys(events)),
        key_changes=shape.key_changes,
    )


def _refusals(table: TableOnDisk, sources: Sources, found: Found, of_order: Iterable[Refusal]) -> Iterator[Refusal]:
    """Yield what stands against a repair: the state of the table first, then whose WAL it is, then its order."""
    inventory, decided = found.inventory, found.decided
    yield from _set_back(table, sources)
    yield from decided.refusals
    yield from unseen_refusals(found.unseen)
    own = max(inventory.wals, default=0)
    yield from origin_refusals(table.origins, own, sources.handed_out, covered=found.covered)
    yield from misplaced_refusals(table, sources.scans, decided.applied)
    yield from twin_refusals(inventory, found.names, decided.applied)
    yield from of_order
    if sources.base is not None and sources.base.scan is not None and sources.base.scan.dropped:
        reason, instead = "the log ends with the table's DROP", "leave it: the table was dropped on purpose"
        yield Refusal(RefusalCode.TABLE_DROPPED, reason, instead)


def _names(table: TableOnDisk, sources: Sources, look: applied_prefix.Look | None) -> Names:
    """Return what logs and the server's log lines say; lines of another time than the table's state are left out."""
    scans = [(s.name, s.scan) for s in sources.evidence if s.scan is not None]
    without = put_together(table.inventory, table.applied, scans)
    lines = sources.lines
    if lines is None or not len(lines.seq):
        return without
    known = put_together(table.inventory, table.applied, scans, lines, sources.lines_name)
    reason = ""
    if int(lines.seq.max()) < table.applied:
        reason = f"{sources.lines_name} ends before the transactions that the table has applied"
    elif look is not None and len(applied_prefix.contradicted(table.inventory, known, table.applied, look)):
        reason = f"{sources.lines_name} contradicts the rows in the table"
    return replace(without, left_out=(*without.left_out, reason)) if reason else known


def _set_back(table: TableOnDisk, sources: Sources) -> list[Refusal]:
    how = set_back(table.path, table.metadata, table.txn_file, table.inventory, sources.scans)
    if not how:
        return []
    return [
        Refusal(
            RefusalCode.TXN_SET_BACK,
            f"_txn says seqTxn {table.txn.seq_txn:,}, and {how}: "
            "which transactions are in the table's files already is not certain",
            "capture-evidence, then restore _txn from a copy that was made at the crash",
        )
    ]


def _base(source: LogSource | None, applied: int) -> Base | None:
    if source is None or source.scan is None:
        return None
    runs = source.scan.recorded.last_runs(1, applied, _MOST_RUNS)
    return Base(source.path, runs) if runs else None


def _tail(
    table: TableOnDisk, known: Names, applied_events: Mask, arranged: order.Order, sources: Sources, filler: FillerRule
) -> tuple[int, NDArray[Any]]:
    """Return the records from `tail_first` on: what is not applied, preceded by those below that are made anew."""
    inventory = table.inventory
    event = arranged.event
    tail = np.zeros(len(event), RECORD_V2)
    tail["structure_version"] = arranged.version
    is_event = event >= 0
    rows = inventory.events[np.maximum(event, 0)] if len(inventory) else np.zeros(len(event), inventory.events.dtype)
    for name, source in (("wal_id", "wal"), ("segment_id", "segment"), ("segment_txn", "txn")):
        tail[name] = np.where(is_event, rows[source], STRUCTURE_CHANGE)
    named_us = known.commit_us[np.maximum(event, 0)] if len(inventory) else np.zeros(len(event), np.int64)
    commit = np.where(is_event, np.where(named_us > 0, named_us, rows["written_us"]), 0)
    for at in np.flatnonzero(~is_event).tolist():
        match = np.flatnonzero(known.changes.version == arranged.version[at])
        commit[at] = known.changes.commit_us[match[-1]] if len(match) else 0
    tail["commit_us"] = np.maximum.accumulate(np.maximum(commit, CREATED))
    data = is_event & carries_rows(rows)
    tail["min_ts"] = np.where(data, rows["min_ts"], np.where(is_event, np.iinfo(np.int64).max, 0))
    tail["max_ts"] = np.where(data, rows["max_ts"], np.where(is_event, -1, 0))
    tail["row_count"] = np.where(data, rows["end"] - rows["start"], 0)
    below = records_below(table, known, applied_events, sources.base, filler, last=not len(event))
    return table.applied + 1 - len(below), np.concatenate((below, tail))


def _header_notes(scan: LogScan | None, table: TableOnDisk, places: int) -> list[str]:
    """Say that the log's header counts more than `places` transactions behind the applied ones."""
    beyond = max(0, scan.max_txn - table.applied - places) if scan is not None else 0
    if not beyond:
        return []
    return [
        f"the header counts {plural(beyond, 'transaction')} more than records and segments hold: it is wrong, or "
        "the power loss took them; nothing of them is on disk"
    ]


def _order_notes(arranged: order.Order) -> list[str]:
    if not arranged.chosen:
        return []
    return ["the order between writers was chosen by row time; any order gives the same rows, as each only adds some"]


def _lag_notes(table: TableOnDisk) -> list[str]:
    txn = table.txn
    if not txn.lag_txns:
        return []
    if table.applied < txn.applied_txn:
        return [
            f"_txn counts {plural(txn.lag_txns, 'lag transaction')} with {plural(txn.lag_rows, 'row')}, and its "
            f"checksum does not fit: the next start sets both to 0 and applies from transaction {txn.seq_txn + 1:,} on"
        ]
    if not txn.lag_rows:
        return [
            f"_txn counts {plural(txn.lag_txns, 'lag transaction')} without a row (a defect of 9.1.0's conversions): "
            f"the server takes transactions up to {txn.applied_txn:,} for applied, and skips any that are not"
        ]
    return [
        f"{plural(txn.lag_txns, 'transaction')} with {plural(txn.lag_rows, 'row')} lie in the table's lag: they count "
        "as applied, as for the server, and show with the next commit"
    ]
