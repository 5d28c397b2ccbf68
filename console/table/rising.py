"""A longest strictly rising run of numbers: what to believe of records that contradict one another about an order.

values      1  2  9  3  3  4         believed    1  2        3  4
                  ^  ^                           (of equal neighbours the last)
"""

import bisect
from typing import Final

import numpy as np

from console.table.inventory import Index, Mask

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
