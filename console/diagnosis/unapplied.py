"""Which segment transactions are in the table, which wait, and how sure that is: the cheap decision, from logs alone.

Within one WAL the transactions are applied in order, so what a log's records name up to the applied transaction splits
each WAL in two. Where no log, nor a copy of one, says where the split is, only bounds are given: nothing is guessed.
(Deeper evidence, such as comparing rows, is the recovery's business.)
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.layout import SEQUENCER
from console.questdb.segment import EventType
from console.table.inventory import Index, Inventory, Mask, carries_rows, segment_key
from console.table.log_order import address_of
from console.table.log_scan import LogScan, positions


class State(IntEnum):
    """What is known of one segment transaction."""

    APPLIED = 0
    WAITING = 1  # committed and not applied: its rows will be in the table
    UNNAMED = 2  # the last of its writer, named by no record of a whole log: written, perhaps never acknowledged
    UNSURE = 3  # applied or not: nothing on disk that was read tells
    IN_LAG = 4  # applied to the table's lag alone: in no SELECT (told by the salvage, never by `decide`)


@dataclass(frozen=True, slots=True)
class Unapplied:
    """The decision on one table. `state` and `seq_txn` (0: not known) are aligned with the inventory's events.

    `source` names the directory of the log that was believed, empty where there was none. `exact` says that the waiting
    ones are just these; else `why` says what is open. `maybe_extra` of the waiting ones may never have been
    acknowledged. Of `lost` transactions that the log counts nothing is left on disk.
    """

    state: NDArray[np.int8]
    seq_txn: Index
    source: str
    exact: bool
    why: str
    maybe_extra: int = 0
    lost: int = 0

    @property
    def waiting(self) -> Mask:
        """Mask of the transactions that wait to be applied."""
        return np.asarray(self.state == State.WAITING)

    @property
    def unsure(self) -> Mask:
        """Mask of those that may or may not be applied."""
        return np.asarray(self.state == State.UNSURE)

    def rows(self, inventory: Inventory) -> int | None:
        """Return the rows that wait; None where that cannot be known."""
        if not self.exact:
            return None
        if (inventory.events["type"][self.waiting] == EventType.UNREADABLE).any():
            return None
        return int(inventory.rows[self.waiting].sum())

    def bound(self, inventory: Inventory) -> int:
        """Return the most rows that can wait."""
        return int(inventory.rows[self.waiting | self.unsure].sum())


def decide(
    inventory: Inventory,
    applied: int | None,
    sources: tuple[tuple[str, LogScan], ...],
    structure_version: int,
    newest: int | None = None,
) -> Unapplied:
    """Return the decision. `sources` are logs by directory name, the most trusted first; `applied` is `_txn`'s.

    `structure_version` is that of `_txn`: the number of structure changes among the applied transactions; `newest` is
    the newest timestamp in the table, None where it has no rows.
    """
    none = np.zeros(len(inventory), np.int64)
    if not len(inventory):
        lost = next((scan.unnamed for _, scan in sources if applied is not None and scan.max_txn >= applied), 0)
        named = any(applied is not None and scan.max_txn > applied for _, scan in sources)
        why = _uncounted(inventory, named=named)
        return Unapplied(np.zeros(0, np.int8), none, sources[0][0] if sources else "", not why, why, lost=lost)
    if applied is None:
        state = np.full(len(inventory), State.UNSURE, np.int8)
        why = "_txn cannot be read, so nothing says what is applied"
        return Unapplied(state, none, "", False, why)
    for name, scan in sources:
        if scan.end >= applied:
            return _from_log(inventory, name, scan)
    counted = _from_count(inventory, applied - structure_version, newest)
    decided = _from_old_log(inventory, *sources[0], applied) if sources and not counted.exact else counted
    why = _uncounted(inventory)
    return replace(decided, exact=False, why=why) if decided.exact and why else decided


def _uncounted(inventory: Inventory, *, named: bool = False) -> str:
    """Return which segments hold, or held, transactions that nobody can count, empty where there are none.

    `named`: a log names what is not on disk any more.
    """
    empty = {(wal, number) for wal, number, low, high in inventory.slices() if low == high}
    broken = [f"wal{wal}/{number}" for wal, number, _ in inventory.broken if (wal, number) in empty]
    if broken:
        return f"nothing tells which transactions {', '.join(broken[:5])} holds"
    gone = () if named else inventory.lost
    lost = [f"wal{wal}" if number < 0 else f"wal{wal}/{number}" for wal, number in gone]
    return f"nothing tells which transactions {', '.join(lost[:5])} held, which is gone" if lost else ""


def _from_log(inventory: Inventory, name: str, scan: LogScan) -> Unapplied:
    """A log that reaches the applied transaction: its records above it name what waits."""
    state = np.full(len(inventory), State.APPLIED, np.int8)
    seq = np.zeros(len(inventory), np.int64)
    named, believed = scan.named.at(~scan.replayed), scan.named.event[scan.believed]
    state[named.event] = State.WAITING
    seq[named.event] = named.number
    seq[believed] = scan.seq[believed]
    anew = _made_anew(inventory, scan)
    state[anew] = State.UNSURE
    before = positions(inventory, scan.below)
    if scan.below_missing:
        before |= _before_first(inventory, scan)
    loose = (state == State.APPLIED) & ~before
    decided = _with_loose(inventory, name, scan, state, seq, loose)
    if not len(anew):
        return decided
    wals = ", ".join(f"wal{wal}" for wal in np.unique(inventory.events["wal"][anew]).tolist()[:5])
    why = f"the log names transactions of {wals} twice: they are applied already, or the WAL was made anew"
    open_too = np.where(decided.state == State.UNNAMED, State.UNSURE, decided.state).astype(np.int8)
    return replace(decided, state=open_too, exact=False, why=why)


def _made_anew(inventory: Inventory, scan: LogScan) -> Index:
    """Return which of the replayed events may be new ones, in a WAL with the id of an old one (a lost `_wal_index.d`).

    A new WAL begins with its first transaction, and has none on disk that only a record of the old one names.
    """
    replayed = np.unique(scan.named.event[scan.replayed])
    only = (scan.seq > 0) & (scan.seq <= scan.applied)
    only[replayed] = False
    lost = scan.unnamed - len(replayed)
    anew = [
        wal
        for wal, first, stop in inventory.by_wal()
        if first in replayed and int(address_of(inventory.events[first : first + 1])[0]) == 0
        if int(only[first:stop].sum()) <= lost
    ]
    return replayed[np.isin(inventory.events["wal"][replayed], anew)]


def _with_loose(
    inventory: Inventory, name: str, scan: LogScan, state: NDArray[np.int8], seq: Index, loose: Mask
) -> Unapplied:
    """Say what the transactions are that no record names, given how many records above and below are lost."""
    missing = scan.unnamed - int((state == State.UNSURE).sum())
    if not missing:
        # Records that are lost below the applied transaction (filler of a repair, purged parts) were theirs; else no
        # record ever was: the last of a writer that died, or a hole that no commit of the server leaves.
        if name != SEQUENCER:
            return _behind_copy(name, scan, state, seq, loose)
        theirs = int(loose.sum()) <= scan.below_missing
        state[loose] = State.APPLIED if theirs else State.UNNAMED
        return Unapplied(state, seq, name, True, "", maybe_extra=int(scan.beyond == 1))
    # What follows a waiting transaction in its WAL waits too; of the rest those may that records are left for.
    sure = loose & _after_waiting(inventory, scan)
    state[sure] = State.WAITING
    rest, left = loose & ~sure, max(0, missing - int(sure.sum()))
    count = int(rest.sum())
    extra = 0
    if count <= left or not scan.below_missing:
        state[rest] = State.WAITING
        extra = max(0, count - left)
    elif left and len(np.unique(inventory.events["wal"][rest])) > 1:
        state[rest] = State.UNSURE
        why = f"of {count:,} segment transactions whose records are lost {left:,} wait, and the log does not say which"
        return Unapplied(state, seq, name, False, why)
    elif left:
        # One WAL alone: its transactions are applied in order, so the last ones wait.
        state[np.flatnonzero(rest)[-left:]] = State.WAITING
    waiting = loose & (state == State.WAITING)
    _number_single(scan, seq, waiting)
    why = "" if not extra else f"{extra} of them may never have been sequenced: the last of a writer at the crash"
    return Unapplied(state, seq, name, True, why, maybe_extra=extra, lost=max(0, missing - int(waiting.sum())))


def _behind_copy(name: str, scan: LogScan, state: NDArray[np.int8], seq: Index, loose: Mask) -> Unapplied:
    """Say what the transactions are that a whole copy of a log does not name: they came after it was made.

    Where records of what is applied are lost in the copy, some may be theirs.
    """
    state[loose] = State.UNSURE if scan.below_missing else State.WAITING
    if not scan.below_missing or not loose.any():
        return Unapplied(state, seq, name, True, "")
    why = f"the copy in {name} has lost records of applied transactions, and does not name {int(loose.sum()):,}"
    return Unapplied(state, seq, name, False, why)


def _after_waiting(inventory: Inventory, scan: LogScan) -> Mask:
    """Return which transactions lie behind one in their WAL that a record names as waiting."""
    known = np.isin(inventory.events["wal"], np.array(list(scan.lowest), np.int64))
    return np.asarray(known & ~positions(inventory, scan.lowest))


def _number_single(scan: LogScan, seq: Index, loose: Mask) -> None:
    """Give a missing transaction its number where only one is missing: there is then only one that it can be."""
    places = np.flatnonzero(loose)
    if len(places) != 1 or scan.unnamed != 1:
        return
    seq[places] = next((low for low, _ in scan.settled.gaps(scan.applied + 1, scan.max_txn)), 0)


def _before_first(inventory: Inventory, scan: LogScan) -> Mask:
    """Return what lies before the first waiting transaction of its WAL: applied, and the records of it lost.

    Only where no record above the applied transaction is lost, since that may have been its.
    """
    if scan.unnamed:
        return np.zeros(len(inventory), np.bool_)
    waiting = np.isin(inventory.events["wal"], np.array(list(scan.lowest), np.int64))
    named = np.zeros(len(inventory), np.bool_)
    named[scan.named.event[scan.believed]] = True
    return np.asarray(waiting & ~_after_waiting(inventory, scan) & ~named)


def _from_old_log(inventory: Inventory, name: str, scan: LogScan, applied: int) -> Unapplied:
    """A log that ends below the applied transaction: what it names is applied, what follows may be."""
    state = np.full(len(inventory), State.UNSURE, np.int8)
    state[positions(inventory, scan.last)] = State.APPLIED
    rest = int((state == State.UNSURE).sum())
    why = (
        f"the log in {name} ends at seqTxn {scan.end:,}, below the applied {applied:,}: which of the {rest:,} "
        "segment transactions after it are applied is not written there"
    )
    exact = rest == 0
    return Unapplied(state, np.zeros(len(inventory), np.int64), name, exact, "" if exact else why)


def _from_count(inventory: Inventory, applied: int, newest: int | None) -> Unapplied:
    """No log to go by: where no WAL was ever purged and there is one WAL, the number applied says where it is split.

    The newest WALs leave no gap when they are purged. So the split must agree with the rows: what counts as applied has
    none that is newer than the table's newest.
    """
    count = len(inventory)
    seq = np.zeros(count, np.int64)
    if inventory.unbroken() and applied <= 0:
        return Unapplied(np.full(count, State.WAITING, np.int8), seq, "", True, "")
    alone = len(inventory.wals) == 1 or applied == count
    if inventory.unbroken() and alone and applied <= count and not _newer(inventory.events[:applied], newest):
        state = np.full(count, State.WAITING, np.int8)
        state[:applied] = State.APPLIED
        return Unapplied(state, seq, "", True, "")
    state = np.full(count, State.UNSURE, np.int8)
    why = (
        f"no log says which of the {count:,} segment transactions on disk are among the {applied:,} applied ones; a "
        "copy of the log, the server's log lines or the rows themselves would"
    )
    return Unapplied(state, seq, "", False, why)


def _newer(events: NDArray[Any], newest: int | None) -> bool:
    """Return whether a row of `events` is newer than `newest` (None: older than any)."""
    rows = events[carries_rows(events) & (events["end"] > events["start"])]
    return bool(len(rows)) and (newest is None or int(rows["max_ts"].max()) > newest)


def by_segment(inventory: Inventory, mask: Mask) -> list[tuple[int, int, Index]]:
    """Return (wal, segment, indices) of the masked transactions, ascending."""
    places = np.flatnonzero(mask)
    if not len(places):
        return []
    events: NDArray[Any] = inventory.events[places]
    keys = np.asarray(segment_key(events["wal"], events["segment"]))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1])
    return [
        (int(events["wal"][start]), int(events["segment"][start]), part)
        for start, part in zip(starts.tolist(), np.split(places, starts[1:]), strict=True)
    ]
