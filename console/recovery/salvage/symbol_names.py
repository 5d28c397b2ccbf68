"""Names of a table's symbols, as far as `.o` and `.c` tell them; a key without a name gets a placeholder.

`.c` has one value after another, each with its length before it, so that it tells the names without `.o` too.
"""

import struct
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.reading import DamageError, DbFile, problem_of
from console.questdb.rebuilt_offsets import rebuilt_offsets
from console.questdb.row_values import Bytes, BytesValues, Mask, Numbers, gather, offsets_of
from console.questdb.symbol_values import EMPTY, MAX_SYMBOLS, NULL_KEY, Dictionary, read_dictionary
from console.questdb.utf16 import utf8_of

_MOST_TOLD: Final = 1000
_LENGTH: Final = struct.calcsize("<i")


class SymbolNames:
    """Names by key of one column. `placeholders` are the keys that got one, `problem` says why names are missing."""

    def __init__(self, table: Path, raw_name: str, name_txn: int, count: int | None) -> None:
        """`count` is how many symbols `_txn` counts, None if it does not tell."""
        self.problem = ""
        self.placeholders: set[int] = set()
        self._place = (table, raw_name, name_txn)
        self._names = EMPTY
        self._extended = count is None
        if count is None:
            self._names = self._by_lengths(None)
            return
        try:
            self._names = read_dictionary(table, raw_name, count, name_txn)
        except (DamageError, OSError) as error:
            self._names = self._by_lengths(count)
            if len(self._names) < count:
                self.problem = _said(error)

    def texts(self, type_code: int, keys: Numbers) -> BytesValues:
        """Return the name of each key: null for the null key, `symbol-17` for key 17 if nothing names it."""
        null = keys == NULL_KEY
        if not self._extended and ((keys >= len(self._names)) & ~null).any():
            self._extended = True
            more = self._by_lengths(None)
            self._names = more if len(more) > len(self._names) else self._names
        names = self._names  # another thread may put more in their place
        unknown = ~null & ((keys < 0) | (keys >= len(names)))
        if not unknown.any():
            return _named(type_code, keys, null, names.data, names.offsets)
        others, place = np.unique(keys[unknown], return_inverse=True)
        self.placeholders.update(others.tolist()[:_MOST_TOLD])
        self.problem = self.problem or "the symbol map has no such keys"
        texts = [f"symbol-{key}".encode() for key in others.tolist()]
        data = np.concatenate([names.data, np.frombuffer(b"".join(texts), np.uint8)])
        lengths = offsets_of(np.array([len(text) for text in texts], np.int64))
        offsets = np.concatenate([names.offsets, lengths[1:] + names.offsets[-1]])
        entries = keys.copy()
        entries[unknown] = len(names) + place
        return _named(type_code, entries, null, data, offsets)

    def _by_lengths(self, count: int | None) -> Dictionary:
        """Return the first `count` names of `.c` by the lengths in it; without `count` all up to zeros at its end."""
        table, raw_name, name_txn = self._place
        try:
            with DbFile(column_path(table, raw_name, "c", name_txn)) as file:
                most = min(MAX_SYMBOLS, file.size // _LENGTH) if count is None else count
                offsets = rebuilt_offsets(ColumnTag.STRING, file, most)
                used = np.flatnonzero(np.diff(offsets) != _LENGTH)
                if count is None:
                    offsets = offsets[: int(used[-1]) + 2 if len(used) else 1]
                block = file.array(0, "u1", int(offsets[-1]))
        except (DamageError, OSError) as error:
            self.problem = _said(error)
            return EMPTY
        counts = (np.diff(offsets) - _LENGTH) // 2
        text, sizes = utf8_of(gather(block, offsets[:-1] + _LENGTH, 2 * counts).view("<u2"), counts)
        return Dictionary(text, offsets_of(sizes))


def _said(error: DamageError | OSError) -> str:
    return error.what if isinstance(error, DamageError) else problem_of(error, Path(str(error.filename))).what


def _named(type_code: int, entries: Numbers, null: Mask, data: Bytes, offsets: Numbers) -> BytesValues:
    if len(offsets) < 2:
        return BytesValues(type_code, np.empty(0, np.uint8), np.zeros(len(entries) + 1, np.int64), null)
    at = np.where(null, 0, entries)
    lengths = np.where(null, 0, np.diff(offsets)[at])
    return BytesValues(type_code, gather(data, offsets[at], lengths), offsets_of(lengths), null)
