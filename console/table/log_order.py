"""Which records keep to the order of their WAL, so that they can be believed: addresses rise with the transaction."""

import bisect
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.table.inventory import Index, Inventory, Mask, any_order
from console.table.log_block import NOWHERE, Block, Named, Places, WalPlaces, address
from console.table.txn_set import TxnSet

_BLOCK: Final = 1 << 16


def longest_rising(values: Index) -> Mask:
    """Return which of `values` make a longest strictly rising subsequence.

    What contradicts nothing is in every such one; only the others cost a step of Python each.
    """
    keep = undisputed(values)
    rest = np.flatnonzero(~keep)
    if len(rest):
        rest = rest[np.append(np.diff(values[rest]) != 0, True)]
        keep[rest[_chain(values[rest])]] = True
    return keep


def undisputed(values: Index) -> Mask:
    """Return which values are above all before them and below all after them."""
    if len(values) < 2:
        return np.ones(len(values), np.bool_)
    found = np.ones(len(values), np.bool_)
    found[1:] = values[1:] > np.maximum.accumulate(values)[:-1]
    found[:-1] &= values[:-1] < np.minimum.accumulate(values[::-1])[::-1][1:]
    return found


def _chain(values: Index) -> Index:
    """Return the indices of a longest strictly rising subsequence: patience sorting, O(n log n)."""
    tops: list[int] = []
    ends: list[int] = []
    before = np.full(len(values), -1, np.int64)
    for start in range(0, len(values), _BLOCK):
        for index, value in enumerate(values[start : start + _BLOCK].tolist(), start):
            place = bisect.bisect_left(tops, value)
            if place:
                before[index] = ends[place - 1]
            if place == len(tops):
                tops.append(value)
                ends.append(index)
            else:
                tops[place], ends[place] = value, index
    chain = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(at)
        at = int(before[at])
    return np.array(chain[::-1], np.int64)


def keep_to_order(
    inventory: Inventory, named: Named, nameless: Places | None, floor: WalPlaces, *, free: bool
) -> tuple[Mask, TxnSet]:
    """Return what keeps to the order of its WAL (rule 6 of docs/formats.md), behind what is below the applied one.

    Where records do not, and that is not `free`, the longest rising run is believed and what contradicts it is not. The
    mask is over `named`; the set has the believed ones of `nameless`.
    """
    rows = inventory.events[named.event]
    own = Places(named.number, rows["wal"].astype(np.int64), address_of(rows))
    every = own if nameless is None else Places.joined([own, nameless])
    keep = np.concatenate((named.ok, np.ones(len(every.number) - len(named), np.bool_)))
    mine, rank = floor.rank(every.wal)
    keep[mine] &= every.place[mine] > floor.value[rank]
    if not free:
        at = np.flatnonzero(keep)
        at = at[np.lexsort((every.number[at], every.wal[at]))]
        keep[at] = longest_rising(_ranks(every.wal[at], every.place[at]))
    return keep[: len(named)], TxnSet(every.number[len(named) :][keep[len(named) :]])


def floor_of(inventory: Inventory, seq: Index) -> WalPlaces:
    """Return the address of the last event of each WAL that a record up to the applied one names (`seq` per event)."""
    floor = WalPlaces(inventory, -1)
    for _, first, stop in inventory.by_wal():
        below = np.flatnonzero(seq[first:stop] > 0)
        if len(below):
            last = inventory.events[first + int(below[-1])].reshape(1)
            _, rank = floor.rank(last["wal"])
            floor.value[rank] = address_of(last)
    return floor


def without_old(inventory: Inventory, seq: Index, above: Index) -> Index:
    """Return `seq` without the records of a purged WAL whose id was given out again, for events named anew `above`.

    record     1        2        3        | 4        5        | 6              applied are 1 to 5
    names      wal1/0/0 wal1/0/1 wal1/0/2 | wal1/0/0 wal1/0/1 | wal1/0/2       the third is an old one's
    """
    kept = seq.copy()
    again = np.zeros(len(inventory), np.bool_)
    again[above] = True
    for _, first, stop in inventory.by_wal() if again.any() else ():
        mine = kept[first:stop]
        mine[again[first:stop] & (mine < np.maximum.accumulate(mine))] = 0
    return kept


def stand_anywhere(inventory: Inventory, named: Named, seq: Index, applied: int, top: int) -> bool:
    """Return whether each transaction above is named once, may stand anywhere, and nothing else is on disk."""
    if len(named) != top - applied or not named.ok.all() or named.number[-1:].tolist() not in ([], [top]):
        return False
    events = np.concatenate((np.flatnonzero(seq > 0), named.event))
    once = len(np.unique(events)) == len(inventory) == len(events)
    return once and any_order(inventory.events[named.event])


class Bounds:
    """Where a record that names no event on disk can stand: between the believed ones of its WAL, by both orders."""

    def __init__(self, inventory: Inventory, believed: Named, floor: WalPlaces) -> None:
        self._floor = floor
        mine = inventory.events[believed.event]
        order = np.argsort(mine["wal"], kind="stable")
        self._wal, self._number = mine["wal"][order].astype(np.int64), believed.number[order]
        self._place = address_of(mine)[order]

    def keep(self, block: Block, at: Index) -> Mask:
        """Return which of the records at `at` in `block` stand there, and contradict no other one of the block."""
        wals, places = block.wal[at], address(block.segment[at], block.txn[at])
        keep = np.ones(len(at), np.bool_)
        mine, rank = self._floor.rank(wals)
        keep[mine] = places[mine] > self._floor.value[rank]
        for wal in np.unique(wals[mine]).tolist():
            theirs = mine[wals[mine] == wal]
            low, high = np.searchsorted(self._wal, (wal, wal + 1))
            known = np.concatenate(([-1], self._place[low:high], [NOWHERE]))
            after = np.searchsorted(self._number[low:high], block.first + at[theirs])
            keep[theirs] &= (places[theirs] > known[after]) & (places[theirs] < known[after + 1])
        kept = np.flatnonzero(keep)
        kept = kept[np.argsort(wals[kept], kind="stable")]
        keep[kept] = undisputed(_ranks(wals[kept], places[kept]))
        return keep


def address_of(events: NDArray[Any]) -> Index:
    return address(events["segment"].astype(np.int64), events["txn"].astype(np.int64))


def _ranks(wal: NDArray[Any], place: Index) -> Index:
    """Return one number for each place that ascends with WAL and place, the same for the same."""
    values = np.zeros(len(wal), np.int64)
    ascending = np.lexsort((place, wal))
    values[ascending[1:]] = np.cumsum((np.diff(wal[ascending]) != 0) | (np.diff(place[ascending]) != 0))
    return values
