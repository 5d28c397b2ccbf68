"""The index of a column against the column: what it proves at once, in windows, and what it tells of damage."""

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from console.questdb import index_check
from console.questdb.bitmap_index import KEY, KEY_HEADER, SIGNATURE
from console.questdb.index_check import check_index
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import NULL_KEY

BLOCK = 4
SYMBOLS = 9
FIRST = 50
"""The column top: the rows of the file begin there."""


def write_index(folder: Path, column: NDArray[np.int32], named: NDArray[np.int32]) -> None:
    """Write a column, and an index that names the rows FIRST, FIRST + 1, ... under the keys `named`."""
    column.astype("<i4").tofile(folder / "sym.d")
    keys = np.zeros(SYMBOLS + 1, KEY)
    blocks: list[NDArray[np.int64]] = []
    size = 8 * BLOCK + 16
    for place in range(SYMBOLS + 1):
        rows = FIRST + np.flatnonzero(named == (NULL_KEY if place == 0 else place - 1))
        keys["count"][place] = keys["check"][place] = len(rows)
        for at in range(0, len(rows), BLOCK):
            if at == 0:
                keys["first"][place] = size * len(blocks)
            last = at + BLOCK >= len(rows)
            block = np.zeros(BLOCK + 2, np.int64)
            block[: len(rows[at : at + BLOCK])] = rows[at : at + BLOCK]
            block[-1] = 0 if last else size * (len(blocks) + 1)
            blocks.append(block)
    values = np.concatenate(blocks)
    header = bytearray(KEY_HEADER)
    header[0] = SIGNATURE
    for at, value, width in ((9, values.nbytes, 8), (17, BLOCK, 4), (21, SYMBOLS + 1, 4)):
        header[at : at + width] = value.to_bytes(width, "little")
    (folder / "sym.k").write_bytes(bytes(header) + keys.tobytes())
    values.astype("<i8").tofile(folder / "sym.v")


def check(folder: Path, rows: int) -> None:
    with DbFile(folder / "sym.d") as column, DbFile(folder / "sym.k") as keys, DbFile(folder / "sym.v") as values:
        check_index(column, keys, values, (FIRST, FIRST + rows), SYMBOLS, lambda _: None)


def damage(folder: Path, rows: int) -> str:
    try:
        check(folder, rows)
    except DamageError as error:
        return error.what
    return ""


@pytest.mark.parametrize("window", [16, 100, 1 << 24])
def test_an_index_of_the_same_rows_is_proven_without_a_tally(
    window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_check, "_WINDOW", window)
    monkeypatch.setattr(index_check, "_tallies", None)  # called, it would fail
    random_keys = np.random.default_rng(7).integers(-1, SYMBOLS, 300)
    column = np.where(random_keys < 0, NULL_KEY, random_keys).astype(np.int32)
    write_index(tmp_path.resolve(), column, column)
    check(tmp_path.resolve(), len(column))


@pytest.mark.parametrize("window", [16, 100, 1 << 24])
def test_every_index_of_other_rows_is_told(window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_check, "_WINDOW", window)
    folder, seed = tmp_path.resolve(), random.randrange(1 << 32)
    dice = np.random.default_rng(seed)
    for number in range(60):
        column = dice.integers(0, SYMBOLS, 300).astype(np.int32)
        named = column.copy()
        match number % 4:
            case 0:  # a row under another key
                row = dice.integers(0, 300)
                named[row] = (named[row] + 1) % SYMBOLS
            case 1:  # two rows exchanged: every key has as many as before
                one, other = dice.choice(np.flatnonzero(column == 1)), dice.choice(np.flatnonzero(column == 2))
                named[[one, other]] = column[[other, one]]
            case 2:  # a row under null
                named[dice.integers(0, 300)] = NULL_KEY
            case _:  # a row is not named
                named = named[:-1]
        write_index(folder, column, named)
        if number % 8 == 7:  # ... and another one is named twice
            values = np.fromfile(folder / "sym.v", "<i8")
            at = int(np.flatnonzero(values == FIRST + 5)[0])
            values[at] = FIRST + 6
            values.tofile(folder / "sym.v")
        assert "not those of the column" in damage(folder, len(column)), (seed, number)
