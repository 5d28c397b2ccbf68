"""The full check of a symbol map: its offsets, its values, and the index over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from console.diagnosis.deep_findings import DeepFindings
from console.questdb.index_check import RowNumbersError, missing_symbols
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import HEADER_SIZE
from console.questdb.table_metadata import TableColumn
from console.questdb.value_check import Advance
from console.text import plural


def check_symbol_map(
    findings: DeepFindings, column: TableColumn, paths: Sequence[Path], count: int, advance: Advance
) -> None:
    """Read the four files (`.o`, `.c`, `.k`, `.v`) of a symbol map. One that is missing the quick check tells."""
    try:
        with DbFile(paths[0]) as offsets, DbFile(paths[1]) as values:
            check_dictionary(offsets, values, count, advance)
    except DamageError as damage:
        findings.symbol_map(column, paths[0], damage)
    except FileNotFoundError:
        pass
    except OSError as error:
        findings.skip(f"the symbol map of {column.name}", error)
    try:
        with DbFile(paths[2]) as keys, DbFile(paths[3]) as values:
            missing = missing_symbols(keys, values, count, advance)
        if missing:
            what = f"it does not name {plural(missing, 'symbol')} of {count:,}, or names them twice"
            findings.symbol_map(column, paths[3], DamageError(what))
    except DamageError as damage:
        findings.symbol_map(column, paths[3 if isinstance(damage, RowNumbersError) else 2], damage)
    except FileNotFoundError:
        pass
    except OSError as error:
        findings.skip(f"the index of the symbol map of {column.name}", error)


_KEYS: Final = 1 << 16
_SPAN: Final = 16 << 20


def check_dictionary(offsets: DbFile, values: DbFile, count: int, advance: Advance) -> None:
    """Check that the values of the first `count` symbols lie one after another, each as long as its offsets say.

    Raises DamageError with the offset in `.o` of the first that does not, OSError if a file cannot be read.
    """
    at = 0
    while at < count:
        keys = min(_KEYS, count - at)
        found = offsets.array(HEADER_SIZE + 8 * at, "<i8", keys + 1).astype(np.int64)
        if len(found) != keys + 1:
            raise DamageError(f"it ends before symbol {at + len(found):,}", offsets.size)
        while keys > 1 and not 0 <= int(found[keys] - found[0]) <= _SPAN and _ordered(found[: keys + 1]):
            keys //= 2
        found = found[: keys + 1]
        wrong = (found[1:] - found[:-1] < 4) | (found[:-1] < 0) | (found[1:] > values.size)
        if at == 0:
            wrong[0] |= found[0] != 0
        if not wrong.any():
            wrong = _lengths(values, found)
            advance(8 * keys + int(found[-1] - found[0]))
        if wrong.any():
            key = at + int(np.argmax(wrong))
            raise DamageError(f"symbol {key:,} has not the length that its offsets say", HEADER_SIZE + 8 * key)
        at += keys


def _ordered(found: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> bool:
    return bool((found[1:] >= found[:-1]).all())


def _lengths(
    values: DbFile, found: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which values begin with another i32 count of UTF-16 units than the room between their offsets."""
    low = int(found[0])
    block = values.array(low, "u1", int(found[-1]) - low if len(found) > 2 else 4)  # a single one may be very long
    starts = found[:-1] - low
    whole = starts + 4 <= len(block)
    wrong = ~whole
    windows = np.lib.stride_tricks.sliding_window_view(block, 4) if len(block) >= 4 else np.empty((0, 4), np.uint8)
    stored = np.ascontiguousarray(windows[starts[whole]]).view("<i4").reshape(-1).astype(np.int64)
    wrong[whole] = 4 + 2 * stored != (found[1:] - found[:-1])[whole]
    return wrong
