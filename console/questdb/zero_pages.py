"""Pages of zeros in a column between other values: what a power loss leaves of pages that never reached the disk."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.reading import DbFile

PAGE: Final = 4096
_LEAST: Final = 512
"""Bytes of zeros in a page that is used in part before it counts."""
_PAGES_AT_ONCE: Final = 256


def suspect_zero_pages(file: DbFile, size: int, limit: int) -> list[tuple[int, int]]:
    """Return (first, end) ranges of rows, `size` bytes each, that lie in zero pages of the first `limit` bytes.

    A run counts where it begins and ends exactly at page borders (or at the first and the last row), as lost pages do
    and values hardly ever; a column that is zero throughout is taken for what it says.
    """
    limit = min(limit, file.size) // size * size
    zero = _zero_pages(file, limit)
    if not zero.any() or zero.all():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(np.int8)))
    found: list[tuple[int, int]] = []
    for first, end in zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True):
        low, high = first * PAGE, min(end * PAGE, limit)
        if high - low < _LEAST:
            continue
        if low and not any(file.read(low - size, size)):
            continue
        if high < limit and not any(file.read(high, size)):
            continue
        found.append((low // size, high // size))
    return found


def _zero_pages(file: DbFile, limit: int) -> NDArray[np.bool_]:
    pages = -(-limit // PAGE)
    zero = np.zeros(pages, np.bool_)
    for at in range(0, pages, _PAGES_AT_ONCE):
        data = file.array(at * PAGE, "u1", min(_PAGES_AT_ONCE * PAGE, limit - at * PAGE))
        whole = len(data) // PAGE
        zero[at : at + whole] = ~data[: whole * PAGE].reshape(whole, PAGE).any(axis=1)
        if len(data) > whole * PAGE:
            zero[at + whole] = not data[whole * PAGE :].any()
    return zero
