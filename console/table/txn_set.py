"""A set of transaction ids, one bit each, in blocks: what millions of records say, in megabytes.

ids     1 2 3 . 5 6 . . 9        runs     (1, 3) (5, 6) (9, 9)
bits    0 1 1 1 0 1 1 0 0 1      gaps     (4, 4) (7, 8)
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SHIFT: Final = 15
_SIZE: Final = 1 << _SHIFT
_Bits = NDArray[np.uint8]
_FULL: Final[_Bits] = np.full(_SIZE >> 3, 0xFF, np.uint8)


class TxnSet:
    """Transaction ids from 0 on. Memory is an eighth of a byte per id of each block of 32,768 that has a member."""

    __slots__ = ("_blocks",)

    def __init__(self, numbers: NDArray[np.int64] | None = None) -> None:
        """Begin with `numbers` (ascending), or with none."""
        self._blocks: dict[int, _Bits] = {}
        if numbers is not None:
            self.add(numbers)

    def add(self, numbers: NDArray[np.int64]) -> None:
        if not len(numbers):
            return
        blocks = numbers >> _SHIFT
        starts = np.concatenate(([0], np.flatnonzero(np.diff(blocks)) + 1, [len(numbers)]))
        for low, high in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            block = int(blocks[low])
            bits = self._bits(block)
            bits[numbers[low:high] - (block << _SHIFT)] = 1
            self._blocks[block] = np.packbits(bits)

    def add_run(self, first: int, last: int) -> None:
        for block in range(first >> _SHIFT, (last >> _SHIFT) + 1):
            base = block << _SHIFT
            low, high = max(first, base), min(last + 1, base + _SIZE)
            if high - low == _SIZE:
                self._blocks[block] = _FULL
                continue
            bits = self._bits(block)
            bits[low - base : high - base] = 1
            self._blocks[block] = np.packbits(bits)

    def add_mask(self, first: int, mask: NDArray[np.bool_]) -> None:
        if not mask.any():
            return
        for block in range(first >> _SHIFT, (first + len(mask) - 1 >> _SHIFT) + 1):
            base = block << _SHIFT
            low, high = max(first, base), min(first + len(mask), base + _SIZE)
            bits = self._bits(block)
            bits[low - base : high - base] |= mask[low - first : high - first].view(np.uint8)
            self._blocks[block] = np.packbits(bits)

    def __len__(self) -> int:
        return sum(int(np.bitwise_count(bits).sum()) for bits in self._blocks.values())

    def __bool__(self) -> bool:
        return any(bits.any() for bits in self._blocks.values())

    def __contains__(self, number: int) -> bool:
        bits = self._blocks.get(number >> _SHIFT)
        place = number & (_SIZE - 1)
        return bits is not None and bool(bits[place >> 3] >> (7 - (place & 7)) & 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TxnSet):
            return NotImplemented
        both = self._blocks.keys() | other._blocks.keys()
        return all(np.array_equal(self._bits(block), other._bits(block)) for block in both)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> "TxnSet":
        made = TxnSet()
        made._blocks = dict(self._blocks)  # a block is never changed in place
        return made

    def within(self, first: int, last: int) -> "TxnSet":
        """Return the members from `first` to `last`."""
        made = TxnSet()
        for block, bits in self._blocks.items():
            base = block << _SHIFT
            if base >= first and base + _SIZE - 1 <= last:
                made._blocks[block] = bits
            elif base <= last and base + _SIZE > first:
                part = np.unpackbits(bits)
                part[: max(0, first - base)] = 0
                part[max(0, last + 1 - base) :] = 0
                made._blocks[block] = np.packbits(part)
        return made

    def __or__(self, other: "TxnSet") -> "TxnSet":
        made = self.copy()
        for block, bits in other._blocks.items():
            own = made._blocks.get(block)
            made._blocks[block] = bits if own is None else own | bits
        return made

    def __sub__(self, other: "TxnSet") -> "TxnSet":
        made = TxnSet()
        for block, bits in self._blocks.items():
            theirs = other._blocks.get(block)
            made._blocks[block] = bits if theirs is None else bits & ~theirs
        return made

    def count(self, first: int, last: int) -> int:
        """Return how many members lie from `first` to `last`."""
        return len(self.within(first, last))

    def below(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        ordered = sorted(self._blocks)
        totals = np.cumsum([0, *(int(np.bitwise_count(self._blocks[block]).sum()) for block in ordered)])
        blocks = numbers >> _SHIFT
        found = totals[np.searchsorted(np.array(ordered, np.int64), blocks)]
        for block in np.unique(blocks).tolist():
            if block in self._blocks:
                mine = blocks == block
                before = np.concatenate(([0], np.cumsum(self._bits(block), dtype=np.int64)))
                found[mine] += before[numbers[mine] - (block << _SHIFT)]
        return np.asarray(found, np.int64)

    def mask(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return which of the ids `first`..`last` are members."""
        found = np.zeros(max(0, last + 1 - first), np.bool_)
        for block in range(first >> _SHIFT, (last >> _SHIFT) + 1) if len(found) else ():
            base = block << _SHIFT
            low, high = max(first, base), min(last + 1, base + _SIZE)
            found[low - first : high - first] = self._bits(block)[low - base : high - base]
        return found

    def first(self) -> int | None:
        return next((low for low, _ in self.runs()), None)

    def last(self) -> int | None:
        for block in sorted(self._blocks, reverse=True):
            members = np.flatnonzero(self._bits(block))
            if len(members):
                return (block << _SHIFT) + int(members[-1])
        return None

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each run of members, ascending."""
        held: tuple[int, int] | None = None
        for block in sorted(self._blocks):
            bits = self._bits(block).view(np.int8)
            edges = np.flatnonzero(np.diff(np.concatenate(([0], bits, [0])).astype(np.int8))) + (block << _SHIFT)
            for low, high in edges.reshape(-1, 2).tolist():
                if held is not None and held[1] == low - 1:
                    held = held[0], high - 1
                    continue
                if held is not None:
                    yield held
                held = low, high - 1
        if held is not None:
            yield held

    def gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each run from `first` to `last` that are no members, ascending."""
        at = first
        for low, high in self.within(first, last).runs():
            if low > at:
                yield at, low - 1
            at = high + 1
        if at <= last:
            yield at, last

    def last_runs(self, first: int, last: int, most: int) -> tuple[tuple[int, int], ...]:
        """Return the highest runs of members from `first` to `last`, at most so many of them, ascending."""
        found: list[tuple[int, int]] = []
        inside = self.within(first, last)
        for block in sorted(inside._blocks, reverse=True):
            part = TxnSet()
            part._blocks = {block: inside._blocks[block]}
            runs = list(part.runs())
            if found and runs and runs[-1][1] + 1 == found[0][0]:
                found[0] = runs.pop()[0], found[0][1]
            found = runs + found
            if len(found) > most:
                break
        return tuple(found[-most:])

    def _bits(self, block: int) -> _Bits:
        packed = self._blocks.get(block)
        return np.zeros(_SIZE, np.uint8) if packed is None else np.unpackbits(packed)
