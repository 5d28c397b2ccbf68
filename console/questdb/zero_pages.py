"""Pages of zeros in a column between other values: what a power loss leaves of pages that never reached the disk."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.reading import DbFile

PAGE: Final = 4096
_LEAST: Final = 8
"""Values that are zeros in a page that is used in part before it counts."""
_PAGES_AT_ONCE: Final = 256
_SAMPLED: Final = 64
"""Pages with values that tell how often a value is zero."""
SECTOR: Final = 512
"""The least that a disk loses at once."""
CHANCE: Final = 1e-6
"""Below it zeros are no accident of the values."""
_OFTEN: Final = 1e-2
"""Above it zeros beside a lost page may be values."""
_MOST_BESIDE: Final = 64
_SHARP: Final = 1 / 64
"""Of the places in a page, the most that may count as near its border: else where a run ends says nothing."""
_BY_PLACE: Final = 100
"""How many times as many runs must end at page borders as would by chance."""


def suspect_zero_pages(file: DbFile, size: int, limit: int) -> list[tuple[int, int]]:
    """Return (first, end) ranges of rows, `size` bytes each, that lie in zero pages of the first `limit` bytes.

    A run counts where it begins and ends exactly at page borders (or at the first and the last row), as lost pages do
    and values hardly ever; and where it ends near them, in a column that is zero too seldom for a page of it. A column
    that is zero throughout is taken for what it says, and so are runs of which there are so many that some must end at
    page borders. A run at the first or the last row has one such border only: values have that by chance, too.
    """
    limit = min(limit, file.size) // size * size
    zero = _zero_pages(file, limit)
    if not zero.any() or zero.all():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(np.int8)))
    share, places = _zero_share(file, size, np.flatnonzero(~zero)[:_SAMPLED], limit), PAGE // size
    sharp = not by_chance(share, int(places * _SHARP) + 1, _OFTEN)
    found: list[tuple[int, int]] = []
    for first, end in edges.reshape(-1, 2).tolist():
        low, high = first * PAGE, min(end * PAGE, limit)
        if high - low < _LEAST * size:
            continue
        beside = _zeros_beside(file, size, low, high, limit)
        near = sharp and all(by_chance(share, count, _OFTEN) for count in beside)
        if (near or not any(beside)) and not by_chance(share, (high - low) // size):
            found.append((low // size, high // size))
    return found if len(found) * places**2 >= _BY_PLACE * len(edges) // 2 else []


def may_be_lost(file: DbFile, size: int, rows: tuple[int, int], end: int) -> bool:
    """Return whether one of the rows first..last - 1 of `rows`, `size` bytes each, lies in a sector of zeros.

    The sector in which the rows before `end` stop counts as far as they go.
    """
    low, high = rows[0] * size // SECTOR * SECTOR, min(-(-rows[1] * size // SECTOR) * SECTOR, end * size)
    step = _PAGES_AT_ONCE * PAGE
    for at in range(low, high, step):
        data = file.array(at, "u1", min(step, high - at))
        whole = len(data) // SECTOR
        if not data[: whole * SECTOR].reshape(whole, SECTOR).any(axis=1).all():
            return True
        if len(data) > whole * SECTOR and not data[whole * SECTOR :].any():
            return True
    return False


def by_chance(share: float, count: int, chance: float = CHANCE) -> bool:
    """Return whether `count` zeros in a row are likelier than `chance`, of values of which this `share` is zero."""
    return count * math.log(share) > math.log(chance)


def _zero_share(file: DbFile, size: int, pages: NDArray[Any], limit: int) -> float:
    """Return the share of zeros among the values of `pages`, never quite 0 nor 1."""
    zeros = total = 0
    for page in pages.tolist():
        data = file.array(page * PAGE, "u1", min(PAGE, limit - page * PAGE))
        values = _nonzero(data, size)
        zeros, total = zeros + int((~values).sum()), total + len(values)
    return (zeros + 1) / (total + 2)


def _zeros_beside(file: DbFile, size: int, low: int, high: int, limit: int) -> tuple[int, int]:
    """Return how many zero values stand directly before and behind the run, as far as is looked."""
    room = _MOST_BESIDE * size
    before = _nonzero(file.array(max(0, low - room), "u1", min(low, room)), size)[::-1]
    return _leading(before), _leading(_nonzero(file.array(high, "u1", min(room, limit - high)), size))


def _nonzero(data: NDArray[Any], size: int) -> NDArray[np.bool_]:
    return np.asarray(data[: len(data) // size * size].reshape(-1, size).any(axis=1), np.bool_)


def _leading(values: NDArray[np.bool_]) -> int:
    return int(np.argmax(values)) if values.any() else len(values)


def _zero_pages(file: DbFile, limit: int) -> NDArray[np.bool_]:
    """Return which pages of the first `limit` bytes are zeros. Of most pages the first and last 8 bytes tell it."""
    zero = np.zeros(-(-limit // PAGE), np.bool_)
    at = 0
    for data in file.blocks("u1", limit, _PAGES_AT_ONCE * PAGE):
        whole = len(data) // PAGE
        words = data[: whole * PAGE].view("<u8").reshape(whole, PAGE // 8)
        maybe = np.flatnonzero((words[:, 0] | words[:, -1]) == 0)
        zero[at + maybe] = ~words[maybe].any(axis=1)
        if len(data) > whole * PAGE:
            zero[at + whole] = not data[whole * PAGE :].any()
        at += whole
    return zero
