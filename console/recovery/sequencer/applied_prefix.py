"""Which events are in the table already: what names and counts (table/applied.py) leave open, the rows decide.

Evidence, strongest first: transactions that a source names; the order within a WAL; the structure of its segments; the
rows themselves; the count, where nothing was purged. What makes no difference counts as applied. What is left open is
named and refused: nothing is guessed.
"""

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.segment import EventType
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.table.applied import CutRange, applied_mask, most_applied, open_mask, ranges_of, settle_by_count
from console.table.inventory import Index, Inventory, Mask
from console.table.names import Names, uncommitted
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


Torn = Callable[[Index], Mask]
"""Given indices of events, returns which of the inventory's are torn, of these at least."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """`applied` per event, meaningless with `refusals`: then something is left open. `evidence` names what decided;
    `undecided` are events that are left out of a repaired log, applied or not."""

    applied: Mask
    evidence: tuple[str, ...]
    refusals: tuple[Refusal, ...] = field(default=())
    undecided: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))


def decide(
    inventory: Inventory,
    names: Names,
    applied: int,
    structure_applied: int,
    look: Look | None,
    why_no_look: Why = str,
    highest_wal: int | None = None,
    torn: Torn | None = None,
) -> Cuts:
    """Return the cuts: how many events of each WAL are applied.

    `structure_applied` is the table's column structure version; `look` compares rows.

    `why_no_look` tells why that did not decide, `torn` which events' columns do not hold their rows.
    `highest_wal` is the highest WAL id ever handed out, where a `_wal_index.d` tells it: without it the newest WALs may
    have been purged unseen, and the count is only an upper bound.
    """
    ranges = ranges_of(inventory, names, applied)
    evidence = [f"named by {', '.join(names.used)}"] if names.used else []
    if applied == 0:
        evidence.append("the table has applied no transaction")

    def cuts(refusals: Iterable[Refusal], undecided: Mask | None = None) -> Cuts:
        left_out = np.zeros(len(inventory), np.bool_) if undecided is None else undecided
        return Cuts(applied_mask(inventory, ranges), tuple(evidence), tuple(refusals), left_out)

    if old := _of_old_wals(inventory, names, applied, look):
        return cuts(old)
    if not any(r.open for r in ranges):
        return cuts(_present_behind(inventory, ranges, look))
    if look is not None:
        seen_any, refusals = _by_rows(ranges, look, inventory)
        if refusals:
            return cuts(refusals)
        if seen_any:
            evidence.append("rows compared with the table's partitions")
    most = most_applied(names, applied, structure_applied)
    exact = inventory.unbroken() and highest_wal is not None and highest_wal == max(inventory.wals, default=0)
    if most is not None and settle_by_count(ranges, most, exact=exact):
        counted = plural(most, "segment transaction")
        evidence.append(f"the count: {counted} on disk {'must' if exact else 'at most can'} be applied")
    refusals = _more_than_counted(ranges, most)
    same = [each for each in ranges if each.open and each.high == each.same_to]
    if same:
        evidence.append("rows that the table has either way count as applied")
    for each in same:
        each.low = each.high
    undecided = _left_out_anyway(inventory, names, ranges, torn)
    left = [r for r in ranges if r.open]
    if left:
        refusals.append(_ambiguous(inventory, left, why_no_look()))
    return cuts(refusals or _present_behind(inventory, ranges, look), undecided)


def _more_than_counted(ranges: Sequence[CutRange], most: int | None) -> list[Refusal]:
    """Return the refusal where the rows of more transactions are in the table than can have been applied."""
    least = sum(r.low for r in ranges)
    if most is None or least <= most:
        return []
    reason = (
        f"the rows of {plural(least, 'segment transaction')} are in the table, but only {most:,} can have "
        "been applied; the same rows may have been sent twice"
    )
    instead = f"restore-sequencer from a backup does not need the rows; {_SETTLE}"
    return [Refusal(RefusalCode.ROWS_CONTRADICT, reason, instead, action="restore-sequencer")]


def contradicted(inventory: Inventory, names: Names, applied: int, look: Look) -> Index:
    """Return those of each WAL's last event that `names` call applied whose rows are not in the table."""
    last = []
    for _, first, stop in inventory.by_wal():
        below = np.flatnonzero((names.seq[first:stop] > 0) & (names.seq[first:stop] <= applied))
        last += [first + int(below[-1])] if len(below) else []
    places, none = np.array(last, np.int64), np.empty(0, np.int64)
    return places[np.asarray(look(places, none, none)) == Seen.ABSENT] if last else none


