"""Records of a log, block by block: what is kept of those that can name an event on disk, and counts of the others.

No pass holds more than one block of records. What grows is bounded by the events on disk, not by the log.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.ranges import RangeCollector
from console.questdb.txn_log import STRUCTURE_CHANGE, TABLE_DROPPED
from console.table.inventory import Index, Inventory, segment_key
from console.table.log_block import NOWHERE, Block, Changes, Named, Places, WalPlaces, address, all_plain
from console.table.memory import BelowMemory
from console.table.txn_set import TxnSet

MOST_CHANGES: Final = 1 << 17
"""Structure changes above the applied transaction that are kept; more are only counted."""
MOST_REPEATS: Final = 1 << 19
"""Records above the applied transaction that are kept although the log has other ones of the same event."""
MOST_NAMELESS: Final = 1 << 17
"""Records above the applied transaction that are kept although they name nothing on disk; of more there are counts."""
_LISTED: Final = 20


@dataclass(slots=True)
class GoneSegment:
    """Records within the header's end that name transactions of one segment that are not on disk; first and count."""

    wal: int
    segment: int
    number: int
    txn: int
    count: int


class BelowRecords:
    """What the records up to the applied transaction say: `seq` per event, and the last reference to each WAL."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self.recorded = TxnSet()
        self.named = self.changes = 0
        self.seq = np.zeros(len(inventory), np.int64)
        self.last = WalPlaces(inventory, -1)

    @classmethod
    def remembered(cls, inventory: Inventory, memory: BelowMemory) -> "BelowRecords | None":
        """Return what `memory` has of them, None where something came to disk since that they may name.

        That is a segment, or more transactions of one: a log is read later than the segments, and may be ahead of them.
        """
        made = cls(inventory)
        new = inventory.keys[~np.isin(inventory.keys, memory.keys)].tolist()
        if any(key >> 30 <= memory.highest and key <= _last_key(memory, key >> 30) for key in new):
            return None
        if _have_grown(inventory, memory):
            return None
        made.recorded = memory.recorded.copy()
        made.named, made.changes = memory.counts
        number, wal, segment, txn = memory.named.T
        event = inventory.locate(wal, segment, txn)
        made.seq[event[event >= 0]] = number[event >= 0]
        made.last.value[:] = [memory.last.get(each, -1) for each in made.last.wals.tolist()]
        return made

    def memory(self, highest: int) -> BelowMemory:
        """Return what to remember of them; `highest` is the highest WAL that they name."""
        events = np.flatnonzero(self.seq > 0)
        rows = self._inventory.events[events]
        named = np.stack(
            [self.seq[events], *(rows[name].astype(np.int64) for name in ("wal", "segment", "txn"))], axis=1
        )
        last = dict(zip(self.last.wals.tolist(), self.last.value.tolist(), strict=True))
        counts = (self.named, self.changes)
        here = self._inventory
        return BelowMemory(self.recorded.copy(), counts, named, last, here.keys, here.counts, highest)

    def feed(self, first: int, records: NDArray[Any]) -> None:
        if all_plain(records):
            self.recorded.add_run(first, first + len(records) - 1)
            self.named += len(records)
            mine, rank = self.last.rank(records["wal_id"])
            if len(mine):
                self._refer(first + mine, rank, Block.of(first, records[mine]))
            return
        block = Block.of(first, records)
        self.recorded.add_mask(first, block.ok)
        self.named += int(block.ok.sum())
        self.changes += int((block.ok & (block.wal == STRUCTURE_CHANGE)).sum())
        mine, rank = self.last.rank(block.wal)
        self._refer(first + mine, rank, Block.of(first, records[mine]))

    def _refer(self, numbers: Index, rank: Index, block: Block) -> None:
        """Take the records of WALs on disk, these at `rank`; `numbers` are their transactions."""
        self.last.value[rank[block.valid]] = address(block.segment, block.txn)[block.valid]
        event = self._inventory.locate(block.wal, block.segment, block.txn)
        named = block.ok & (event >= 0)
        self.seq[event[named]] = numbers[named]


def _last_key(memory: BelowMemory, wal: int) -> int:
    """Return the key of the last segment of a WAL that is remembered; of one that was not on disk, above all others."""
    last = memory.last.get(wal)
    return NOWHERE if last is None else -1 if last < 0 else int(segment_key(wal, last >> 32))


def _have_grown(inventory: Inventory, memory: BelowMemory) -> bool:
    """Return whether a segment has transactions on disk that it did not have then, and that the records may name."""
    still = np.isin(memory.keys, inventory.keys)
    keys, had = memory.keys[still], memory.counts_of[still]
    grown = inventory.counts[np.searchsorted(inventory.keys, keys)] > had
    for key, count in zip(keys[grown].tolist(), had[grown].tolist(), strict=True):
        last = memory.last.get(key >> 30, -1)
        if last >= 0 and (int(segment_key(key >> 30, last >> 32)), last & 0xFFFFFFFF) >= (key, count):
            return True
    return False


class AboveRecords:
    """What the records above the applied transaction say, those behind the header's end `top` included."""

    def __init__(self, inventory: Inventory, applied: int, top: int) -> None:
        self._inventory, self._top = inventory, top
        self._first = self._proper_to = max(applied, 0) + 1
        self._end: int | None = None  # the first transaction without a proper record
        self._ahead, self._behind = WalPlaces(inventory, -1), WalPlaces(inventory, -1)
        self.valid, self.proper = TxnSet(), TxnSet()
        self.changed, self.ended = TxnSet(), TxnSet()  # ok structure changes; ok records of a DROP within
        self.repeated = RangeCollector()
        self.wanted, self.unread = np.zeros(len(inventory.keys), np.bool_), np.zeros(len(inventory.keys), np.bool_)
        self.gone: dict[tuple[int, int], GoneSegment] = {}
        self.nameless = TxnSet()
        self._nameless: list[Places] = []
        self._nameless_held = 0
        self.oldest_us: int | None = None
        self._seen = np.zeros(len(inventory), np.bool_)
        self._named: list[Named] = []
        self._changes: list[Changes] = []
        self._held = self._changes_held = 0
        self.whole = True  # nothing that names an event was dropped

    def feed(self, first: int, records: NDArray[Any]) -> None:
        block = Block.of(first, records)
        if not block.valid.any():
            return
        inside = block.numbers <= self._top
        here = block.valid & inside
        self.valid.add_mask(first, here)
        self.proper.add_mask(first, here & (block.wal < 0))
        self.ended.add_mask(first, here & block.ok & (block.wal == TABLE_DROPPED))
        if here.any():
            oldest = int(block.commit_us[here].min())
            self.oldest_us = oldest if self.oldest_us is None else min(self.oldest_us, oldest)
        data = np.flatnonzero(block.valid & (block.wal >= 1))
        event = self._inventory.locate(block.wal[data], block.segment[data], block.txn[data])
        self._keep_named(block, data[event >= 0], event[event >= 0])
        self._keep_changes(block)
        self._count(block, data[inside[data]], event[inside[data]])

    def named(self) -> Named:
        self._named = [Named.joined(self._named)]
        return self._named[0]

    def changes(self) -> Changes:
        empty, parts = np.empty(0, np.int64), self._changes
        return Changes(
            np.concatenate([empty, *(part.number for part in parts)]),
            np.concatenate([empty, *(part.version for part in parts)]),
            np.concatenate([empty, *(part.commit_us for part in parts)]),
            np.concatenate([np.empty(0, np.bool_), *(part.ok for part in parts)]),
        )

    def ahead(self, reach: int) -> dict[int, int]:
        """Return the segment of each WAL on disk that is named first behind `reach`: where applying ends, or begins."""
        places = self._ahead if reach < self._first else self._behind
        found = zip(places.wals.tolist(), places.value.tolist(), strict=True)
        return {wal: segment for wal, segment in found if segment >= 0}

    def nameless_places(self) -> Places | None:
        """Return what can be believed of the records that name nothing on disk, None where they are too many."""
        return Places.joined(self._nameless) if self._nameless_held <= MOST_NAMELESS else None

    def _keep_named(self, block: Block, at: Index, event: Index) -> None:
        if not len(at):
            return
        part = Named(block.first + at, event, block.version[at], block.commit_us[at], block.ok[at])
        self._named.append(part)
        self._held += len(part)
        if self._held > 2 * len(self._inventory) + MOST_REPEATS:
            kept = _first_and_last(self.named())
            self._named, self._held, self.whole = [kept], len(kept), False

    def _keep_changes(self, block: Block) -> None:
        change = block.valid & (block.wal == STRUCTURE_CHANGE)
        if not change.any():
            return
        ok = change & block.ok
        self.changed.add_mask(block.first, ok)
        at = np.flatnonzero(change)[: MOST_CHANGES - self._changes_held]
        self._changes_held += len(at)
        self._changes.append(Changes(block.first + at, block.version[at], block.commit_us[at], block.ok[at]))

    def _count(self, block: Block, at: Index, event: Index) -> None:
        """Count what names a transaction, within the header's end: on disk (`event`), or not (-1)."""
        if not len(at):
            return
        keys = np.asarray(segment_key(block.wal[at], block.segment[at]))
        which = np.minimum(np.searchsorted(self._inventory.keys, keys), max(0, len(self._inventory.keys) - 1))
        if len(self._inventory.keys):
            found = self._inventory.keys[which] == keys
            self.wanted[which[found]] = True
            self.unread[which[found & (event < 0)]] = True
        there, gone = event >= 0, event < 0
        self._first_of_each(block.first + at[there], event[there])
        self._count_gone(block, at[gone], keys[gone])
        mine, rank = self._ahead.rank(block.wal[at])
        self._ahead.begin(rank, block.segment[at[mine]])
        if self._end is None:
            last = min(self._top, block.first + len(block.wal) - 1)
            self._end = next((low for low, _ in self.proper.gaps(self._proper_to, last)), None)
            self._proper_to = last + 1
        if self._end is not None:
            behind = block.first + at[mine] >= self._end
            self._behind.begin(rank[behind], block.segment[at[mine[behind]]])

    def _first_of_each(self, numbers: Index, event: Index) -> None:
        events, at = np.unique(event, return_index=True)
        fresh = at[~self._seen[events]]
        self._seen[events] = True
        first = np.zeros(len(numbers), np.bool_)
        first[fresh] = True
        self.proper.add(numbers[first])
        self.repeated.add(numbers[~first])

    def _count_gone(self, block: Block, at: Index, keys: Index) -> None:
        if not len(at):
            return
        self.nameless.add(block.first + at)
        ok = at[block.ok[at]]
        self._nameless_held += len(ok)
        if self._nameless_held > MOST_NAMELESS:
            self._nameless.clear()
        else:
            part = Places(block.first + ok, block.wal[ok].astype(np.int64), address(block.segment[ok], block.txn[ok]))
            self._nameless.append(part)
        known = {int(segment_key(*place)): each for place, each in self.gone.items()}
        if len(known) < _LISTED:
            _, first = np.unique(keys, return_index=True)
            for index in np.sort(first).tolist():
                if int(keys[index]) not in known and len(known) < _LISTED:
                    place = at[index]
                    made = GoneSegment(
                        int(block.wal[place]), int(block.segment[place]), block.first + int(place),
                        int(block.txn[place]), 0,
                    )  # fmt: skip
                    known[int(keys[index])] = self.gone[made.wal, made.segment] = made
        for key, each in known.items():
            each.count += int((keys == key).sum())


def _first_and_last(named: Named) -> Named:
    """Return of each event the first and the last record."""
    _, first = np.unique(named.event, return_index=True)
    _, last = np.unique(named.event[::-1], return_index=True)
    return named.at(np.unique(np.concatenate((first, len(named) - 1 - last))))
