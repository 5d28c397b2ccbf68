"""The bitmap index of a column against the column, and the index of a symbol map against its keys.

Compared are, for each key, how many rows it has and two sums over their numbers, modulo 2^64: an index of other rows
has other sums. Memory goes by the number of keys and blocks, not of rows. Layout: bitmap_index.
"""

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.bitmap_index import KEY, KEY_HEADER, IndexHeader, read_index_header
from console.questdb.formats.table import INDEX_HEADER
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import NULL_KEY
from console.questdb.value_check import BLOCK, Advance
from console.text import plural

_AT_ONCE: Final = 1 << 20
"""Bytes of `.v` in a block of reading."""
_WINDOW: Final = 1 << 23
"""Rows whose keys are held at once: 32 MiB."""
_MAX_BLOCKS: Final = 1 << 23
"""Blocks of one index whose keys are held in memory: 16 bytes each."""
_KEYS: Final = 1 << 21
"""Keys that are tallied at once, 48 bytes each."""
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_NONE: Final = -1
_LOOKS: Final = 3
"""How often two counts are read before they differ for good."""
_BETWEEN: Final = 0.02  # seconds


@dataclass(slots=True)
class Tally:
    """For each key the number of its rows, the sum of their numbers, and the sum of their numbers mixed."""

    count: NDArray[np.int64]
    total: NDArray[np.uint64]
    mixed: NDArray[np.uint64]

    @classmethod
    def empty(cls, keys: int) -> "Tally":
        return cls(np.zeros(keys, np.int64), np.zeros(keys, np.uint64), np.zeros(keys, np.uint64))

    def add(self, keys: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        numbers = rows.astype(np.uint64)
        mixed = numbers * _ODD
        mixed ^= mixed >> np.uint64(29)
        mixed *= _ODD
        np.add.at(self.count, keys, 1)
        np.add.at(self.total, keys, numbers)
        np.add.at(self.mixed, keys, mixed)

    def differs(self, other: "Tally") -> NDArray[np.int64]:
        wrong = (self.count != other.count) | (self.total != other.total) | (self.mixed != other.mixed)
        return np.flatnonzero(wrong)


class RowNumbersError(DamageError):
    """The damage lies in `.v`, where the row numbers are, not in `.k`."""


def check_index(
    column: DbFile, keys: DbFile, values: DbFile, rows: tuple[int, int], symbols: int, advance: Advance
) -> None:
    """Compare the index of a column with the rows first..end - 1 of a partition, which `column` holds.

    `rows` is (first, end). Rows from `end` on may be in the index, and are passed over. Raises DamageError if the index
    is none or has other rows (RowNumbersError if it has as many), OSError if a file cannot be read.
    """
    header = read_index_header(keys)
    _check_counts(keys, header)
    if _names_each(column, keys, values, rows, symbols, advance):
        return
    # Keys that the index does not have share the last place: whatever rows they have, they differ.
    last = min(symbols, header.keys) + 1
    wrong, recounted = 0, 0
    first = _NONE
    for low in range(0, last + 1, _KEYS):
        own, indexed = _tallies(column, keys, values, rows, (low, min(low + _KEYS, last + 1), last, symbols), advance)
        found = own.differs(indexed)
        recounted += _recounted(keys, header, found + low, own.count[found])
        if len(found) and not wrong:
            first = int(found[0]) + low - 1
        wrong += len(found)
    if wrong:
        name = "null" if first < 0 else f"key {first:,}"
        what = f"the rows of {plural(wrong, 'symbol')} are not those of the column, the first is {name}"
        raise DamageError(what) if recounted else RowNumbersError(what)


def _names_each(
    column: DbFile, keys: DbFile, values: DbFile, rows: tuple[int, int], symbols: int, advance: Advance
) -> bool:
    """Return whether the index names each row once, under the key that the column has. False says nothing.

    As many rows as there are, each of them named: so none is named twice.
    """
    first, end = rows
    for low in range(first, end, _WINDOW):
        own = column.array(4 * (low - first), "<i4", min(end - low, _WINDOW))
        named, count = np.zeros(len(own), np.bool_), 0
        for owners, taken, numbers in _indexed_blocks(keys, values, advance if low == first else _quiet):
            if not len(numbers):
                continue
            if int(owners.max()) > symbols or int(numbers.min()) < first or int(numbers.max()) >= end:
                return False
            expected = np.where(owners == 0, NULL_KEY, owners - 1).repeat(taken)
            numbers -= low
            if end - first > _WINDOW:
                inside = (numbers >= 0) & (numbers < len(own))
                numbers, expected = numbers[inside], expected[inside]
            if int(numbers.max(initial=0)) >= len(own) or not np.array_equal(own[numbers], expected):
                return False
            named[numbers] = True
            count += len(numbers)
        if count != min(end - low, _WINDOW) or not named.all():
            return False
        advance(4 * len(own))
    return True


def _quiet(_count: int) -> None:
    """Take no note of bytes that are read again."""


def _recounted(keys: DbFile, header: IndexHeader, places: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    """Return how many of the keys `places`, ascending, do not count as many rows as the column has, `counts`."""
    known = places < header.keys
    wrong = int(np.count_nonzero(counts[~known]))
    if not known.any():
        return wrong
    low, high = int(places[known][0]), int(places[known][-1]) + 1
    entries = keys.array(KEY_HEADER + KEY.itemsize * low, KEY, high - low)
    return wrong + int(np.count_nonzero(entries["count"][places[known] - low] != counts[known]))


def _check_counts(keys: DbFile, header: IndexHeader) -> None:
    """Check that blocks are whole, and that each key has its count twice: apart for a moment while a server writes."""
    if header.value_bytes % (8 * header.block_values + 16):
        what = f"it counts {header.value_bytes:,} bytes of row numbers, which is no whole number of blocks"
        raise DamageError(what, INDEX_HEADER.at("value_bytes"))
    size = KEY.itemsize
    for low in range(0, header.keys, _KEYS):
        apart: NDArray[Any] | None = None
        for _ in range(_LOOKS):
            entries = keys.array(KEY_HEADER + size * low, KEY, min(_KEYS, header.keys - low))
            now = np.flatnonzero(entries["count"] != entries["check"])
            apart = now if apart is None else np.intersect1d(apart, now)
            if not len(apart):
                break
            time.sleep(_BETWEEN)
        if apart is not None and len(apart):
            key = int(apart[0])
            count, check = int(entries["count"][key]), int(entries["check"][key])
            what = f"key {low + key:,} counts {count:,} rows, and {check:,} where the count stands again"
            raise DamageError(what, KEY_HEADER + size * (low + key))


def _tallies(
    column: DbFile,
    keys: DbFile,
    values: DbFile,
    rows: tuple[int, int],
    part: tuple[int, int, int, int],
    advance: Advance,
) -> tuple[Tally, Tally]:
    """Tally the keys low..high - 1 of `part` = (low, high, last, symbols) twice; `last` is where others go."""
    (first, end), (low, high, last, symbols) = rows, part
    own, indexed = Tally.empty(high - low), Tally.empty(high - low)
    for at in range(0, end - first, BLOCK):
        found = column.array(4 * at, "<i4", min(BLOCK, end - first - at)).astype(np.int64)
        if not len(found):
            break
        known = (found == NULL_KEY) | ((found >= 0) & (found < symbols))
        places = np.minimum(np.where(found == NULL_KEY, 0, found + 1), last)
        kept = known & (places >= low) & (places < high)
        own.add(places[kept] - low, np.arange(first + at, first + at + len(found))[kept])
        advance(4 * len(found))
    for owners, numbers in indexed_rows(keys, values, advance):
        kept = (numbers < end) & (owners >= low) & (owners < high)
        indexed.add(owners[kept] - low, numbers[kept])
    return own, indexed


def indexed_keys(keys: DbFile, values: DbFile, first: int, end: int, advance: Advance) -> NDArray[np.int32]:
    """Return the symbol keys of the rows first..end - 1 as an index has them.

    Raises DamageError if it does not name each of these rows exactly once, OSError if a file cannot be read.
    """
    count = end - first
    column = np.full(count, NULL_KEY, "<i4")
    seen = np.zeros(count, np.bool_)
    total = 0
    for owners, rows in indexed_rows(keys, values, advance):
        inside = (rows >= first) & (rows < end)
        at = rows[inside] - first
        column[at] = np.where(owners[inside] == 0, NULL_KEY, owners[inside] - 1)
        seen[at] = True
        total += len(at)
    if total != count or not seen.all():
        raise DamageError(f"it names {int(seen.sum()):,} of {count:,} rows, {total:,} times")
    return column


def missing_symbols(keys: DbFile, values: DbFile, symbols: int, advance: Advance) -> int:
    """Return how many of the first `symbols` keys the index of a symbol map does not name exactly once.

    Its values are the offsets in `.o` of the keys: 64 + 8 * key. Raises as `check_index`.
    """
    if symbols > values.size // 8:
        return symbols - values.size // 8
    _check_counts(keys, read_index_header(keys))
    seen = np.zeros(symbols, np.uint8)
    for _, offsets in indexed_rows(keys, values, advance):
        found = (offsets - KEY_HEADER) // 8
        aligned = ((offsets - KEY_HEADER) % 8 == 0) & (found >= 0) & (found < symbols)
        np.add.at(seen, found[aligned], 1)
    return int(np.count_nonzero(seen != 1))


def indexed_rows(
    keys: DbFile, values: DbFile, advance: Advance
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (keys, row numbers) of an index, in the order in which they lie in `.v`. Raises as `_indexed_blocks`."""
    for owners, taken, numbers in _indexed_blocks(keys, values, advance):
        yield np.repeat(owners.astype(np.int64), taken), numbers


def _indexed_blocks(
    keys: DbFile, values: DbFile, advance: Advance
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]]:
    """Yield (key of each block, how many rows it names, all their numbers) of some blocks of `.v`, in their order.

    Raises DamageError if a chain of blocks leads out of the file or is not as long as its key says, OSError if a file
    cannot be read, or has too many blocks.
    """
    header = read_index_header(keys)
    size = 8 * header.block_values + 16
    blocks = min(header.value_bytes, values.size) // size
    if blocks > _MAX_BLOCKS:
        raise OSError(errno.EFBIG, f"its {blocks:,} blocks are too many to be held")
    owner, used = _owners(keys, values, header, blocks)
    first = 0
    for block in values.blocks("<i8", blocks * (size // 8), max(1, _AT_ONCE // size) * (size // 8)):
        matrix = block[: len(block) // (size // 8) * (size // 8)].reshape(-1, size // 8)[:, : header.block_values]
        owners, taken = owner[first : first + len(matrix)], used[first : first + len(matrix)]
        if (taken == header.block_values).all():
            numbers = matrix.flatten()
        else:
            numbers = matrix[np.arange(header.block_values)[None, :] < taken[:, None]]
        yield owners, taken, numbers
        first += len(matrix)
        advance(block.nbytes)


def _owners(
    keys: DbFile, values: DbFile, header: IndexHeader, blocks: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the key of each block of `.v`, and how many of its row numbers are in use: the chains of all keys."""
    size = 8 * header.block_values + 16
    following = _next_blocks(values, size, blocks)
    owner, used = np.full(blocks, _NONE, np.int32), np.zeros(blocks, np.int32)
    entries: NDArray[Any] = keys.array(KEY_HEADER, KEY, header.keys)
    left = entries["count"].astype(np.int64)
    at = entries["first"].astype(np.int64)
    active = np.flatnonzero(left > 0)
    damage = DamageError  # the first block of a key is named in `.k`, the others in `.v`
    while len(active):
        place = at[active]
        inside = (place >= 0) & (place % size == 0) & (place // size < blocks)
        if not inside.all():
            key = int(active[np.argmin(inside)])
            raise damage(f"the rows of key {key:,} lie outside {values.path.name}", None)
        number = place // size
        if (owner[number] != _NONE).any() or len(np.unique(number)) != len(number):
            raise damage(f"two keys have the same block in {values.path.name}", None)
        owner[number] = active
        used[number] = np.minimum(left[active], header.block_values)
        left[active] -= header.block_values
        at[active] = following[number]
        active = active[left[active] > 0]
        damage = RowNumbersError
    return owner, used


def _next_blocks(values: DbFile, size: int, blocks: int) -> NDArray[np.int64]:
    """Return where each block of `.v` says that the next one of its key begins."""
    found = np.zeros(blocks, np.int64)
    at_once = max(1, _AT_ONCE // size)
    for first in range(0, blocks, at_once):
        block = values.array(first * size, "<i8", min(at_once, blocks - first) * (size // 8)).reshape(-1, size // 8)
        found[first : first + len(block)] = block[:, -1]
    return found
