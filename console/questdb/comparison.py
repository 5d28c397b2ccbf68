"""Two files of the same family side by side: which records are equal, which differ, which only one of them has.

Files of any size: read in bounded chunks, holes of sparse files skipped, no object per record. What is found is kept as
stretches of units (records, or sixteen bytes where there are none), so that a summary fits on a screen.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.reading import DbFile

_CHUNK: Final = 4 << 20
MOST_STRETCHES: Final = 200_000
"""Stretches that are distinguished exactly; beyond them a chunk with any difference counts as one stretch."""


class Relation(IntEnum):
    """How a stretch of one file stands to the other."""

    EQUAL = 0
    DIFFER = 1
    IN_PART = 2  # a chunk in which some units differ, which ones is not kept
    ONLY_LEFT = 3
    ONLY_RIGHT = 4


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes `start` to `end` (exclusive) of both files, whole units but for the end of a file."""

    relation: Relation
    start: int
    end: int


@dataclass(slots=True)
class Progress:
    """How far a comparison is; another thread reads `done` and sets `cancelled`."""

    done: int = 0
    total: int = 0
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found. `starts` (int64) and `relations` (uint8) name the stretches in ascending order.

    `units` counts the units that differ among those both files have, the header left out; `only_zeros` says that what
    only the longer file has is nothing but zeros, e.g. room that the server allocated and never wrote.
    """

    base: int
    unit: int
    left_size: int
    right_size: int
    starts: NDArray[np.int64]
    relations: NDArray[np.uint8]
    units: int
    only_zeros: bool
    complete: bool

    @property
    def count(self) -> int:
        return len(self.starts)

    @property
    def equal(self) -> bool:
        """Return whether both files hold the same bytes."""
        return self.complete and not self.relations.any()

    @property
    def header_differs(self) -> bool:
        return bool(self.base and self.count and self.relations[0])

    def stretch(self, number: int) -> Stretch:
        last = number + 1 == self.count
        end = max(self.left_size, self.right_size) if last else int(self.starts[number + 1])
        return Stretch(Relation(int(self.relations[number])), int(self.starts[number]), end)

    def at(self, offset: int) -> int:
        """Return the number of the stretch that holds `offset`; -1 where there is none."""
        return int(np.searchsorted(self.starts, offset, "right")) - 1

    def next_difference(self, offset: int, step: int) -> Stretch | None:
        """Return the nearest stretch after (`step` 1) or before (-1) that of `offset` that is not equal."""
        differing = np.flatnonzero(self.relations)
        here = self.at(offset)
        side = int(np.searchsorted(differing, here, "right" if step > 0 else "left"))
        wanted = side if step > 0 else side - 1
        return self.stretch(int(differing[wanted])) if 0 <= wanted < len(differing) else None


def compare(left: DbFile, right: DbFile, base: int = 0, unit: int = 16, progress: Progress | None = None) -> Comparison:
    """Return how `left` and `right` stand to each other at equal offsets.

    The first `base` bytes are one unit (a header), what follows are units of `unit` bytes. Raises OSError where a
    device fails. A file that shrinks meanwhile ends where it ended when it was read.
    """
    state = progress or Progress()
    shared = min(left.size, right.size)
    if left.size != right.size and shared > base:
        # A record that one file has only a part of is one that the other has alone.
        shared = base + (shared - base) // unit * unit
    state.total = shared
    found = _Stretches()
    buffers = bytearray(_CHUNK), bytearray(_CHUNK)
    at = units = 0
    while at < shared and not state.cancelled:
        held = _skip_holes(left, right, at, base, unit, shared)
        if held > at:
            found.add(at, Relation.EQUAL)
            at = held
            continue
        size = min(base, shared) if at < base else min(_CHUNK // unit * unit, shared - at)
        views = [memoryview(buffer)[:size] for buffer in buffers]
        got = min(left.read_into(at, views[0]), right.read_into(at, views[1]))
        if got < size:
            shared, size = at + got, got
        differing = _chunk(found, views[0][:size], views[1][:size], at, size if at < base else unit)
        units += differing if at >= base else 0
        at += size
        state.done = at
    sizes = (left.size, right.size) if shared >= state.total else (min(left.size, shared), min(right.size, shared))
    longer = left if sizes[0] > sizes[1] else right
    only_zeros = False
    if sizes[0] != sizes[1] and not state.cancelled:
        found.add(shared, Relation.ONLY_LEFT if longer is left else Relation.ONLY_RIGHT)
        only_zeros = _zeros(longer, shared, buffers[0], state)
    starts, relations = found.arrays()
    return Comparison(base, unit, *sizes, starts, relations, units, only_zeros, not state.cancelled)


class _Stretches:
    """Starts and relations in ascending order; a stretch like the one before it lengthens that one."""

    def __init__(self) -> None:
        self._starts: list[NDArray[np.int64]] = []
        self._relations: list[NDArray[np.uint8]] = []
        self._last = -1
        self.count = 0

    def add(self, start: int, relation: Relation) -> None:
        self.extend(np.array([start], np.int64), np.array([relation], np.uint8))

    def extend(self, starts: NDArray[np.int64], relations: NDArray[np.uint8]) -> None:
        """Add stretches; `relations` alternate."""
        if len(relations) and int(relations[0]) == self._last:
            starts, relations = starts[1:], relations[1:]
        if len(relations):
            self._starts.append(starts)
            self._relations.append(relations)
            self._last = int(relations[-1])
            self.count += len(relations)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        if not self._starts:
            return np.empty(0, np.int64), np.empty(0, np.uint8)
        return np.concatenate(self._starts), np.concatenate(self._relations)


def _chunk(found: _Stretches, left: memoryview, right: memoryview, at: int, unit: int) -> int:
    if not len(left):
        return 0
    if bytes(left) == bytes(right):  # memcmp: most chunks of a backup are equal
        found.add(at, Relation.EQUAL)
        return 0
    differs = np.frombuffer(left, np.uint8) != np.frombuffer(right, np.uint8)
    whole = len(differs) // unit
    mask = differs[: whole * unit].reshape(whole, unit).any(axis=1)
    if len(differs) > whole * unit:
        mask = np.append(mask, differs[whole * unit :].any())
    count = int(np.count_nonzero(mask))
    if found.count > MOST_STRETCHES:
        found.add(at, Relation.IN_PART if count < len(mask) else Relation.DIFFER)
        return count
    first = np.flatnonzero(np.concatenate([[True], mask[1:] != mask[:-1]]))
    found.extend(at + first.astype(np.int64) * unit, mask[first].astype(np.uint8))
    return count


def _skip_holes(left: DbFile, right: DbFile, at: int, base: int, unit: int, shared: int) -> int:
    """Return where to go on: `at`, or the start of the unit in which one of the files has data again."""
    if at < base:
        return at
    data = min(left.next_data(at), right.next_data(at), shared)
    return at if data == at else min(shared, base + (data - base) // unit * unit) if data < shared else shared


def _zeros(file: DbFile, at: int, buffer: bytearray, state: Progress) -> bool:
    while at < file.size and not state.cancelled:
        at = file.next_data(at)
        got = file.read_into(at, memoryview(buffer)[: max(0, min(len(buffer), file.size - at))])
        if np.frombuffer(buffer, np.uint8, got).any():
            return False
        if not got:
            break
        at += got
    return not state.cancelled
