"""One scan of a sequencer's log, live or a copy: what its records are, which can be believed, and what they name.

    seqTxn     1..7          8         9          10        11          | header ends
    record     applied       wal1/0/4  wal9/0/0   zeros     wal1/0/4    | wal1/0/5
    on disk                  yes       no         -         yes, again  | yes
               recorded                                                 |
    proper                   x                              (repeated)  |
    recorded   x             x         x (lost)                         | x (beyond)

Kept are the records that name an event on disk; of the others there are sets of transactions, and counts. So a log of
409 MB costs some megabytes, whatever is wrong in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.log_check import LogCheck, LogChecker
from console.questdb.ranges import RangeCollector, Ranges
from console.questdb.txn_log import RECORD_V2, TxnLog
from console.questdb.wal_order import MAX_WALS
from console.table.inventory import Index, Inventory, Mask, segment_key
from console.table.log_block import Block, Changes, Named, WalPlaces
from console.table.log_order import Bounds, address_of, floor_of, keep_to_order, stand_anywhere, without_old
from console.table.log_records import MOST_NAMELESS, AboveRecords, BelowRecords, GoneSegment
from console.table.memory import TableMemory
from console.table.txn_set import TxnSet

_CHUNK: Final = 1 << 15
LOOK_AHEAD: Final = 200
"""Transactions whose events the server loads before it applies the first (cairo.wal.apply.look.ahead.txn.count)."""


@dataclass(frozen=True, slots=True)
class LogScan:
    """What a log says. Transactions are 1-based ids; "above" is above the applied one.

    What the server would take: `check` covers the records up to the header's end or the applied transaction, whichever
    is later. `zeroed` are the runs (first, last) of records whose walId is 0. `valid` are the transactions above, up to
    the header's end, whose record has a form that the server writes; `nameless` those of them whose event is not on
    disk, `proper` those that are a structure change or the first to name an event on disk, `repeated` those that name
    one again. `replayed` masks those of `named` whose event the records up to the applied one call applied. `named` are
    the records above that name an event on disk: all up to the header's end, and behind it those that are believed.
    `changes` are the structure changes above. `gone` are the first of the segments that nameless records name. `wanted`
    masks the segments on disk (Inventory.keys) that a record above names, `unread` those of which it names a
    transaction that is not there. `ahead` has the segment that is named first behind `reach`, `oldest_us` is the
    earliest commit above. `below` has the last reference to each WAL on disk (segment, transaction) up to the applied
    transaction. `below_missing` records up to the applied one are lost or zero: `below` does not tell all then.

    What can be believed, judged against the segments on disk: `recorded` are the transactions with such a record, `seq`
    has per event the transaction that names it (0: none), `believed` masks `named`, `lost` are those above whose event
    is not on disk. `named_below` counts the believable records up to the applied one, `structure_below` those of them
    that are structure changes, `changed` the structure changes above and the record of a DROP, `beyond` what is
    believed behind the header's end.
    """

    log: TxnLog
    max_txn: int
    applied: int
    whole_records: int
    check: LogCheck
    zeroed: tuple[tuple[int, int], ...]
    below_missing: int
    below: dict[int, tuple[int, int]]
    last_version: int | None
    valid: TxnSet
    proper: TxnSet
    repeated: Ranges
    named: Named
    changes: Changes
    gone: tuple[GoneSegment, ...]
    nameless: TxnSet
    wanted: Mask
    unread: Mask
    ahead: dict[int, int]
    oldest_us: int | None
    recorded: TxnSet
    seq: Index
    believed: Mask
    replayed: Mask
    lost: TxnSet
    named_below: int
    structure_below: int
    changed: int
    dropped: bool
    beyond: int

    @property
    def within(self) -> Mask:
        """Mask over `named`: those that the header counts."""
        return np.asarray(self.named.number <= self.max_txn)

    @property
    def end(self) -> int:
        """The last transaction: the header's, or a later one where records behind it are believed."""
        return (self.recorded.last() or 0) if self.beyond else self.max_txn

    @property
    def first_beyond(self) -> int | None:
        """The first transaction behind the header's end that is believed."""
        return self.recorded.within(max(self.max_txn, self.applied) + 1, self.whole_records).first()

    @property
    def cut_off(self) -> bool:
        """Whether the only record behind the header's end can be of a commit that a kill cut off: the header is last.

        Nobody was told of such a commit, and QuestDB writes its next transaction in the record's place.
        """
        return self.beyond == 1 and self.max_txn >= self.applied

    @property
    def change_cut_off(self) -> bool:
        """Whether that commit is a structure change. One of rows leaves next to no time between both."""
        return self.cut_off and (self.first_beyond or 0) in self.changes.number

    @property
    def reach(self) -> int:
        """The transaction that applying can get to at most: the last before the first that has no proper record."""
        return _reach(self.proper, self.valid, self.applied, self.max_txn)

    @property
    def settled(self) -> TxnSet:
        """The proper ones but for replays: such a record stands where another transaction was."""
        return self.proper - TxnSet(self.named.number[self.replayed])

    @property
    def unnamed(self) -> int:
        """How many of the transactions above the applied one, that the header counts, nothing on disk belongs to.

        Their record is lost, or it names a segment transaction that is not there, or one that is applied.
        """
        return max(0, self.max_txn - max(self.applied, 0)) - len(self.settled)

    @property
    def bad(self) -> int:
        """How many of the transactions above, up to the header's end, have no record that can be believed."""
        return max(0, self.max_txn - self.applied) - self.recorded.count(self.applied + 1, self.max_txn)

    @property
    def above(self) -> TxnSet:
        """The transactions above that have a record that can be believed, whatever the header says."""
        return self.recorded.within(self.applied + 1, self.whole_records)

    @property
    def covers_applied(self) -> bool:
        return self.named_below == self.applied

    @property
    def whole_above(self) -> bool:
        """Whether every transaction above, up to the header's end, has a record in a form that the server writes."""
        return self.max_txn > self.applied and len(self.valid) == self.max_txn - self.applied


