"""What waits in a suspended table's log: how far the server gets, what stops it, and what skipping that would lose."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.diagnosis.table import TableDiagnosis
from console.questdb.segment import EventType
from console.recovery.model import RowsLost
from console.table.gaps import Gap, gaps_of, most_rows
from console.table.log_scan import LogScan
from console.table.txn_set import TxnSet
from console.text import plural

_KINDS: Final = {
    EventType.DATA: "rows",
    EventType.SQL: "an UPDATE",
    EventType.TRUNCATE: "a TRUNCATE",
    EventType.MAT_VIEW_DATA: "rows of a view",
    EventType.MAT_VIEW_INVALIDATE: "a view's invalidation",
    EventType.UNREADABLE: "an event that cannot be decoded",
}
MOST_LISTED: Final = 200
_MOST_PLACED: Final = 2000  # transactions whose record is lost that are looked at one by one
_MOST_RUNS: Final = 10_000  # of transactions without a record
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Skipped:
    """One transaction that a skip would lose, as far as the disk still has it. Timestamps in the table's own unit.

    `seq_txn` is None where its record is lost, so that only the run it belongs to is known.
    """

    seq_txn: int | None
    wal: int
    segment: int
    segment_txn: int
    kind: str
    rows: int
    min_ts: int | None
    max_ts: int | None

    @property
    def place(self) -> str:
        return f"wal{self.wal}/{self.segment} transaction {self.segment_txn}"


@dataclass(frozen=True, slots=True)
class Blockage:
    """The first run of transactions that cannot be applied: `first`..`last`, and what it holds.

        applied 4   5 good   6 good   7 no event   8 torn   9 good   10 torn
                    good_before 2     first 7 ...... last 8          next_first 10
        RESUME WAL FROM TXN 9 skips 7 and 8: `rows` of 8 are on disk, 7 is `gone`

    `ahead` says that the server meets it while it looks ahead (ApplyWal2TableJob reads event details of the next
    transactions first, and applies several at once), so that it stops before the good ones in front of it; a record
    whose walId is 0 is passed over by that look and stops it exactly at itself. `good_before` transactions with
    `rows_before` rows lie in front of it. Of `gone` transactions of the run nothing is on disk: their rows are lost
    already. `structure` says why skipping would not help, empty where it does. `next_first` is the first of the next
    such run, None where there is none; `next_ahead` as `ahead`.
    """

    first: int
    last: int
    reason: str
    ahead: bool
    good_before: int
    rows_before: int
    skipped: tuple[Skipped, ...]
    rows: RowsLost
    gone: int
    on_disk: bool  # what is skipped is whole on disk: only the record is wrong
    structure: str
    next_first: int | None
    next_ahead: bool
    torn: bool  # the record and its event are whole, the columns are not

    @property
    def run(self) -> str:
        return f"seqTxn {self.first:,}" if self.first == self.last else f"seqTxn {self.first:,} to {self.last:,}"

    @property
    def resume_from(self) -> int:
        return self.last + 1


@dataclass(frozen=True, slots=True)
class Queue:
    """What lies between the applied and the last logged transaction."""

    applied: int
    logged: int
    lag_txns: int
    lag_rows: int
    blockage: Blockage | None
    suspect_rows: int = 0  # unapplied rows that have whole pages of zeros in some column


def queue_of(diagnosis: TableDiagnosis) -> Queue | None:
    """Return what waits, None where log or `_txn` cannot be read."""
    scan, area = diagnosis.facts.sequencer.scan, diagnosis.facts.txn.current
    if scan is None or area is None:
        return None
    queue = Queue(area.applied_txn, scan.max_txn, area.lag_txns, area.lag_rows, None)
    if scan.max_txn <= area.applied_txn:
        return queue
    suspects = diagnosis.wholeness.suspect_rows(diagnosis.facts.inventory)
    return replace(queue, blockage=_Finder(diagnosis, scan).find(), suspect_rows=suspects)


class _Finder:
    """Looks for the first run of bad transactions above the applied one."""

    def __init__(self, diagnosis: TableDiagnosis, scan: LogScan) -> None:
        self._diagnosis = diagnosis
        self._inventory = diagnosis.facts.inventory
        self._scan = scan
        self._applied = scan.applied
        self._named = scan.named.at(scan.within)
        self._txn: Index = self._named.number
        self._event: Index = self._named.event
        undecoded = self._inventory.events["type"][self._event] == EventType.UNREADABLE
        self._uncounted = self._inventory.events["beyond"][self._event]
        self._torn = diagnosis.wholeness.torn[self._event]
        bad = undecoded | self._uncounted | self._torn
        self._good = scan.valid - scan.nameless - TxnSet(self._txn[bad])

    def find(self) -> Blockage | None:
        first, last = self._next_run(self._applied)
        if not first:
            return None
        skipped, rows, gone = self._lost(first, last)
        before = self._event[self._txn < first]
        following, _ = self._next_run(last)
        return Blockage(
            first=first,
            last=last,
            reason=self._reason(first),
            ahead=self._ahead(first),
            good_before=first - self._applied - 1,
            rows_before=int(self._inventory.rows[before].sum()),
            skipped=skipped,
            rows=rows,
            gone=gone,
            on_disk=bool(skipped) and not self._ahead(first),
            structure=self._structure(first, last),
            next_first=following or None,
            next_ahead=self._ahead(following),
            torn=self._is_torn(first),
        )

    def _next_run(self, behind: int) -> tuple[int, int]:
        """Return the first run of bad transactions above `behind`, (0, 0) where there is none."""
        return next(self._good.gaps(behind + 1, self._scan.max_txn), (0, 0))

    def _ahead(self, txn: int) -> bool:
        """Return whether the record of `txn` has a form that the server writes."""
        return txn in self._scan.valid

    def _named_at(self, txn: int) -> int | None:
        """Return the place among what is named of the record of `txn`, None where it names nothing on disk."""
        at = int(np.searchsorted(self._txn, txn))
        return at if at < len(self._txn) and int(self._txn[at]) == txn else None

    def _is_torn(self, txn: int) -> bool:
        named = self._named_at(txn)
        return named is not None and bool(self._torn[named])

    def _reason(self, first: int) -> str:
        if not self._ahead(first):
            zeroed = any(low <= first <= high for low, high in self._scan.zeroed)
            if first > self._scan.whole_records:
                return f"the log ends before seqTxn {first:,}, which its header counts: the server reads zeros there"
            what = "is zero (walId 0)" if zeroed else "has no form that the server writes"
            return f"the record of seqTxn {first:,} {what}"
        place = self._scan.log.records(first, first)[0]
        named = f"wal{place['wal_id']}/{place['segment_id']} transaction {place['segment_txn']}"
        record = self._named_at(first)
        if record is None:
            return f"the record of seqTxn {first:,} names {named}, which is not on disk"
        if self._torn[record]:
            return f"the columns of {named} (seqTxn {first:,}) do not hold the rows that its event says"
        if self._uncounted[record]:
            return f"the header of the file with {named} (seqTxn {first:,}) does not count it"
        return f"the event of {named} (seqTxn {first:,}) cannot be decoded"

    # ---- what a skip would lose ------------------------------------------------------------------------------------

    def _lost(self, first: int, last: int) -> tuple[tuple[Skipped, ...], RowsLost, int]:
        """Return the transactions of the run that are on disk, their rows, and how many have nothing there."""
        named = (self._txn >= first) & (self._txn <= last)
        certain = dict(zip(self._event[named].tolist(), self._txn[named].tolist(), strict=True))
        sure, unsure = self._loose(first, last)
        places: dict[int, int | None] = {**certain, **dict.fromkeys(sure)}
        single = self._diagnosis.unapplied.seq_txn
        skipped = []
        for place, txn in sorted(places.items()):
            skipped.append(self._skipped(place, txn or int(single[place]) or None))
        rows = sum(each.rows for each in skipped)
        gone = max(0, last - first + 1 - len(skipped) - len(unsure))
        area = self._diagnosis.facts.txn.current
        others = (area.rows + area.lag_rows if area is not None else 0) + int(self._inventory.rows.sum())
        changes = bool((self._inventory.events["type"][[*places, *unsure]] == EventType.SQL).any())
        parts = [
            RowsLost.at_most(rows + others) if changes else RowsLost.exact(rows),
            RowsLost.at_most(int(self._inventory.rows[unsure].sum())),
        ]
        parts += [_undecoded_rows(gap, places, others) for gap in gaps_of(self._inventory)]
        return tuple(skipped), RowsLost.total(parts), gone

    def _loose(self, first: int, last: int) -> tuple[list[int], list[int]]:
        """Return the waiting transactions that no record names and that belong to the run, and those that may.

        Within a WAL transactions are sequenced in order: what is named before and after a loose one bounds its seqTxn.
        """
        named = np.zeros(len(self._inventory), np.int64)
        named[self._event] = self._txn
        waiting = self._diagnosis.unapplied.waiting | self._diagnosis.unapplied.unsure
        sure: list[int] = []
        unsure: list[int] = []
        events = self._inventory.events
        loose = np.flatnonzero(waiting & (named == 0)).tolist()
        if len(loose) > _MOST_PLACED:
            return [], loose
        runs = list(islice(self._scan.valid.gaps(self._applied + 1, self._scan.max_txn), _MOST_RUNS + 1))
        if len(runs) > _MOST_RUNS:
            return [], loose
        for place in loose:
            same = events["wal"] == events["wal"][place]
            known = np.flatnonzero(same & (named > 0))
            low = max(named[known[known < place]].tolist(), default=self._applied)
            high = min(named[known[known > place]].tolist(), default=self._scan.max_txn + 1)
            among = [run for run in runs if run[0] < high and run[1] > low]
            here = [run for run in among if run[0] <= last and run[1] >= first]
            if here:
                (sure if here == among else unsure).append(place)
        return sure, unsure

    def _skipped(self, place: int, txn: int | None) -> Skipped:
        event: Any = self._inventory.events[place]
        rows = int(self._inventory.rows[place])
        return Skipped(
            seq_txn=txn,
            wal=int(event["wal"]),
            segment=int(event["segment"]),
            segment_txn=int(event["txn"]),
            kind=_KINDS[EventType(int(event["type"]))],
            rows=rows,
            min_ts=int(event["min_ts"]) if rows else None,
            max_ts=int(event["max_ts"]) if rows else None,
        )

    def _structure(self, first: int, last: int) -> str:
        """Return why the table would stop again behind the run: it skips a change of the structure."""
        area = self._diagnosis.facts.txn.current
        version = area.structure_version if area is not None else 0
        changes = self._scan.changes.number
        version += int((changes < first).sum())
        skips = bool(((changes >= first) & (changes <= last)).any())
        behind = np.flatnonzero(self._txn > last)
        if len(behind):
            between = (changes > last) & (changes < self._txn[behind[0]])
            skips |= int(self._named.version[behind[0]]) > version + int(between.sum())
        if not skips:
            return ""
        return (
            f"a change of the table's structure is among {plural(last - first + 1, 'transaction')} from seqTxn "
            f"{first:,} on: what follows was written for the changed table and would not be applied"
        )


def _undecoded_rows(gap: Gap, places: Collection[int], others: int) -> RowsLost:
    """Return the rows of the events of `gap` that are among `places`; a statement may change `others`."""
    inside = sum(place in places for place in range(gap.first, gap.stop))
    if not inside:
        return RowsLost.exact(0)
    most = most_rows(gap, others)
    if most is None:
        return RowsLost.unknown()
    return RowsLost.exact(most) if gap.sure and inside == gap.stop - gap.first else RowsLost.at_most(most)


def skipped_lines(blockage: Blockage, show_time: Any) -> Iterator[str]:
    """Yield one line for each transaction that a skip would lose; of very many only the first."""
    for each in blockage.skipped[:MOST_LISTED]:
        number = f"seqTxn {each.seq_txn:,}" if each.seq_txn is not None else f"one of {blockage.run}"
        span = ""
        if each.min_ts is not None and each.max_ts is not None:
            span = f", {show_time(each.min_ts)} to {show_time(each.max_ts)}"
        what = plural(each.rows, "row") if each.rows else each.kind
        yield f"skipped: {number} ({each.place}): {what}{span}"
    more = blockage.skipped[MOST_LISTED:]
    if more:
        yield f"skipped: {len(more):,} more transactions with {plural(sum(each.rows for each in more), 'row')}"
    if blockage.gone:
        yield (
            f"of {plural(blockage.gone, 'transaction')} of {blockage.run} nothing is on disk any more: "
            "whatever rows they had are gone already, with or without this"
        )
