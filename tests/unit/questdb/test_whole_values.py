"""Which values of a variable-width column are whole where bytes of its files are lost: a sample that a server wrote."""

import random
from pathlib import Path

import numpy as np
import pytest

from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DbFile
from console.questdb.row_values import Values
from console.questdb.value_check import bad_values
from console.questdb.variable_values import variable_values
from console.questdb.whole_values import whole_values
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.null_files import mended
from tests.data.samples import sample_database

_COLUMNS = ("st", "vc", "bin", "ar")
_SEEDS = range(30)


def _column(table: Path, name: str) -> StoredColumn:
    files = PartitionFiles.of(table)
    assert files is not None
    stored = (each for each in files.columns_of(files.spans[-1]) if isinstance(each, StoredColumn))
    return next(each for each in stored if each.column.name == name)


def _values(each: StoredColumn) -> Values:
    with DbFile(each.aux) as aux, DbFile(each.data) as data:
        return variable_values(each.column.type_code, aux, data, 0, each.rows)


def _texts(each: StoredColumn) -> list[str]:
    with DbFile(each.aux) as aux, DbFile(each.data) as data:
        rows = range(each.rows)
        return [repr(variable_values(each.column.type_code, aux, data, row, row + 1)) for row in rows]


def _damage(each: StoredColumn, rng: random.Random) -> tuple[str, set[int]]:
    """Lose bytes of one of the files, whole entries as a page has them; return how, and the rows that have some of them
    in the data file."""
    whole = whole_values(each)
    path = rng.choice((each.aux, each.data))
    content = bytearray(path.read_bytes())
    used = len(bytes(content).rstrip(b"\0"))
    low = rng.randrange(max(1, used))
    high = rng.choice((low + rng.randint(1, 200), used))
    if path == each.aux:
        low, high = low - low % 16, high + -high % 16
    how = rng.choice(("zeros", "noise", "cut"))
    content[low:high] = bytes(high - low) if how == "zeros" else rng.randbytes(high - low)
    path.write_bytes(content[:low] if how == "cut" else content)
    hit = (whole.start < high) & (whole.start + whole.size > low) & (path == each.data)
    return f"{path.name} {low}..{high} {how}", set(np.flatnonzero(hit).tolist())


@pytest.mark.parametrize("name", _COLUMNS)
@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_left_is_what_was_there_and_the_rest_is_null(name: str, seed: int, tmp_path: Path) -> None:
    table = sample_database("v1", tmp_path).table("kinds").path
    each = _column(table, name)
    before = _texts(each)
    told, hit = _damage(each, random.Random(seed))
    found, made = whole_values(each), mended(table, each, 0)
    lost = set(np.flatnonzero(found.lost).tolist())
    assert made.lost == len(lost), told
    if made.why:
        return  # nothing is changed then
    _write(table, made.files)
    with DbFile(each.aux) as aux, DbFile(each.data) as data:
        assert list(bad_values(each, aux, data, lambda _: None)) == [], told
    assert lost <= set(np.flatnonzero(_values(each).null).tolist()), told
    after = _texts(each)
    wrong = {row for row in range(each.rows) if row not in lost and after[row] != before[row]}
    assert wrong <= hit, (told, wrong)  # nothing tells that bytes within a value are others


def _write(table: Path, files: tuple[NewFile, ...]) -> None:
    for file in files:
        path = table / file.path
        old = path.read_bytes() if path.exists() else b""
        content = bytearray(file.size)
        for part in file.parts:
            content[part.at : part.end] = part.content or old[part.old_at : part.old_at + part.length]
        path.write_bytes(content)