def scan_log(
    log: TxnLog, inventory: Inventory, applied: int | None, *, dedup: bool, memory: TableMemory | None = None
) -> LogScan | None:
    """Return what `log` says, None where its records cannot be located or read.

    Where it is not known what is `applied`, no record is taken for one that waits. Where a table has `dedup` keys,
    records are believed in the order of their WALs alone. Applied records that `memory` has seen are not read again; it
    learns the others.
    """
    if not log.readable or log.header is None:
        return None
    try:
        top = max(0, log.header.max_txn)
        return _Scan(log, inventory, top, top if applied is None else applied, dedup=dedup).run(memory)
    except OSError:
        return None


class _Scan:
    """The passes over one log."""

    def __init__(self, log: TxnLog, inventory: Inventory, top: int, applied: int, *, dedup: bool) -> None:
        self._log, self._inventory = log, inventory
        self._top, self._applied, self._dedup = top, applied, dedup
        self._split = max(0, min(applied, log.whole_records))

    def run(self, memory: TableMemory | None) -> LogScan:
        log, top, applied = self._log, self._top, self._applied
        checker, below, start = self._begin(memory)
        checker.feed_from(log, start, self._split, below.feed)
        below_check = checker.finish(log.missing_parts(1, applied))
        if memory is not None:
            memory.keep(log, self._split, checker, below.memory(below_check.highest_wal))
        above, blank = AboveRecords(self._inventory, applied, top), RangeCollector()
        for at, records, empty in self._chunks():
            if empty:
                blank.add(np.arange(at, max(at, min(at + len(records), top + 1))))
                continue
            inside = max(0, min(len(records), top + 1 - at))
            if inside:
                checker.feed(at, records[:inside])
            above.feed(at, records)
        check = checker.finish(log.missing_parts(1, top))
        named = above.named()
        seq = without_old(self._inventory, below.seq, named.event)
        floor, nameless = floor_of(self._inventory, seq), above.nameless_places()
        free = not self._dedup and stand_anywhere(self._inventory, named, seq, applied, top)
        believed, lost = keep_to_order(self._inventory, named, nameless, floor, free=free)
        changes = above.changes()
        past = int(named.number[believed][-1]) if believed.any() else 0
        past = _going_on(log, changes, max(top, past, applied))
        changed = above.changed - above.changed.within(max(top, past) + 1, log.whole_records)
        recorded = below.recorded | TxnSet(named.number[believed]) | changed | above.ended
        if nameless is None:
            lost = self._nameless(named.at(believed), floor)
        recorded |= lost
        seq[named.event[believed]] = named.number[believed]
        kept = (named.number <= top) | believed
        return LogScan(
            log=log,
            max_txn=top,
            applied=applied,
            whole_records=log.whole_records,
            check=check,
            zeroed=_joined([*below_check.zeroed, *below_check.wal_zero], check, blank, self._split),
            below_missing=_lost(below_check),
            below=below.last.places(),
            last_version=_last_version(log, top),
            valid=above.valid,
            proper=above.proper,
            repeated=above.repeated.ranges(),
            named=named.at(kept),
            changes=changes.at(changes.number <= max(top, past)),
            gone=tuple(above.gone.values()),
            nameless=above.nameless,
            wanted=self._wanted(above.wanted, named.event[believed]),
            unread=above.unread,
            ahead=above.ahead(_reach(above.proper, above.valid, applied, top)),
            oldest_us=above.oldest_us,
            recorded=recorded,
            seq=seq,
            believed=believed[kept],
            replayed=~(believed | _behind(self._inventory, named, floor))[kept],
            lost=lost,
            named_below=below.named,
            structure_below=below.changes,
            changed=len(changed) + len(above.ended),
            dropped=bool(above.ended),
            beyond=recorded.count(max(top, applied) + 1, log.whole_records),
        )

    def _begin(self, memory: TableMemory | None) -> tuple[LogChecker, BelowRecords, int]:
        """Return what `memory` has of the records up to the applied one, and the first that it has not seen."""
        known = memory.resume(self._log, self._split) if memory is not None else None
        below = BelowRecords.remembered(self._inventory, known.below) if known is not None else None
        if known is None or below is None:
            return LogChecker(), BelowRecords(self._inventory), 1
        return known.checker, below, known.upto + 1

    def _chunks(self) -> Iterator[tuple[int, NDArray[Any], bool]]:
        """Yield the records above, by blocks, and whether a block is nothing but zeros.

        A start with a wild header grows the file by gigabytes of these: they are passed over at the speed of reading.
        """
        for at, records in self._log.chunks(_CHUNK, first=self._split + 1, last=self._log.whole_records):
            yield at, records, len(records) == _CHUNK and not records.view(np.uint8).any()

    def _nameless(self, believed: Named, floor: WalPlaces) -> TxnSet:
        """Return those whose event is not on disk and which contradict nothing, where they are too many to keep."""
        found, bounds = TxnSet(), Bounds(self._inventory, believed, floor)
        for block, data in self._references():
            data = data[block.ok[data]]
            event = self._inventory.locate(block.wal[data], block.segment[data], block.txn[data])
            data = data[event < 0]
            found.add(block.first + data[bounds.keep(block, data)])
        return found

    def _references(self) -> Iterator[tuple[Block, Index]]:
        """Yield the records above by blocks, and which of them name a segment transaction within the header's end."""
        for at, records, empty in self._chunks():
            if not empty and at <= self._top:
                block = Block.of(at, records)
                yield block, np.flatnonzero(block.valid & (block.wal >= 1) & (block.numbers <= self._top))

    def _wanted(self, wanted: Mask, event: Index) -> Mask:
        events = self._inventory.events[event]
        wanted[np.searchsorted(self._inventory.keys, segment_key(events["wal"], events["segment"]))] = True
        return wanted


