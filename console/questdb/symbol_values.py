"""Symbols as text: keys of a segment, by its events and the table's dictionary files (SymbolMapReaderImpl).

A dictionary is `<column>.o` (header of 64 bytes, then an i64 offset for each key, and where the last ends) and
`<column>.c` (at each offset i32 count of UTF-16 units, then the units). A WAL directory holds hard links to the
dictionary as it was when its writer was made. A key below an event's clean count is the dictionary's; one above it is
the event's own, written in its symbol diff.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_files import column_path
from console.questdb.formats.table import SYMBOL_OFFSETS
from console.questdb.reading import DamageError, DbFile, ProblemKind
from console.questdb.row_values import Bytes, BytesValues, Numbers, gather, items_at, offsets_of
from console.questdb.segment_details import SymbolDiff
from console.questdb.utf16 import utf8_of

HEADER_SIZE: Final = SYMBOL_OFFSETS.size
NULL_KEY: Final = -(1 << 31)
MAX_SYMBOLS: Final = 1 << 26
_MAX_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Values of the keys 0, 1, …, as UTF-8: key k is `data[offsets[k]:offsets[k + 1]]`."""

    data: Bytes
    offsets: Numbers

    def __len__(self) -> int:
        return len(self.offsets) - 1


EMPTY: Final = Dictionary(np.empty(0, np.uint8), np.zeros(1, np.int64))


def read_dictionary(directory: Path, raw_name: str, count: int, name_txn: int = -1) -> Dictionary:
    """Return the first `count` values of a symbol column in `directory` (a table, or a `walN`).

    Raises DamageError where the files do not hold that many, OSError where they cannot be read.
    """
    if not 0 <= count <= MAX_SYMBOLS:
        raise DamageError(f"a dictionary of {count:,} symbols")
    if not count:
        return EMPTY
    with (
        DbFile(column_path(directory, raw_name, "o", name_txn)) as offset_file,
        DbFile(column_path(directory, raw_name, "c", name_txn)) as value_file,
    ):
        offsets = offset_file.array(HEADER_SIZE, "<i8", count + 1).astype(np.int64)
        if len(offsets) != count + 1:
            raise DamageError(f"it has fewer than {count:,} symbols", HEADER_SIZE, ProblemKind.SHORT)
        if int(offsets[0]) != 0 or (np.diff(offsets) < 4).any() or int(offsets[-1]) > min(value_file.size, _MAX_BYTES):
            raise DamageError("offsets that do not fit its values", HEADER_SIZE)
        block = value_file.array(0, "u1", int(offsets[-1]))
    if len(block) != int(offsets[-1]):
        raise DamageError("values past its end", len(block), ProblemKind.SHORT)
    starts = offsets[:-1]
    counts = items_at(block, starts, "<i4").astype(np.int64)
    if (counts < 0).any() or (starts + 4 + 2 * counts != offsets[1:]).any():
        raise DamageError("values whose length is not what their offsets say", 0)
    text, sizes = utf8_of(gather(block, starts + 4, 2 * counts).view("<u2"), counts)
    return Dictionary(text, offsets_of(sizes))


def read_symbol(directory: Path, raw_name: str, key: int, name_txn: int = -1) -> str:
    """Return the value of one key. Raises DamageError if the files do not hold it, OSError if they cannot be read."""
    with (
        DbFile(column_path(directory, raw_name, "o", name_txn)) as offset_file,
        DbFile(column_path(directory, raw_name, "c", name_txn)) as value_file,
    ):
        offsets = offset_file.array(HEADER_SIZE + 8 * key, "<i8", 2)
        low, high = (int(offsets[0]), int(offsets[1])) if len(offsets) == 2 else (0, 0)
        if not 0 <= low < low + 4 <= high <= min(value_file.size, low + _MAX_BYTES):
            raise DamageError(f"the symbol map does not hold key {key:,}", HEADER_SIZE + 8 * key)
        return value_file.read(low + 4, high - low - 4).decode("utf-16-le", "replace")


def diff_dictionary(diffs: Sequence[SymbolDiff]) -> tuple[Numbers, Dictionary]:
    """Return the keys that symbol diffs of one column bring, ascending and once each, and their values in order."""
    symbols: dict[int, str] = {}
    for diff in diffs:
        symbols.update({key: value or "" for key, value in zip(diff.keys, diff.values, strict=True)})
    keys = sorted(symbols)
    units = [np.frombuffer(symbols[key].encode("utf-16-le", "surrogatepass"), "<u2") for key in keys]
    counts = np.array([len(each) for each in units], np.int64)
    text, sizes = utf8_of(np.concatenate(units) if units else np.empty(0, "<u2"), counts)
    return np.array(keys, np.int64), Dictionary(text, offsets_of(sizes))


def symbol_texts(
    type_code: int, keys: Numbers, clean: Dictionary, clean_count: int, own_keys: Numbers, own: Dictionary
) -> tuple[BytesValues, Numbers]:
    """Return the text of each of one event's `keys` (null where none), and the positions of keys that nothing names."""
    data = np.concatenate([clean.data, own.data])
    offsets = np.concatenate([clean.offsets, own.offsets[1:] + clean.offsets[-1]])
    null = keys == NULL_KEY
    if len(own_keys):
        place = np.minimum(np.searchsorted(own_keys, keys), len(own_keys) - 1)
        found = own_keys[place] == keys
    else:
        place, found = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
    from_clean = (keys >= 0) & (keys < min(clean_count, len(clean)))
    entry = np.where(from_clean, keys, np.where(found, len(clean) + place, 0))
    unknown = ~null & ~from_clean & ~found
    absent = null | unknown
    if len(offsets) > 1:
        lengths = np.where(absent, 0, np.diff(offsets)[entry])
        text = gather(data, offsets[entry], lengths)
    else:
        lengths, text = np.zeros(len(keys), np.int64), np.empty(0, np.uint8)
    return BytesValues(type_code, text, offsets_of(lengths), absent), np.flatnonzero(unknown)
