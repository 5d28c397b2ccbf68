"""Bitmap indexes as files: made from the keys of rows, and back. Layout: questdb.bitmap_index."""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.bitmap_index import KEY, SIGNATURE
from console.questdb.formats.table import INDEX_HEADER
from console.questdb.symbol_values import NULL_KEY

Numbers = NDArray[np.int64]
SYMBOL_BLOCK: Final = 2
"""Offsets in a block of the index of a symbol map, as 9.1.0 makes it; another size is read as well."""


@dataclass(frozen=True, slots=True)
class IndexFiles:
    """Content of `.k` and `.v`."""

    keys: bytes
    values: bytes


def encode_index(keys: Numbers, values: Numbers, block_values: int, *, unused: int = 0) -> IndexFiles:
    """Return the index that a server has after adding `values` (ascending) one by one, each to one of `keys` (from 0).

    Blocks lie in the order in which a server takes them: one more as soon as the last block of a key is full. The
    first `unused` blocks are nobody's.
    """
    highest = int(keys.max()) + 1 if len(keys) else 0
    size = 8 * block_values + 16
    order = np.argsort(keys, kind="stable")
    owners = keys[order]
    counts = np.bincount(keys.astype(np.int64), minlength=highest).astype(np.int64)
    begins = np.cumsum(counts) - counts
    place = np.arange(len(order)) - begins[owners]  # of each value among those of its key
    heads = np.flatnonzero(place % block_values == 0)  # the first value of each block, by key and then by block
    taken = np.argsort(np.argsort(order[heads], kind="stable"), kind="stable") + unused  # its number in `.v`
    block_of = np.repeat(taken, np.diff(np.append(heads, len(order))))
    words = np.zeros((len(heads) + unused) * (size // 8), "<i8")
    words[block_of * (size // 8) + place % block_values] = values[order]
    same = owners[heads][1:] == owners[heads][:-1]
    before, after = taken[:-1][same], taken[1:][same]
    words[before * (size // 8) + block_values + 1] = after * size
    words[after * (size // 8) + block_values] = before * size
    entries = np.zeros(highest, KEY)
    entries["count"] = entries["check"] = counts
    present = np.flatnonzero(counts)
    first = np.searchsorted(owners[heads], present, "left")
    last = np.searchsorted(owners[heads], present, "right") - 1
    entries["first"][present] = taken[first] * size
    entries["last"][present] = taken[last] * size
    return IndexFiles(_header(words.nbytes, block_values, highest) + entries.tobytes(), words.tobytes())


def _header(value_bytes: int, block_values: int, keys: int) -> bytes:
    header = bytearray(INDEX_HEADER.size)
    fields = (
        ("signature", "<B", SIGNATURE), ("sequence", "<q", 1), ("value_bytes", "<q", value_bytes),
        ("block_values", "<i", block_values), ("keys", "<i", keys), ("sequence_check", "<q", 1),
    )  # fmt: skip
    for name, form, value in fields:
        struct.pack_into(form, header, INDEX_HEADER.at(name), value)
    return bytes(header)


def column_index(column: NDArray[np.int32], first: int, block_values: int) -> IndexFiles:
    """Return the index of a symbol column, whose first stored row is `first`: key 0 is NULL, key k + 1 symbol k."""
    keys = column.astype(np.int64)
    rows = np.arange(first, first + len(keys))
    return encode_index(np.where(keys == NULL_KEY, 0, keys + 1), rows, block_values)
