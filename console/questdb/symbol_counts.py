"""How many symbols the map of a column holds, by its own files alone: by its values, and by the index from hash to key.

`_txn` counts them too. Where values and index agree on fewer, it is `_txn` that is wrong: a page that is lost is one of
one file.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.bitmap_index import KEY, KEY_HEADER, read_index_header
from console.questdb.column_files import column_path
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import HEADER_SIZE, MAX_SYMBOLS

_CHUNK: Final = 1 << 16


def agreed_symbols(table: Path, raw_name: str, name_txn: int = -1) -> int | None:
    """Return how many symbols a map holds if its values and its index agree, else None."""
    try:
        with DbFile(column_path(table, raw_name, "k", name_txn)) as file:
            keys = file.array(KEY_HEADER, KEY, read_index_header(file).keys)
    except (OSError, DamageError):
        return None
    count = symbols_of(table, raw_name, name_txn)
    return count if int(keys["count"].sum()) == count else None


def symbols_of(table: Path, raw_name: str, name_txn: int = -1) -> int:
    """Return how many values lie one after another in `.o` and `.c`; each is as long as its offsets say."""
    try:
        with (
            DbFile(column_path(table, raw_name, "o", name_txn)) as offsets_file,
            DbFile(column_path(table, raw_name, "c", name_txn)) as values,
        ):
            count = 0
            while count < MAX_SYMBOLS:
                offsets = offsets_file.array(HEADER_SIZE + 8 * count, "<i8", _CHUNK + 1).astype(np.int64)
                if len(offsets) < 2 or (count == 0 and int(offsets[0]) != 0):
                    break
                lengths = np.diff(offsets)
                wrong = np.flatnonzero((lengths < 4) | (offsets[1:] > values.size))
                good = int(wrong[0]) if len(wrong) else len(lengths)
                count += _whole(values, offsets[: good + 1])
                if good < _CHUNK:
                    break
            return count
    except (OSError, DamageError):
        return 0


def _whole(values: DbFile, offsets: NDArray[np.int64]) -> int:
    """Return how many of the values between `offsets` have the length that they say themselves."""
    if len(offsets) < 2:
        return 0
    base, end = int(offsets[0]), int(offsets[-1])
    block = values.array(base, "u1", end - base)
    starts = (offsets[:-1] - base).astype(np.int64)
    places = starts[:, None] + np.arange(4)
    units = np.ascontiguousarray(block[places]).view("<i4")[:, 0].astype(np.int64)
    wrong = np.flatnonzero(units * 2 + 4 != np.diff(offsets))
    return int(wrong[0]) if len(wrong) else len(starts)