def _behind(inventory: Inventory, named: Named, floor: WalPlaces) -> Mask:
    events = inventory.events[named.event]
    found = np.ones(len(named), np.bool_)
    mine, rank = floor.rank(events["wal"])
    found[mine] = address_of(events)[mine] > floor.value[rank]
    return found


def lost_rows(scan: LogScan, among: TxnSet) -> int | None:
    """Return the rows of the lost transactions `among`, None where the log does not say. Raises OSError.

    A V1 record does not say them. Of very many that may contradict one another some might be counted twice.
    """
    if not among:
        return 0
    check, applied = scan.check, scan.applied
    odd = check.repeated.after(applied).count or check.order.after(applied).count or len(check.wals) >= MAX_WALS
    if not scan.log.v2 or (odd and len(scan.nameless) > MOST_NAMELESS):
        return None
    total = 0
    for at, records in scan.log.chunks(_CHUNK, first=applied + 1, last=scan.max_txn):
        rows = records["row_count"][among.mask(at, at + len(records) - 1)]
        if (rows <= 0).any():
            return None
        total += int(rows.sum())
    return total


def _going_on(log: TxnLog, changes: Changes, last: int) -> int:
    """Return the last transaction, counted on from `last` by structure changes that raise the version by one each.

    What ALTER did last has no rows behind it, so that its record behind a header that is too low has no other witness.
    """
    version = _last_version(log, last) or 0
    for number, reached in zip(changes.number.tolist(), changes.version.tolist(), strict=True):
        if number == last + 1 and reached == version + 1:
            last, version = number, reached
    return last


def _reach(proper: TxnSet, valid: TxnSet, applied: int, top: int) -> int:
    """A record that names what is not there, or names it again, stops the server already when it looks ahead."""
    first = max(applied, 0) + 1
    end = next((low for low, _ in proper.gaps(first, top)), max(first, top + 1))
    seen_ahead = end in valid and end - first < LOOK_AHEAD
    return first - 1 if seen_ahead else end - 1


def _joined(
    below: list[tuple[int, int]], check: LogCheck, blank: RangeCollector, above: int
) -> tuple[tuple[int, int], ...]:
    """Return the runs of records whose walId is 0, ascending, neighbours joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted([*below, *check.zeroed.after(above), *check.wal_zero.after(above), *blank.ranges()]):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def _lost(check: LogCheck) -> int:
    """Return how many of the transactions of `check` have no valid record."""
    absent = sum(high - low + 1 for low, high in check.missing)
    return check.zeroed.count + check.wal_zero.count + check.invalid.count + absent


def _last_version(log: TxnLog, top: int) -> int | None:
    """Return the structure version of the last record that the header counts, whatever it is; None where not there."""
    records = log.records(top, top) if top else np.empty(0, RECORD_V2)
    return int(records["structure_version"][0]) if len(records) else None
