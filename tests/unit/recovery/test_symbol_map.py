"""Symbol maps and bitmap indexes: made again as a server has them, and never a wrong name out of damaged files."""

import random
from pathlib import Path

import numpy as np
import pytest

from console.questdb.bitmap_index import read_index_header
from console.questdb.index_check import check_index, indexed_keys, missing_symbols
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import NULL_KEY
from console.recovery.table_repair.index_files import column_index
from console.recovery.table_repair.symbol_map import index_of, offsets_file, read_symbol_map, values_file

_CAPACITY = 64


def _names(rng: random.Random, count: int) -> list[bytes]:
    letters = "abcXYZ09_é€\U0001f600"
    found: dict[bytes, None] = {}
    while len(found) < count:
        text = "".join(rng.choice(letters) for _ in range(rng.randrange(0 if rng.random() < 0.05 else 1, 24)))
        found[text.encode("utf-16-le")] = None
    return list(found)


def _write(folder: Path, names: list[bytes]) -> None:
    index = index_of(names, _CAPACITY, 2)
    (folder / "s.o").write_bytes(offsets_file(names, _CAPACITY, cached=True, has_null=True).ljust(4096, b"\0"))
    (folder / "s.c").write_bytes(values_file(names).ljust(8192, b"\0"))
    (folder / "s.k").write_bytes(index.keys.ljust(4096, b"\0"))
    (folder / "s.v").write_bytes(index.values.ljust(16384, b"\0"))


def test_a_whole_map_is_read_whole(tmp_path: Path) -> None:
    names = _names(random.Random(1), 150)
    _write(tmp_path, names)
    found = read_symbol_map(tmp_path, "s", len(names), -1, _CAPACITY)
    assert (found.names, found.capacity, found.cached, found.has_null) == (names, _CAPACITY, True, True)
    assert found.offsets_whole
    assert found.buckets is not None
    with DbFile(tmp_path / "s.k") as keys, DbFile(tmp_path / "s.v") as values:
        assert missing_symbols(keys, values, len(names), lambda _: None) == 0


def test_the_hash_is_that_of_java() -> None:
    index = index_of(["ccc".encode("utf-16-le"), "bb".encode("utf-16-le"), "a".encode("utf-16-le")], 256, 2)
    assert len(index.keys) == 64 + 32 * 98  # "a" has the highest hash, 97
    assert np.frombuffer(index.values, "<i8").tolist() == [0] * 4 + [64, 0, 0, 0] + [72, 0, 0, 0] + [80, 0, 0, 0]


@pytest.mark.parametrize("round_", range(60))
def test_no_damage_gives_a_wrong_name(round_: int, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    names = _names(rng, rng.randrange(1, 150))
    _write(tmp_path, names)
    for suffix in rng.sample("ockv", rng.randrange(1, 4)):
        path = tmp_path / f"s.{suffix}"
        content = bytearray(path.read_bytes())
        kind = rng.randrange(4)
        if kind == 0:
            path.unlink()
            continue
        start = 2 * rng.randrange(len(content) // 2)  # a disk loses whole sectors, so never half a unit
        if kind == 1:
            del content[start:]
        elif kind == 2:
            end = min(len(content), start + 2 * rng.randrange(1, 300))
            content[start:end] = bytes(end - start)
        else:
            content[:] = bytes(len(content))
        path.write_bytes(bytes(content))
    found = read_symbol_map(tmp_path, "s", len(names), -1, _CAPACITY)
    wrong = [key for key, name in enumerate(found.names) if name is not None and name != names[key]]
    assert not wrong, f"seed {seed}: keys {wrong}"


@pytest.mark.parametrize("block", [2, 16, 256])
def test_an_index_has_every_row_and_gives_them_back(block: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(block)
    column = rng.integers(-1, 9, 3000).astype("<i4")
    column[column < 0] = NULL_KEY
    index = column_index(column, 70, block)
    for suffix, content in (("d", column.tobytes()), ("k", index.keys), ("v", index.values)):
        (tmp_path / f"s.{suffix}").write_bytes(content)
    with DbFile(tmp_path / "s.d") as data, DbFile(tmp_path / "s.k") as keys, DbFile(tmp_path / "s.v") as values:
        assert read_index_header(keys).block_values == block
        check_index(data, keys, values, (70, 3070), 9, lambda _: None)
        assert (indexed_keys(keys, values, 70, 3070, lambda _: None) == column).all()
        with pytest.raises(DamageError):
            indexed_keys(keys, values, 69, 3070, lambda _: None)
    empty = column_index(np.empty(0, "<i4"), 0, block)
    assert (len(empty.keys), len(empty.values)) == (64, 0)
