"""Bitmap index of a symbol column, and of a symbol dictionary: `<column>.k` and `.v` (BitmapIndexUtils of QuestDB).

`.k` has a header of 64 bytes: u1 signature 0xFA, i64 sequence, @9 i64 used bytes of `.v`, @17 i32 values of a block,
@21 i32 keys; then for each key 32 bytes: i64 values, i64 first block, i64 last block, i64 values once more. A block of
`.v` is its values, i64 each, then the offsets of the block before and of the next one. All integers are little-endian.
Key 0 of a column's index stands for null, key k + 1 for symbol k; the values are row numbers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from console.questdb.reading import DamageError, DbFile, ProblemKind

KEY_HEADER: Final = 64
SIGNATURE: Final = 0xFA
_MAX_BLOCK: Final = 1 << 24
_HEADER: Final = np.dtype(
    {
        "names": ["signature", "value_bytes", "block_values", "keys"],
        "formats": ["u1", "<i8", "<i4", "<i4"],
        "offsets": [0, 9, 17, 21],
        "itemsize": KEY_HEADER,
    }
)
KEY: Final = np.dtype([("count", "<i8"), ("first", "<i8"), ("last", "<i8"), ("check", "<i8")])
"""One key: how many values it has, and the offsets of its first and last block in `.v`."""


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """Header of `.k`: how many bytes of `.v` are used, how many row numbers a block has, how many keys follow."""

    value_bytes: int
    block_values: int
    keys: int


def read_index_header(file: DbFile) -> IndexHeader:
    """Return the header of a `.k`. Raises DamageError if no server opens such a file, OSError if it cannot be read."""
    found = file.array(0, _HEADER, 1)
    if not len(found):
        raise DamageError(f"it is {file.size:,} bytes long, and its header has {KEY_HEADER}", 0, ProblemKind.SHORT)
    if int(found["signature"][0]) != SIGNATURE:
        raise DamageError(f"it begins with {int(found['signature'][0]):#04x} instead of {SIGNATURE:#04x}", 0)
    value_bytes, block = int(found["value_bytes"][0]), int(found["block_values"][0])
    keys = int(found["keys"][0])
    if value_bytes < 0:
        raise DamageError(f"it counts {value_bytes:,} bytes of row numbers", 9)
    if not 0 < block <= _MAX_BLOCK or block & (block - 1):
        raise DamageError(f"it has blocks of {block:,} row numbers", 17)
    if keys < 0:
        raise DamageError(f"it counts {keys:,} keys", 21)
    needed = KEY_HEADER + KEY.itemsize * keys
    if file.size < needed:
        what = f"it is {file.size:,} bytes long, and its {keys:,} keys need {needed:,}"
        raise DamageError(what, file.size, ProblemKind.SHORT)
    return IndexHeader(value_bytes, block, keys)
