"""Which events are in the table already, as far as logs and counts tell: within one WAL a prefix, so one cut each.

    applied 7   wal1   #0 is 2   #1 is 5   #2 is ?   #3 is 9     the cut is behind #1 or #2: rows decide
                wal2   #0 is 1   #1 is 3                         the cut is behind #1
    4, 6 and 7 are named by nothing: #2 can be 6 or 7 (applied), or 8 (not applied)

Check shows what is left open; a repair compares rows then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from console.table.inventory import Inventory, Mask
from console.table.names import Names


@dataclass(slots=True)
class CutRange:
    """The cut of one WAL lies within `low`..`high`: that many of its events, `first`..`stop` - 1, are applied."""

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

    @property
    def places(self) -> slice:
        return slice(self.first + self.low, self.first + self.high)


def ranges_of(inventory: Inventory, names: Names, applied: int) -> list[CutRange]:
    return [_named(names, applied, *each) for each in inventory.by_wal()]


def _named(names: Names, applied: int, wal: int, first: int, stop: int) -> CutRange:
    """Return the range of one WAL: a transaction without a name needs a place that no source tells of."""
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
            free = before - applied - 1 - names.recorded.count(applied + 1, before - 1)
            low = max(low, high - free)
        high = min(high, most)
    high = max(low, high)
    counted = high if high < stop - first and not seq[high] else -1
    again = np.flatnonzero(names.again[first:stop])  # also those that only an old record names
    if len(again):  # they are applied, or they are new ones in a WAL that was made anew
        low, high = min(low, int(again[0])), max(high, int(again[-1]) + 1)
    return CutRange(wal, first, stop, low, high, counted_to=counted)


def most_applied(names: Names, applied: int, structure_applied: int) -> int | None:
    """Return how many events on disk are applied at most: exactly so many where nothing was purged. None: not known."""
    if names.changes_applied is None or names.again.any():
        return None
    unnamed = names.holes_after(0) - (structure_applied - names.changes_applied)
    named = int(((names.seq > 0) & (names.seq <= applied)).sum())
    return named + unnamed if unnamed >= 0 else None


def settle_by_count(ranges: Sequence[CutRange], most: int, *, exact: bool) -> bool:
    """Settle what the count alone settles; return whether it does. False where it leaves a choice or cannot be met."""
    low, high = sum(r.low for r in ranges), sum(r.high for r in ranges)
    left = [r for r in ranges if r.open]
    if not left or low > most or (exact and most > high):
        return False  # something was purged after all: the highest WAL ids leave no gap when they go
    if most == low:
        for each in left:
            each.high = each.low
    elif exact and most == high:
        for each in left:
            each.low = each.high
    elif exact and len(left) == 1:
        left[0].low = left[0].high = left[0].low + most - low
    else:
        return False
    return True


def applied_mask(inventory: Inventory, ranges: Sequence[CutRange]) -> Mask:
    applied = np.zeros(len(inventory), np.bool_)
    for each in ranges:
        applied[each.first : each.first + each.low] = True
    return applied


def open_mask(inventory: Inventory, ranges: Sequence[CutRange]) -> Mask:
    """Return which events are applied or not."""
    found = np.zeros(len(inventory), np.bool_)
    for each in ranges:
        found[each.places] = True
    return found
