"""Decimals as digits and as words: integers of 1 to 32 bytes, in units of 10 to the power of minus their scale.

Those of 16 and 32 bytes have their most significant 8 bytes first (Decimal128.put and Decimal256.put of 9.3.4).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import decimal_shape
from console.questdb.row_values import words_of

_BILLION: Final = np.uint64(1_000_000_000)
_STEP: Final = 9  # digits of one division


def decimal_words(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return raw values as rows of 64-bit words of two's complement, the least significant first."""
    if values.dtype.kind == "i":
        return values.astype("<i8").view("<u8").reshape(len(values), 1)
    return words_of(values)[:, ::-1]


def decimal_characters(type_code: int, values: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the characters of each value, one row each, and which of them it has: `-12.50` at scale 2."""
    _, scale = decimal_shape(type_code)
    words = decimal_words(values)
    negative = words[:, -1].view("<i8") < 0
    digits = _digits(_magnitudes(words, negative))
    if digits.shape[1] <= scale:
        digits = np.pad(digits, ((0, 0), (scale + 1 - digits.shape[1], 0)))
    whole = digits.shape[1] - scale
    significant = np.logical_or.accumulate(digits[:, :whole] != 0, axis=1)
    significant[:, -1] = True
    parts = [np.full((len(values), 1), ord("-"), np.uint8), digits[:, :whole] + np.uint8(ord("0"))]
    used = [negative[:, None], significant]
    if scale:
        parts += [np.full((len(values), 1), ord("."), np.uint8), digits[:, whole:] + np.uint8(ord("0"))]
        used.append(np.ones((len(values), 1 + scale), np.bool_))
    return np.concatenate(parts, axis=1), np.concatenate(used, axis=1)


def _magnitudes(words: NDArray[np.uint64], negative: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the absolute values as limbs of 32 bits, the most significant first."""
    carry = negative.astype(np.uint64)
    limbs: list[NDArray[np.uint64]] = []
    for at in range(words.shape[1]):
        word = np.where(negative, ~words[:, at], words[:, at]) + carry
        carry = carry & (word == 0)
        limbs += [word & np.uint64(0xFFFFFFFF), word >> np.uint64(32)]
    return np.stack(limbs[::-1])


def _digits(limbs: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the decimal digits of each number, the most significant first, zeros before them."""
    limbs = limbs.copy()
    groups: list[NDArray[np.uint8]] = []
    for _ in range(-(-len(limbs) * 10 // _STEP)):
        left = np.zeros(limbs.shape[1], np.uint64)
        for limb in limbs:
            value = left << np.uint64(32) | limb
            limb[:], left = value // _BILLION, value % _BILLION
        powers = np.array([10**at for at in range(_STEP - 1, -1, -1)], np.uint64)
        groups.append((left[:, None] // powers % np.uint64(10)).astype(np.uint8))
    return np.concatenate(groups[::-1], axis=1)
