"""One copier: holes stay holes, whoever counts the bytes sees all of them, a source that shrinks ends the copy."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.copying import blocks_of, copy_data, write_at

MIB = 1 << 20


@contextmanager
def opened(path: Path, target: Path) -> Iterator[tuple[int, int]]:
    reading, writing = os.open(path, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "stretches",
    [(), ((0, 10),), ((3 * MIB, 4096),), ((0, 4096), (9 * MIB, 5 * MIB)), ((0, 5 * MIB), (7 * MIB, 1))],
    ids=["only a hole", "begin", "middle", "both ends", "odd"],
)
def test_the_copy_has_the_bytes_and_the_holes(tmp_path: Path, stretches: tuple[tuple[int, int], ...]) -> None:
    source, target, size = tmp_path / "source", tmp_path / "target", 16 * MIB
    with source.open("wb") as stream:
        stream.truncate(size)
        for at, length in stretches:
            stream.seek(at)
            stream.write(os.urandom(length))
    seen: list[bytes] = []
    with opened(source, target) as (reading, writing):
        copy_data(reading, writing, size, seen.append)
    assert target.read_bytes() == source.read_bytes() == b"".join(seen)
    assert target.stat().st_blocks <= source.stat().st_blocks


def test_a_source_that_became_shorter_ends_the_copy(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 100)
    with opened(tmp_path / "source", tmp_path / "target") as (reading, writing):
        copy_data(reading, writing, 1000)
        assert os.fstat(writing).st_size == 1000
        assert b"".join(blocks_of(reading, 40, 1000)) == b"x" * 60


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, view, at: real(descriptor, view[:7], at))
    with (tmp_path / "file").open("wb") as stream:
        write_at(stream.fileno(), b"0123456789" * 3, 2)
    assert (tmp_path / "file").read_bytes() == b"\0\0" + b"0123456789" * 3
