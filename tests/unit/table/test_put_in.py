"""A WAL that was put into a table by hand is told from one of a table that was copied as a whole."""

import os
import shutil
import time
from pathlib import Path

from console.questdb.layout import TableDirectory
from console.questdb.table_metadata import read_table_metadata
from console.table.wal_origin import read_origins
from tests.data.samples import sample_database


def _put_in(table: TableDirectory) -> set[int]:
    entries, _ = table.listing()
    return set(read_origins(table, read_table_metadata(table.path), None, entries).doubts)


def _set_times(folder: Path, ago: float) -> None:
    """Give files the times that a copy keeps: written `ago` seconds before they were made here."""
    for path in folder.rglob("_*"):
        os.utime(path, (time.time() - ago,) * 2)


def test_a_copy_right_after_the_last_commit_is_no_wal_put_in_by_hand(tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path / "root")
    table = database.table("altered")
    shutil.copytree(table.path / "wal1", table.path / "wal2")
    (table.sequencer / "_txnlog").unlink()
    for lock in table.path.glob("wal*.lock"):
        lock.unlink()  # no later version makes them
    first, *others = table.wals()
    _set_times(first.path, 5)
    for wal in others:
        _set_times(wal.path, 0.3)
    assert _put_in(table) == set()
    for wal in others:
        for path in wal.path.rglob("_*"):
            path.write_bytes(path.read_bytes())
    assert _put_in(table) == {first.id}
