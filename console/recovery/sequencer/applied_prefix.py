"""Which events are in the table already. Within one WAL they are a prefix, so the answer is one cut per WAL.

Evidence, strongest first: transactions that a source names; the order within a WAL; the structure of its segments; the
rows themselves; the count, where nothing was purged. What makes no difference counts as applied. What is left open is
named and refused: nothing is guessed.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.segment import EventType
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer.attribution import Names
from console.table.inventory import Index, Inventory, Mask
from console.text import plural

_SETTLE: Final = (
    "a copy of the log from any time (also a damaged one), or the server's log of those commits (settings: "
    "questdb.log), would settle it"
)


class Seen(enum.IntEnum):
    """What the table's rows say about one event."""

    UNKNOWN = 0  # nothing that decides
    PRESENT = 1  # all its rows are in the table, and no other event brought them
    ABSENT = 2  # a row of it is not in the table, and would be had it been applied
    SAME = 3  # the table is the same whether it is applied or not, if that goes for all that is open in its WAL


Look = Callable[[Index, Index, Index], NDArray[Any]]
"""Given indices of events, of those surely applied and of those surely waiting, returns a `Seen` for each of the first.
"""

Why = Callable[[], str]
"""Why looking did not decide, asked after the look; empty where there is nothing to say."""


def no_reason() -> str:
    """Say nothing."""
    return ""


@dataclass(frozen=True, slots=True)
class Cuts:
    """`applied` per event, meaningless with `refusals`: then something is left open. `evidence` names what decided;
    `undecided` are events that are left out of a repaired log, applied or not."""

    applied: Mask
    evidence: tuple[str, ...]
    refusals: tuple[Refusal, ...] = field(default=())
    undecided: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))


@dataclass(slots=True)
class _Range:
    """The cut of one WAL lies within `low`..`high`: that many of its events are applied."""

    wal: int
    first: int
    stop: int
    low: int
    high: int
    same_to: int = -1
    """Up to here, from `low` on, it is the same whether events are applied; -1: that is not known."""
    counted_to: int = -1
    """Where the count of applied transactions alone ends the range: no source names the event there; -1: elsewhere."""

    @property
    def open(self) -> bool:
        return self.low < self.high


def decide(
    inventory: Inventory,
    names: Names,
    applied: int,
    structure_applied: int,
    look: Look | None,
    why_no_look: Why = no_reason,
    highest_wal: int | None = None,
) -> Cuts:
    """Return the cuts: how many events of each WAL are applied.

        applied 7   wal1   #0 is 2   #1 is 5   #2 is ?   #3 is 9     the cut is behind #1 or #2: rows decide
                    wal2   #0 is 1   #1 is 3                         the cut is behind #1
        4, 6 and 7 are named by nothing: #2 can be 6 or 7 (applied), or 8 (not applied)

    `structure_applied` is the table's column structure version; `look` compares rows.

    `why_no_look` tells why that did not decide.
    `highest_wal` is the highest WAL id ever handed out, where a `_wal_index.d` tells it: without it the newest WALs may
    have been purged unseen, and the count is only an upper bound.
    """
    ranges = [_named(inventory, names, applied, *each) for each in inventory.by_wal()]
    evidence: list[str] = []
    if names.used:
        evidence.append(f"named by {', '.join(names.used)}")
    if applied == 0:
        evidence.append("the table has applied no transaction")
    unsettled = [r for r in ranges if r.open]
    if not unsettled:
        behind = _present_behind(inventory, ranges, look)
        return Cuts(_mask(inventory, ranges), tuple(evidence), behind, np.zeros(len(inventory), np.bool_))
    sure = highest_wal is not None and highest_wal == max(inventory.wals, default=0)
    refusals: list[Refusal] = []
    seen_any = False
    if look is not None:
        seen_any, refusals = _by_rows(ranges, look, inventory)
        if refusals:
            return Cuts(_mask(inventory, ranges), tuple(evidence), tuple(refusals), np.zeros(len(inventory), np.bool_))
        if seen_any:
            evidence.append("rows compared with the table's partitions")
    most = _most(names, applied, structure_applied)
    if most is not None:
        verdict = _by_count(ranges, most, exact=inventory.unbroken() and sure)
        if verdict is not None:
            evidence.append(verdict)
        least = sum(r.low for r in ranges)
        if least > most:
            refusals.append(
                Refusal(
                    RefusalCode.ROWS_CONTRADICT,
                    f"the rows of {plural(least, 'segment transaction')} are in the table, but only {most:,} can have "
                    "been applied; the same rows may have been sent twice",
                    f"restore-sequencer from a backup does not need the rows; {_SETTLE}",
                    action="restore-sequencer",
                )
            )
    same = [each for each in ranges if each.open and each.high == each.same_to]
    if same:
        evidence.append("rows that the table has either way count as applied")
    for each in same:
        each.low = each.high
    undecided = _left_out_anyway(inventory, ranges)
    left = [r for r in ranges if r.open]
    if left:
        refusals.append(_ambiguous(inventory, left, why_no_look()))
    if not refusals:
        refusals += _present_behind(inventory, ranges, look)
    return Cuts(_mask(inventory, ranges), tuple(evidence), tuple(refusals), undecided)


