"""Bytes are found where `bytes.find` finds them, across chunks and holes; a search that is stopped finds nothing."""

import random
from pathlib import Path

import pytest

from console.questdb.reading import DbFile
from screens import browser_going
from screens.browser_going import find_bytes


def test_as_find_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_going, "_CHUNK", 7)
    rng, path = random.Random(5), tmp_path.resolve() / "file"
    for _ in range(300):
        data = bytes(rng.choice(b"\0\0ab") for _ in range(rng.randrange(60)))
        path.write_bytes(data)
        wanted = bytes(rng.choice(b"\0ab") for _ in range(rng.randint(1, 4)))
        first, end = rng.randrange(-1, 60), rng.randrange(62)
        expected = data.find(wanted, max(0, first), max(0, end + len(wanted) - 1)) if end > first else -1
        with DbFile(path) as file:
            found = find_bytes(file, wanted, first, end, lambda: False)
            assert (-1 if found is None else found) == expected, (data, wanted, first, end)
            assert find_bytes(file, wanted, first, end, lambda: True) is None


def test_a_hole_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "sparse"
    with path.open("wb") as stream:
        stream.truncate(1 << 36)
        stream.seek((1 << 36) - 3)
        stream.write(b"end")
    with DbFile(path) as file:
        assert find_bytes(file, b"end", 0, file.size, lambda: False) == (1 << 36) - 3
        assert find_bytes(file, b"\0end", 5, file.size, lambda: False) == (1 << 36) - 4
