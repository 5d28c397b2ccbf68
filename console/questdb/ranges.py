"""Sets of transaction ids as ranges: how a check of millions of records tells what it found in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Ranges:
    """Inclusive ranges, ascending: `bounds` has shape (n, 2). `count` ids in all, also those beyond the ranges kept.

    `complete` is False where there were more ranges than are kept.
    """

    bounds: NDArray[np.int64]
    count: int
    complete: bool

    def __bool__(self) -> bool:
        return self.count > 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each range kept."""
        yield from map(tuple, self.bounds.tolist())

    def after(self, txn: int) -> "Ranges":
        bounds = self.bounds[self.bounds[:, 1] > txn].copy()
        if len(bounds):
            bounds[0, 0] = max(int(bounds[0, 0]), txn + 1)
        kept = int((bounds[:, 1] - bounds[:, 0] + 1).sum())
        all_kept = int((self.bounds[:, 1] - self.bounds[:, 0] + 1).sum())
        return Ranges(bounds, kept + self.count - all_kept, self.complete)


class RangeCollector:
    """Takes ids in ascending order, chunk by chunk, and keeps them as ranges."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._parts: list[NDArray[np.int64]] = []
        self._kept = 0
        self._count = 0
        self._complete = True

    def add(self, ids: NDArray[np.int64]) -> None:
        """Add `ids`, ascending and above all added before."""
        if not len(ids):
            return
        self._count += len(ids)
        if self._kept > self._limit:
            self._complete = False
            return
        breaks = np.flatnonzero(np.diff(ids) != 1)
        firsts = ids[np.concatenate([[0], breaks + 1])]
        lasts = ids[np.concatenate([breaks, [len(ids) - 1]])]
        bounds = np.stack([firsts, lasts], axis=1).astype(np.int64)
        if self._parts and self._parts[-1][-1, 1] + 1 == bounds[0, 0]:
            self._parts[-1][-1, 1] = bounds[0, 1]
            bounds = bounds[1:]
        if len(bounds):
            self._parts.append(bounds)
            self._kept += len(bounds)

    def ranges(self) -> Ranges:
        bounds = np.concatenate(self._parts) if self._parts else np.empty((0, 2), np.int64)
        return Ranges(bounds[: self._limit], self._count, self._complete and len(bounds) <= self._limit)
