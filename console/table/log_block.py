"""Records of a log as arrays, one per field, and the places that they name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.txn_log import record_kinds
from console.questdb.wal_order import places_of, segment_of, txn_of
from console.table.inventory import Index, Inventory, Mask

MAX_STRUCTURE: Final = 1 << 31
_UNUSUAL: Final = -(1 << 63) | 0xF0000000  # bits no ordinary segment transaction and segment id have


def all_plain(records: NDArray[Any]) -> bool:
    """Return whether all of `records` refer to a segment transaction in a form, and of a structure, that can be."""
    version = records["structure_version"]
    return (
        int(records["wal_id"].min()) >= 1
        and not int(np.bitwise_or.reduce(places_of(records))) & _UNUSUAL
        and 0 <= int(version.min()) <= int(version.max()) < MAX_STRUCTURE
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Records one after another, the first of which is transaction `first`; one array per field.

    `valid`: in a form that the server writes. `ok`: also with a structure version as a table can have it.
    """

    first: int
    wal: NDArray[np.int32]
    segment: Index
    txn: Index
    version: Index
    commit_us: Index
    valid: Mask
    ok: Mask

    @classmethod
    def of(cls, first: int, records: NDArray[Any]) -> "Block":
        """Return the fields of `records` (RECORD or RECORD_V2)."""
        wal, place = np.ascontiguousarray(records["wal_id"]), places_of(records).copy()
        version = np.ascontiguousarray(records["structure_version"])
        segment, txn = segment_of(place), txn_of(place)
        if len(records) and all_plain(records):
            valid = ok = np.ones(len(records), np.bool_)
        else:
            rows, change, dropped = record_kinds(wal, segment, txn)
            valid = ((rows | change) & (version >= 0)) | dropped
            ok = valid & (version >= 0) & (version < MAX_STRUCTURE) & (~change | (version > 0))
        return cls(first, wal, segment, txn, version, np.ascontiguousarray(records["commit_us"]), valid, ok)

    @property
    def numbers(self) -> Index:
        return np.arange(self.first, self.first + len(self.wal))


@dataclass(frozen=True, slots=True)
class Named:
    """Records above the applied transaction that name an event on disk, ascending by `number`; parallel arrays.

    `ok` as in `Block`. Of an event that very many records name the first and the last of them may be all that is here.
    """

    number: Index
    event: Index
    version: Index
    commit_us: Index
    ok: Mask

    def __len__(self) -> int:
        return len(self.number)

    def at(self, which: Any) -> "Named":
        return Named(self.number[which], self.event[which], self.version[which], self.commit_us[which], self.ok[which])

    @classmethod
    def joined(cls, parts: Sequence["Named"]) -> "Named":
        empty = np.empty(0, np.int64)
        return cls(
            np.concatenate([empty, *(part.number for part in parts)]),
            np.concatenate([empty, *(part.event for part in parts)]),
            np.concatenate([empty, *(part.version for part in parts)]),
            np.concatenate([empty, *(part.commit_us for part in parts)]),
            np.concatenate([np.empty(0, np.bool_), *(part.ok for part in parts)]),
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """Structure changes above the applied transaction, ascending by `number`: the first MOST_CHANGES of them."""

    number: Index
    version: Index
    commit_us: Index
    ok: Mask

    def at(self, which: Any) -> "Changes":
        return Changes(self.number[which], self.version[which], self.commit_us[which], self.ok[which])


@dataclass(frozen=True, slots=True)
class Places:
    """Records by the place that they name, `place` as in `address`; parallel arrays, ascending by `number`."""

    number: Index
    wal: Index
    place: Index

    @classmethod
    def joined(cls, parts: Sequence["Places"]) -> "Places":
        empty = np.empty(0, np.int64)
        return cls(
            np.concatenate([empty, *(part.number for part in parts)]),
            np.concatenate([empty, *(part.wal for part in parts)]),
            np.concatenate([empty, *(part.place for part in parts)]),
        )


class WalPlaces:
    """One number for each WAL on disk."""

    def __init__(self, inventory: Inventory, begin: int) -> None:
        self.wals = np.array(inventory.wals, np.int64)
        self.value = np.full(len(self.wals), begin, np.int64)

    def rank(self, wal: NDArray[Any]) -> tuple[Index, Index]:
        """Return which of `wal` are on disk (indices), and the place of each of these."""
        if not len(self.wals):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        mine = np.flatnonzero((wal >= self.wals[0]) & (wal <= self.wals[-1]))
        rank = np.searchsorted(self.wals, wal[mine])
        here = self.wals[rank] == wal[mine]
        return mine[here], rank[here]

    def begin(self, rank: Index, value: Index) -> None:
        """Set the number of each of the WALs at `rank` that has none yet (-1): the first of its values."""
        unset = self.value[rank] < 0
        if unset.any():
            ranks, first = np.unique(rank[unset], return_index=True)
            self.value[ranks] = value[unset][first]

    def places(self) -> dict[int, tuple[int, int]]:
        """Return (segment, segment transaction) by WAL, of those that have an address (see `address`)."""
        found = zip(self.wals.tolist(), self.value.tolist(), strict=True)
        return {wal: (value >> 32, value & 0xFFFFFFFF) for wal, value in found if 0 <= value < NOWHERE}


NOWHERE: Final = (1 << 63) - 1


def address(segment: Index, txn: Index) -> Index:
    """Return one number per place in a WAL that ascends with segment and segment transaction."""
    return np.asarray(segment << 32 | txn)
