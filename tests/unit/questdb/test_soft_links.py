"""Links are followed in the place of a partition and of a table, and nowhere else."""

import os
from pathlib import Path

import pytest

from console.questdb.reading import DbFile, list_directory
from console.questdb.soft_links import is_followed


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table in a db directory, with a partition that lies elsewhere."""
    folder = tmp_path.resolve() / "db" / "t~1"
    folder.mkdir(parents=True)
    (folder / "_txn").write_bytes(b"txn")
    volume = tmp_path.resolve() / "volume"
    volume.mkdir()
    (volume / "ts.d").write_bytes(b"values")
    (folder / "2024-01-01.3").symlink_to(volume)
    return folder


def _reads(path: Path) -> bool:
    try:
        with DbFile(path) as file:
            return bool(file.read(0, 1))
    except OSError:
        return False


def test_of_a_partition_and_of_a_table(table: Path) -> None:
    assert _reads(table / "2024-01-01.3" / "ts.d")
    assert [entry.name for entry in list_directory(table / "2024-01-01.3")[0]] == ["ts.d"]
    moved = table.parent.parent / "moved"
    table.rename(moved)
    table.symlink_to(moved)
    assert _reads(table / "_txn")
    assert _reads(table / "2024-01-01.3" / "ts.d")


def test_of_nothing_else(table: Path) -> None:
    volume = table.parent.parent / "volume"
    (table / "wal1").symlink_to(volume)
    (table / "txn_seq").symlink_to(table)
    (table.parent / "other").symlink_to(volume)
    (volume / "link.d").symlink_to(volume / "ts.d")
    (table / "2024-01-02").symlink_to(volume / "none")
    (table / "2024-01-03").symlink_to(volume / "ts.d")
    names = (table / "wal1", table / "txn_seq", table.parent / "other", table / "2024-01-02", table / "2024-01-03")
    assert not any(map(is_followed, names))
    for path in (table / "wal1" / "ts.d", table / "txn_seq" / "_txn", table / "2024-01-01.3" / "link.d"):
        assert not _reads(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_to_a_directory_of_another_owner(table: Path) -> None:
    os.chown(table.parent.parent / "volume", 12345, -1)
    assert not _reads(table / "2024-01-01.3" / "ts.d")
