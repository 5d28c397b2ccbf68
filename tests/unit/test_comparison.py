"""Comparing two files and finding runs of zeros, against a slow and obvious reckoning, and at true size."""

import os
import random
import sys
import time
from pathlib import Path

import pytest

from console.questdb import comparison
from console.questdb.comparison import Comparison, Progress, Relation, compare
from console.questdb.reading import DbFile
from console.questdb.zero_runs import zero_runs

BASE, UNIT = 76, 28


def compared(left: Path, right: Path, base: int = BASE, unit: int = UNIT) -> Comparison:
    with DbFile(left) as a, DbFile(right) as b:
        return compare(a, b, base, unit)


def said(found: Comparison) -> list[tuple[Relation, int, int]]:
    stretches = [found.stretch(number) for number in range(found.count)]
    return [(each.relation, each.start, each.end) for each in stretches]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_records_equal_then_different_then_only_left(tmp_path: Path) -> None:
    log = bytes(range(BASE)) + b"".join(number.to_bytes(UNIT, "little") for number in range(1, 11))
    other = bytearray(log[: BASE + 8 * UNIT])
    other[BASE + 3 * UNIT + 9] ^= 1
    found = compared(write(tmp_path / "left", log), write(tmp_path / "right", bytes(other)))
    assert said(found) == [
        (Relation.EQUAL, 0, BASE + 3 * UNIT),
        (Relation.DIFFER, BASE + 3 * UNIT, BASE + 4 * UNIT),
        (Relation.EQUAL, BASE + 4 * UNIT, BASE + 8 * UNIT),
        (Relation.ONLY_LEFT, BASE + 8 * UNIT, len(log)),
    ]
    assert found.units == 1
    assert not found.only_zeros
    assert not found.equal
    middle = found.next_difference(0, 1)
    assert middle is not None
    assert middle.start == BASE + 3 * UNIT
    assert found.next_difference(middle.start, -1) is None
    last = found.next_difference(middle.start, 1)
    assert last is not None
    assert last.relation is Relation.ONLY_LEFT
    assert found.next_difference(last.start, 1) is None


def test_a_record_that_is_cut_counts_as_one_that_the_other_has_alone(tmp_path: Path) -> None:
    log = bytes(BASE + 4 * UNIT)
    found = compared(write(tmp_path / "left", log[: BASE + 2 * UNIT + 5]), write(tmp_path / "right", log))
    assert said(found) == [
        (Relation.EQUAL, 0, BASE + 2 * UNIT),
        (Relation.ONLY_RIGHT, BASE + 2 * UNIT, len(log)),
    ]
    assert found.only_zeros


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (10, 10), (76, 76), (76, 104), (75, 200)])
def test_files_shorter_than_a_header(tmp_path: Path, sizes: tuple[int, int]) -> None:
    found = compared(write(tmp_path / "left", b"x" * sizes[0]), write(tmp_path / "right", b"x" * sizes[1]))
    assert found.equal is (sizes[0] == sizes[1])
    ends = said(found)
    assert [first[2] for first in ends[:-1]] == [second[1] for second in ends[1:]]
    assert not ends or (ends[0][1] == 0 and ends[-1][2] == max(sizes))


@pytest.mark.parametrize("chunk", [100, 1000, 4 << 20])
def test_any_two_files_agree_with_a_slow_reckoning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    seed = random.randrange(1 << 30)
    sys.stderr.write(f"seed {seed}\n")
    chance = random.Random(seed)
    monkeypatch.setattr(comparison, "_CHUNK", chunk)
    for _ in range(40):
        base, unit = chance.choice([(0, 16), (0, 60), (76, 28)])
        left = bytearray(chance.choice([0, 0, 7]) for _ in range(chance.randint(0, 3000)))
        right = bytearray(left)
        for _ in range(chance.randint(0, 12)):
            if right:
                right[chance.randrange(len(right))] = chance.randrange(3)
        right = right[: chance.randint(0, len(right))] if chance.random() < 0.4 else right
        paths = write(tmp_path / "left", bytes(left)), write(tmp_path / "right", bytes(right))
        found = compared(*paths, base, unit)
        units = [(0, base)] if base else []
        units += [(at, at + unit) for at in range(base, max(len(left), len(right)), unit)]
        for first, end in units:
            both = len(left) == len(right) or end <= min(len(left), len(right))
            if first >= max(len(left), len(right)) or (not both and first < base):
                continue
            relation = found.stretch(found.at(first)).relation
            if both:
                assert relation is (Relation.EQUAL if left[first:end] == right[first:end] else Relation.DIFFER)
            else:
                assert relation is Relation.ONLY_LEFT


def test_too_many_stretches_are_known_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST_STRETCHES", 10)
    monkeypatch.setattr(comparison, "_CHUNK", 280)
    left = bytes(BASE + 100 * UNIT)
    right = left[:BASE] + (bytes(UNIT) + b"x" * UNIT) * 50
    found = compared(write(tmp_path / "left", left), write(tmp_path / "right", right))
    assert found.count < 40
    assert found.units == 50
    assert found.stretch(found.at(len(left) - 1)).relation is Relation.IN_PART


def test_a_comparison_can_be_given_up(tmp_path: Path) -> None:
    paths = write(tmp_path / "left", bytes(5000)), write(tmp_path / "right", bytes(5000))
    with DbFile(paths[0]) as a, DbFile(paths[1]) as b:
        found = compare(a, b, progress=Progress(cancelled=True))
    assert not found.complete
    assert not found.equal


def test_sparse_files_of_eight_gibibytes_are_compared_in_no_time(tmp_path: Path) -> None:
    size = 8 << 30
    for name in ("left", "right"):
        write(tmp_path / name, b"header" * 20)
        os.truncate(tmp_path / name, size)
    with (tmp_path / "right").open("r+b") as stream:
        stream.seek((5 << 30) + 100)
        stream.write(b"different")
    began = time.monotonic()
    found = compared(tmp_path / "left", tmp_path / "right")
    assert time.monotonic() - began < 5
    assert found.units == 1
    only = found.next_difference(0, 1)
    assert only is not None
    assert only.start <= (5 << 30) + 100 < only.end == only.start + UNIT
    with DbFile(tmp_path / "right") as file:
        runs = zero_runs(file)
    assert runs.tolist() == [[120, (5 << 30) + 100], [(5 << 30) + 109, size]]


def test_zero_runs_are_exact_to_the_byte(tmp_path: Path) -> None:
    data = b"a" * 100 + bytes(333) + b"b" + bytes(1000)
    with DbFile(write(tmp_path / "file", data)) as file:
        assert zero_runs(file).tolist() == [[100, 433], [434, 1434]]
    with DbFile(write(tmp_path / "none", b"")) as file:
        assert len(zero_runs(file)) == 0
