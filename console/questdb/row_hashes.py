"""A 64-bit hash per row over columns of values, symbols by their text: equal rows of two tables have equal hashes."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.row_values import ArrayValues, BytesValues, FixedValues, Mask, Numbers, Values, words_of

Hashes = NDArray[np.uint64]
_SEED: Final = np.uint64(0x9E3779B97F4A7C15)
_NULL: Final = np.uint64(0xD1B54A32D192ED03)
_PRIME: Final = np.uint64(0x100000001B3)


def row_hashes(columns: Iterable[Values], rows: int, start: Hashes | None = None) -> Hashes:
    """Return the hash of each of `rows` rows; `start` has the hashes over the columns before these."""
    total: Hashes = np.full(rows, _SEED, np.uint64) if start is None else start
    for values in columns:
        match values:
            case FixedValues():
                raw = np.ascontiguousarray(values.values)
                words = _words(raw)
            case BytesValues():
                words = [np.diff(values.offsets).astype(np.uint64), _of_bytes(values.data, values.offsets)]
            case ArrayValues():
                words = [values.shapes[:, at].astype(np.uint64) for at in range(values.shapes.shape[1])]
                words.append(_of_bytes(np.ascontiguousarray(values.values).view(np.uint8), values.offsets * 8))
        for word in words:
            total = _mixed(total, word, values.null)
    return total


def _mixed(total: Hashes, word: Hashes, null: Mask) -> Hashes:
    """Return `total` with one more word per row (splitmix64 steps); what lies under a null means nothing."""
    total = total ^ np.where(null, _NULL, word)
    total = (total ^ (total >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    total = (total ^ (total >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(total ^ (total >> np.uint64(31)))


def _words(raw: NDArray[Any]) -> list[Hashes]:
    size = raw.dtype.itemsize
    if size <= 8:
        return [raw.view(f"<u{size}").astype(np.uint64)]
    words = words_of(raw)
    return [words[:, at] for at in range(words.shape[1])]


def _of_bytes(data: NDArray[np.uint8], offsets: Numbers) -> Hashes:
    """Return a hash of each piece `data[offsets[r]:offsets[r + 1]]`: one byte of every piece at a time."""
    found: Hashes = np.full(len(offsets) - 1, _SEED, np.uint64)
    starts, lengths = offsets[:-1], np.diff(offsets)
    left = np.flatnonzero(lengths > 0)
    at = 0
    while len(left):
        found[left] = (found[left] ^ data[starts[left] + at]) * _PRIME
        at += 1
        left = left[lengths[left] > at]
    return found