def _of_old_wals(inventory: Inventory, names: Names, applied: int, look: Look | None) -> tuple[Refusal, ...]:
    """Refuse where the rows of an event that is named as applied are not in the table: its WAL may be made anew.

    A sequencer that lost its `_wal_index.d` gives out ids again. The records of the new WAL are then among those that
    no source tells of.
    """
    if look is None or names.complete:
        return ()
    return tuple(
        Refusal(
            RefusalCode.ROWS_CONTRADICT,
            f"wal{inventory.events['wal'][at]}: a log says that {_address(inventory.events[at])} is applied, and its "
            "rows are not in the table; the WAL was made anew under an old id, or the rows were removed",
            f"salvage-wal exports its rows; {_SETTLE}",
            action="salvage-wal",
        )
        for at in contradicted(inventory, names, applied, look).tolist()
        if names.again[at] == 0 and names.holes_after(int(names.seq[at]))
    )


def _by_rows(ranges: list[CutRange], look: Look, inventory: Inventory) -> tuple[bool, list[Refusal]]:
    unsettled = [r for r in ranges if r.open]
    wanted = np.concatenate([np.arange(r.first + r.low, r.first + r.high) for r in unsettled])
    applied = np.concatenate([np.arange(r.first, r.first + r.low) for r in ranges])
    waiting = np.concatenate([np.arange(r.first + r.high, r.stop) for r in ranges])
    seen = np.asarray(look(wanted, applied, waiting))
    refusals = []
    any_decided = False
    at = 0
    for each in unsettled:
        mine = seen[at : at + each.high - each.low]
        at += each.high - each.low
        present, absent = np.flatnonzero(mine == Seen.PRESENT), np.flatnonzero(mine == Seen.ABSENT)
        any_decided |= bool(len(present) or len(absent))
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
    return any_decided, refusals


def _present_behind(inventory: Inventory, ranges: list[CutRange], look: Look | None) -> tuple[Refusal, ...]:
    """Refuse where the rows of an event that only the count calls unapplied are in the table: one of the two is wrong.

    `_txn` may say too little, as where it was put back from an older copy. Then the rows would come twice.
    """
    behind = [each for each in ranges if each.low == each.counted_to]
    if look is None or not behind:
        return ()
    first = np.array([each.first + each.low for each in behind], np.int64)
    applied = np.flatnonzero(applied_mask(inventory, ranges))
    waiting = np.setdiff1d(np.flatnonzero(~applied_mask(inventory, ranges)), first)
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


def _ambiguous(inventory: Inventory, left: list[CutRange], why: str) -> Refusal:
    parts = []
    for each in left[:5]:
        first = inventory.events[each.first + each.low]
        parts.append(f"wal{each.wal}: {plural(each.high - each.low, 'transaction')} from {_address(first)} on")
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    because = f" ({why})" if why else ""
    return Refusal(
        RefusalCode.APPLIED_AMBIGUOUS,
        f"it is not known which transactions are in the table already{because}: {'; '.join(parts)}{more}; one too "
        "many would double rows, one too few would lose them",
        f"restore-sequencer from a backup if there is one; {_SETTLE}",
        action="restore-sequencer",
    )


def _address(event: Any) -> str:
    return f"segment {int(event['segment'])} transaction {int(event['txn'])}"


def _left_out_anyway(inventory: Inventory, names: Names, ranges: list[CutRange], torn: Torn | None) -> Mask:
    """Close the ranges of nothing but events that no repaired log may name, and return these events.

    Such an event is left out whether it is applied or not: it costs its rows at most, and can double none.
    """
    undecided = np.zeros(len(inventory), np.bool_)
    out = uncommitted(inventory, names) | (inventory.events["type"] == EventType.UNREADABLE)
    if torn is not None and any(each.open for each in ranges):
        out |= torn(np.flatnonzero(open_mask(inventory, ranges)))
    for each in ranges:
        if each.open and out[each.places].all():
            undecided[each.places] = True
            each.high = each.low
    return undecided
