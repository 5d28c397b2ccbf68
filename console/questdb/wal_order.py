"""The order in which a log refers to each WAL's segments: the next transaction each time, or what else.

A place is segment id (low half) and segment transaction (high half) of a reference as one i64: so they lie in a record.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.formats.sequencer import LOG_RECORD
from console.questdb.ranges import RangeCollector

MAX_WALS: Final = 1 << 18
_STATE: Final = np.dtype([("wal_id", "<i4"), ("place", "<i8")])
_PLACE_OFFSET: Final = LOG_RECORD.at("segment_id")
_NEXT: Final = 1 << 32
_FEW: Final = 6
"""Wals that are picked out one by one; with more, sorting costs less."""

WAL_REFERENCE: Final = np.dtype([("wal_id", "<i4"), ("segment_id", "<i4"), ("segment_txn", "<i4")])
"""A reference to a segment transaction."""


class WalOrder:
    """Compares each reference with the one before it of the same wal, chunk by chunk.

    Memory is bounded by MAX_WALS, those with the lowest ids being forgotten first.
    """

    def __init__(self) -> None:
        self.repeated = RangeCollector()
        self.order = RangeCollector()
        self._wals = np.empty(0, _STATE)

    def last_references(self) -> NDArray[np.void]:
        """Return the last reference to each wal, by id, as WAL_REFERENCE."""
        wals = np.empty(len(self._wals), WAL_REFERENCE)
        wals["wal_id"] = self._wals["wal_id"]
        wals["segment_id"], wals["segment_txn"] = segment_of(self._wals["place"]), txn_of(self._wals["place"])
        return wals

    def feed(self, first: int, at: NDArray[np.int64] | None, wal: NDArray[np.int32], place: NDArray[np.int64]) -> None:
        """Take references in log order; each is transaction `first` + its entry of `at` (None: its index)."""
        if not len(wal):
            return
        if int(wal.max()) - int(wal.min()) < _FEW:
            self._feed_few(first, at, wal, place)
            return
        order, starts = _group(wal)
        ids = wal[starts] if order is None else wal[order[starts]]
        if order is not None:
            place = place.take(order)
        steps = np.empty_like(place)
        np.subtract(place[1:], place[:-1], out=steps[1:])
        steps[starts] = place[starts] - self._carried(ids)
        unusual = np.flatnonzero(steps != _NEXT)
        if len(unusual):
            where = unusual if order is None else order[unusual]
            before = place[unusual] - steps[unusual]
            self._judge(first, where if at is None else at[where], place[unusual], before)
        ends = np.append(starts[1:], len(place)) - 1
        state = np.empty(len(ids), _STATE)
        state["wal_id"], state["place"] = ids, place[ends]
        self._keep(state)

    def _feed_few(
        self, first: int, at: NDArray[np.int64] | None, wal: NDArray[np.int32], place: NDArray[np.int64]
    ) -> None:
        """Take references to few wals, which a log has at a time: picking out each wal's costs less than sorting."""
        low, high = int(wal.min()), int(wal.max())
        keys = wal.astype(np.uint8)  # so few of them differ in their lowest byte too
        state, odd = [], []
        for each in range(low, high + 1):
            of_it = None if low == high else keys == (each & 0xFF)
            mine = place if of_it is None else place.compress(of_it)
            if not len(mine):
                continue
            last = self._last(each)
            unusual = np.flatnonzero(mine[1:] - mine[:-1] != _NEXT) + 1
            if int(mine[0]) - last != _NEXT:
                unusual = np.concatenate([[0], unusual])
            if len(unusual):
                before = np.where(unusual > 0, mine[unusual - 1], last)
                where = unusual if of_it is None else np.flatnonzero(of_it)[unusual]
                odd.append((where, mine[unusual], before))
            state.append((each, int(mine[-1])))
        if odd:
            where, now, before = (np.concatenate(column) for column in zip(*odd, strict=True))
            self._judge(first, where if at is None else at[where], now, before)
        self._keep(np.array(state, _STATE))

    def _last(self, wal: int) -> int:
        """Return the place of the last reference to a wal, -1 for a wal not seen before."""
        at = int(self._wals["wal_id"].searchsorted(wal))
        if at == len(self._wals) or self._wals["wal_id"][at] != wal:
            return -1
        return int(self._wals["place"][at])

    def _judge(self, first: int, where: NDArray[np.int64], place: NDArray[np.int64], before: NDArray[np.int64]) -> None:
        """Say of each reference that is not simply the next what is wrong with it, if anything is."""
        segment, txn = segment_of(place), txn_of(place)
        last_segment, last_txn = segment_of(before), txn_of(before)
        same, newer = segment == last_segment, segment > last_segment
        if (newer & (txn == 0)).all():
            return  # each begins its wal's next segment
        self.repeated.add(np.sort(first + where[same & (txn == last_txn)]))
        self.order.add(np.sort(first + where[(same & (txn < last_txn)) | (segment < last_segment)]))

    def _carried(self, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the place of the last reference to each of `ids`, -1 for a wal not seen before."""
        carried = np.full(len(ids), -1, np.int64)
        at = np.searchsorted(self._wals["wal_id"], ids)
        known = at < len(self._wals)
        known[known] = self._wals["wal_id"][at[known]] == ids[known]
        carried[known] = self._wals["place"][at[known]]
        return carried

    def _keep(self, state: NDArray[np.void]) -> None:
        if np.array_equal(state["wal_id"], self._wals["wal_id"]):
            self._wals = state
            return
        at = np.searchsorted(self._wals["wal_id"], state["wal_id"])
        known = at < len(self._wals)
        known[known] = self._wals["wal_id"][at[known]] == state["wal_id"][known]
        self._wals[at[known]] = state[known]
        if not known.all():
            self._wals = np.insert(self._wals, at[~known], state[~known])
            if len(self._wals) > MAX_WALS:
                self._wals = self._wals[-MAX_WALS:].copy()


def places_of(records: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the places that `records` (RECORD or RECORD_V2) name, as a view."""
    both = np.dtype({"names": ["place"], "formats": ["<i8"], "offsets": [_PLACE_OFFSET], "itemsize": records.itemsize})
    found: NDArray[np.int64] = records.view(both)["place"]
    return found


def segment_of(place: NDArray[np.int64]) -> NDArray[np.int64]:
    return (place << 32) >> 32


def txn_of(place: NDArray[np.int64]) -> NDArray[np.int64]:
    return place >> 32


def _group(wal: NDArray[np.int32]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return a stable order by wal (None: it is in order already) and where each wal's group starts in it."""
    if (wal[1:] >= wal[:-1]).all():
        return None, np.concatenate([[0], np.flatnonzero(wal[1:] != wal[:-1]) + 1])
    low = int(wal.min())
    span = int(wal.max()) - low
    # numpy sorts integers of up to 16 bits by radix: linear, once per byte
    keys: NDArray[Any] = wal
    if span < 1 << 16:
        keys = (wal - low).astype(np.uint8 if span < 1 << 8 else np.uint16)
    order = np.argsort(keys, kind="stable")
    ordered = keys.take(order)
    return order, np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