def _named(inventory: Inventory, names: Names, applied: int, wal: int, first: int, stop: int) -> _Range:
    """Return the range that names leave: a transaction without a name needs a place that no source tells of."""
    seq = names.seq[first:stop]
    below = np.flatnonzero((seq > 0) & (seq <= applied))
    above = np.flatnonzero(seq > applied)
    low = int(below[-1]) + 1 if len(below) else 0
    high = int(above[0]) if len(above) else stop - first
    if low < high:
        after = int(seq[below[-1]]) if len(below) else 0
        most = low + names.holes_after(after)
        if len(above):
            before = int(seq[above[0]])
            free = before - applied - 1 - names.told.count(applied + 1, before - 1)
            low = max(low, high - free)
        high = min(high, most)
    high = max(low, high)
    counted = high if high < stop - first and not seq[high] else -1
    return _Range(wal, first, stop, low, high, counted_to=counted)


def contradicted(inventory: Inventory, names: Names, applied: int, look: Look) -> bool:
    """Return whether the rows of a WAL's last event that `names` call applied are not in the table."""
    last = []
    for _, first, stop in inventory.by_wal():
        below = np.flatnonzero((names.seq[first:stop] > 0) & (names.seq[first:stop] <= applied))
        last += [first + int(below[-1])] if len(below) else []
    none = np.empty(0, np.int64)
    return bool(last) and bool((np.asarray(look(np.array(last, np.int64), none, none)) == Seen.ABSENT).any())


def _by_rows(ranges: list[_Range], look: Look, inventory: Inventory) -> tuple[bool, list[Refusal]]:
    unsettled = [r for r in ranges if r.open]
    wanted = np.concatenate([np.arange(r.first + r.low, r.first + r.high) for r in unsettled])
    applied = np.concatenate([np.arange(r.first, r.first + r.low) for r in ranges])
    waiting = np.concatenate([np.arange(r.first + r.high, r.stop) for r in ranges])
    seen = np.asarray(look(wanted, applied, waiting))
    refusals = []
    told = False
    at = 0
    for each in unsettled:
        mine = seen[at : at + each.high - each.low]
        at += each.high - each.low
        present, absent = np.flatnonzero(mine == Seen.PRESENT), np.flatnonzero(mine == Seen.ABSENT)
        told |= bool(len(present) or len(absent))
        last_present = int(present[-1]) if len(present) else -1
        first_absent = int(absent[0]) if len(absent) else len(mine)
        if last_present > first_absent:
            event = inventory.events[each.first + each.low + first_absent]
            refusals.append(
                Refusal(
                    RefusalCode.ROWS_CONTRADICT,
                    f"wal{each.wal}: rows of {_address(event)} are not in the table, but those of a later transaction "
                    "of the same WAL are; rows were removed or sent twice, so rows cannot say what was applied",
                    f"{_SETTLE}; restore-sequencer from a backup does not need it",
                )
            )
            continue
        base = each.low
        each.low, each.high = base + last_present + 1, base + first_absent
        if (mine[last_present + 1 : first_absent] == Seen.SAME).all():
            each.same_to = each.high
    return told, refusals


