"""UTF-16 of many values to UTF-8 in one go, as the server shows it: half of a surrogate pair becomes a question mark.

Source: Utf8s.encodeUtf16Char.
"""

import numpy as np
from numpy.typing import NDArray


def utf8_of(units: NDArray[np.uint16], counts: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the UTF-8 of values that lie one after another (`counts` units each), and the bytes of each."""
    if not len(units) or int(units.max()) < 0x80:
        return units.astype(np.uint8), counts.copy()
    ends = np.cumsum(counts)
    high = (units & 0xFC00) == 0xD800
    low = (units & 0xFC00) == 0xDC00
    last = np.zeros(len(units), np.bool_)
    last[ends[counts > 0] - 1] = True
    paired = np.zeros(len(units), np.bool_)  # a high one followed, in the same value, by a low one
    paired[:-1] = high[:-1] & low[1:] & ~last[:-1]
    second = np.concatenate([[False], paired[:-1]])
    lone = (high | low) & ~paired & ~second
    width = np.where(units < 0x80, 1, np.where(units < 0x800, 2, np.where(paired | second, 2, 3)))
    width[lone] = 1
    mended = np.where(lone, np.uint16(ord("?")), units).astype("<u2")
    text = np.frombuffer(mended.tobytes().decode("utf-16-le").encode(), np.uint8)
    total = np.concatenate([[0], np.cumsum(width)])
    return text, total[ends] - total[ends - counts]
