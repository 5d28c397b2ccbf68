"""Which segment transactions are in the table, which wait, and how sure that is: the cheap decision, from logs alone.

Where no log, nor a copy of one, nor the count says where a WAL is cut, only bounds are given: nothing is guessed.
(Deeper evidence, such as comparing rows, is the recovery's business.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.segment import EventType
from console.questdb.table_name import SEQUENCER
from console.table.applied import CutRange, applied_mask, most_applied, open_mask, ranges_of, settle_by_count
from console.table.inventory import Index, Inventory, Mask, carries_rows, segment_key
from console.table.log_scan import LogScan
from console.table.names import Names, put_together
from console.table.unrecorded import covered, names_all, rows_behind
from console.text import plural


class State(IntEnum):
    """What is known of one segment transaction."""

    APPLIED = 0
    WAITING = 1  # committed and not applied: its rows will be in the table
    UNNAMED = 2  # the last of its writer, named by no record of a whole log: written, perhaps never acknowledged
    UNSURE = 3  # applied or not: nothing on disk that was read tells
    IN_LAG = 4  # applied to the table's lag alone: in no SELECT (told by the salvage, never by `decide`)
    SKIPPED = 5  # counted as applied, and not in the table (told by the salvage, never by `decide`)


@dataclass(frozen=True, slots=True)
class Unapplied:
    """The decision on one table. `state` and `seq_txn` (0: not known) are aligned with the inventory's events.

    `source` names the directory of the log that was believed, empty where there was none. `exact` says that the waiting
    ones are just these; else `why` says what is open. Of `lost` transactions that the log counts nothing is left on
    disk. `behind` rows lie behind the last transaction of a segment, where no log tells whether they were committed.
    """

    state: NDArray[np.int8]
    seq_txn: Index
    source: str
    exact: bool
    why: str
    lost: int = 0
    behind: int = 0

    @property
    def waiting(self) -> Mask:
        return np.asarray(self.state == State.WAITING)

    @property
    def unsure(self) -> Mask:
        return np.asarray(self.state == State.UNSURE)

    def rows(self, inventory: Inventory) -> int | None:
        """Return the unapplied rows; None where that cannot be known."""
        if not self.exact:
            return None
        if (inventory.events["type"][self.waiting] == EventType.UNREADABLE).any():
            return None
        return int(inventory.rows[self.waiting].sum())

    def bound(self, inventory: Inventory) -> int:
        return int(inventory.rows[self.waiting | self.unsure].sum()) + self.behind


def decide(
    inventory: Inventory,
    applied: int | None,
    sources: Sequence[tuple[str, LogScan]],
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
    decided = _by_names(inventory, applied, sources, structure_version, newest)
    return _with_behind(inventory, decided, sources)


def _by_names(
    inventory: Inventory,
    applied: int,
    sources: Sequence[tuple[str, LogScan]],
    structure_version: int,
    newest: int | None,
) -> Unapplied:
    names = put_together(inventory, applied, sources, first_as_it_is=True)
    ranges = ranges_of(inventory, names, applied)
    for name, scan in sources:
        if scan.end >= applied:
            return _with_log(inventory, name, scan, names, ranges)
    _settle(inventory, ranges, most_applied(names, applied, structure_version), newest)
    decided = _without_log(inventory, sources, ranges, applied)
    why = _uncounted(inventory)
    return replace(decided, exact=False, why=why) if decided.exact and why else decided


def _with_behind(inventory: Inventory, decided: Unapplied, sources: Sequence[tuple[str, LogScan]]) -> Unapplied:
    """Add the rows behind the last event of a segment, unless a log tells of all that was committed."""
    applied = decided.state == State.APPLIED
    if covered((scan for _, scan in sources), applied) or any(n == SEQUENCER and names_all(s) for n, s in sources):
        return decided
    rows = sum(each.rows for each in rows_behind(inventory, applied))
    if not rows:
        return decided
    why = f"{plural(rows, 'row')} behind the last transaction of a segment: not committed, or the end of _event is lost"
    return replace(decided, exact=False, why="; ".join(filter(None, (decided.why, why))), behind=rows)


def _settle(inventory: Inventory, ranges: list[CutRange], most: int | None, newest: int | None) -> None:
    """Settle the ranges by the count of applied transactions.

    The newest WALs leave no gap when they are purged. So the split must agree with the rows: what counts as applied has
    none that is newer than the table's newest.
    """
    if most is None:
        return
    split = [replace(each) for each in ranges]
    exact = inventory.unbroken()
    if settle_by_count(split, most, exact=exact) and not _newer(inventory, applied_mask(inventory, split), newest):
        ranges[:] = split


def _without_log(
    inventory: Inventory, sources: Sequence[tuple[str, LogScan]], ranges: list[CutRange], applied: int
) -> Unapplied:
    """No log reaches the applied transaction: what names and the count leave open stays so."""
    unsure = open_mask(inventory, ranges)
    state = np.where(applied_mask(inventory, ranges), State.APPLIED, State.WAITING).astype(np.int8)
    state[unsure] = State.UNSURE
    seq = np.zeros(len(inventory), np.int64)
    count = int(unsure.sum())
    if not count:
        return Unapplied(state, seq, "", True, "")
    if sources:
        name, scan = sources[0]
        why = (
            f"the log in {name} ends at seqTxn {scan.end:,}, below the applied {applied:,}: which of the {count:,} "
            "segment transactions after it are applied is not written there"
        )
    else:
        why = (
            f"no log says which of the {count:,} segment transactions on disk are among the {applied:,} applied ones; "
            "a copy of the log, the server's log lines or the rows themselves would"
        )
    return Unapplied(state, seq, "", False, why)


def _with_log(inventory: Inventory, name: str, scan: LogScan, names: Names, ranges: list[CutRange]) -> Unapplied:
    """A log that reaches the applied transaction: its header counts what is not applied."""
    named = scan.named.at(~scan.replayed)
    above = np.zeros(len(inventory), np.bool_)
    above[named.event] = True
    unsure = open_mask(inventory, ranges)
    waiting = ~applied_mask(inventory, ranges) & ~unsure
    loose = waiting & ~above
    seq = np.where(waiting & (names.seq > scan.applied), names.seq, 0)
    fresh = named.event[waiting[named.event] & (seq[named.event] == 0)]
    seq[fresh] = named.number[np.isin(named.event, fresh)] if len(fresh) else 0
    state = np.where(waiting, State.WAITING, State.APPLIED).astype(np.int8)
    if names.again.any():
        return _made_anew(inventory, name, names, state, seq, unsure | loose)
    missing = scan.unnamed
    why = _of_open(name, scan, state, unsure, ranges, missing - int(loose.sum()))
    if why:
        return Unapplied(state, seq, name, False, why)
    if not missing:
        # No record ever was: the last of a writer that died, or a hole that no commit of the server leaves.
        if name == SEQUENCER:
            state[loose] = State.UNNAMED
        return Unapplied(state, seq, name, True, "")
    loose |= unsure & (state == State.WAITING)
    count = int(loose.sum())
    if count == missing == 1:  # one transaction for the one place
        seq[loose] = next((low for low, _ in scan.settled.gaps(scan.applied + 1, scan.max_txn)), 0)
    extra = max(0, count - missing)
    why = "" if not extra else f"{extra} of them may never have been sequenced: the last of a writer at the crash"
    return Unapplied(state, seq, name, True, why, lost=max(0, missing - count))


def _of_open(name: str, scan: LogScan, state: NDArray[np.int8], unsure: Mask, ranges: list[CutRange], left: int) -> str:
    """Say what those are that may be applied, where `left` records above are without a transaction; else return why."""
    places = np.flatnonzero(unsure)
    count = len(places)
    if not count:
        return ""
    if left <= 0 and name == SEQUENCER and count <= scan.below_missing:
        return ""  # records that are lost below the applied transaction (filler of a repair, purged parts) were theirs
    if left > 0 and (count <= left or sum(each.open for each in ranges) == 1):
        state[places[-left:]] = State.WAITING  # applied in order, so that the last ones of a WAL wait
        return ""
    state[places] = State.UNSURE
    if name != SEQUENCER and left <= 0:
        return f"the copy in {name} has lost records of applied transactions, and does not name {count:,}"
    waiting = max(0, left)
    return f"of {count:,} segment transactions whose records are lost {waiting:,} wait, and the log does not say which"


def _made_anew(
    inventory: Inventory, name: str, names: Names, state: NDArray[np.int8], seq: Index, unsure: Mask
) -> Unapplied:
    state[unsure] = State.UNSURE
    found = np.unique(inventory.events["wal"][names.again > 0]).tolist()
    wals = ", ".join(f"wal{wal}" for wal in found[:5])
    why = f"the log names transactions of {wals} twice: they are applied already, or the WAL was made anew"
    return Unapplied(state, seq, name, False, why)


def _uncounted(inventory: Inventory, *, named: bool = False) -> str:
    """Return which segments hold, or held, transactions that nobody can count, empty where there are none.

    `named`: a log names what is not on disk any more.
    """
    empty = {(wal, number) for wal, number, low, high in inventory.slices() if low == high}
    broken = [f"wal{wal}/{number}" for wal, number, _ in inventory.broken if (wal, number) in empty]
    if broken:
        return f"it is not known which transactions {', '.join(broken[:5])} holds"
    gone = () if named else inventory.lost
    lost = [f"wal{wal}" if number < 0 else f"wal{wal}/{number}" for wal, number in gone]
    return f"it is not known which transactions {', '.join(lost[:5])} held, which is gone" if lost else ""


def _newer(inventory: Inventory, mask: Mask, newest: int | None) -> bool:
    """Return whether a row of the masked events is newer than `newest` (None: older than any)."""
    events = inventory.events[mask]
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