def _present_behind(inventory: Inventory, ranges: list[_Range], look: Look | None) -> tuple[Refusal, ...]:
    """Refuse where the rows of an event that only the count calls unapplied are in the table: one of the two is wrong.

    `_txn` may say too little, as where it was put back from an older copy. Then the rows would come twice.
    """
    behind = [each for each in ranges if each.low == each.counted_to]
    if look is None or not behind:
        return ()
    first = np.array([each.first + each.low for each in behind], np.int64)
    applied = np.flatnonzero(_mask(inventory, ranges))
    waiting = np.setdiff1d(np.flatnonzero(~_mask(inventory, ranges)), first)
    seen = np.asarray(look(first, applied, waiting))
    return tuple(
        Refusal(
            RefusalCode.ROWS_CONTRADICT,
            f"the rows of wal{inventory.events['wal'][at]} {_address(inventory.events[at])} are in the table, but _txn "
            "does not count that transaction as applied; _txn is older than the table, or the rows were sent twice",
            f"restore _txn from a copy that was made at the crash; {_SETTLE}",
        )
        for at in first[seen == Seen.PRESENT].tolist()
    )


def _most(names: Names, applied: int, structure_applied: int) -> int | None:
    """Return how many events on disk are applied at most: exactly so many where nothing was purged. None: not known."""
    if names.changes_applied is None:
        return None
    unnamed = names.holes_after(0) - (structure_applied - names.changes_applied)
    named = int(((names.seq > 0) & (names.seq <= applied)).sum())
    return named + unnamed if unnamed >= 0 else None


def _by_count(ranges: list[_Range], most: int, exact: bool) -> str | None:
    """Settle what the count alone settles; return how, None where it leaves a choice or cannot be met."""
    low, high = sum(r.low for r in ranges), sum(r.high for r in ranges)
    left = [r for r in ranges if r.open]
    if not left or low > most or (exact and most > high):
        return None  # something was purged after all: the highest WAL ids leave no gap when they go
    if most == low:
        for each in left:
            each.high = each.low
    elif exact and most == high:
        for each in left:
            each.low = each.high
    elif exact and len(left) == 1:
        left[0].low = left[0].high = left[0].low + most - low
    else:
        return None
    return f"the count: {plural(most, 'segment transaction')} on disk {'must' if exact else 'at most can'} be applied"


def _ambiguous(inventory: Inventory, left: list[_Range], why: str) -> Refusal:
    parts = []
    for each in left[:5]:
        first = inventory.events[each.first + each.low]
        parts.append(f"wal{each.wal}: {plural(each.high - each.low, 'transaction')} from {_address(first)} on")
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    because = f" ({why})" if why else ""
    return Refusal(
        RefusalCode.APPLIED_AMBIGUOUS,
        f"it cannot be told which transactions are in the table already{because}: {'; '.join(parts)}{more}; one too "
        "many would double rows, one too few would lose them",
        f"restore-sequencer from a backup if there is one; {_SETTLE}",
        action="restore-sequencer",
    )


def _address(event: Any) -> str:
    return f"segment {int(event['segment'])} transaction {int(event['txn'])}"


def _left_out_anyway(inventory: Inventory, ranges: list[_Range]) -> Mask:
    """Close the ranges of nothing but events that no repaired log may name, and return these events.

    Such an event is left out whether it is applied or not: it costs its rows at most, and can double none.
    """
    undecided = np.zeros(len(inventory), np.bool_)
    out = inventory.events["beyond"] | (inventory.events["type"] == EventType.UNREADABLE)
    for each in ranges:
        places = slice(each.first + each.low, each.first + each.high)
        if each.open and out[places].all():
            undecided[places] = True
            each.high = each.low
    return undecided


def _mask(inventory: Inventory, ranges: list[_Range]) -> Mask:
    applied = np.zeros(len(inventory), np.bool_)
    for each in ranges:
        applied[each.first : each.first + each.low] = True
    return applied
