"""Which rows salvage-wal finds where the table's own `_meta` is damaged: segments have a `_meta` of their own."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.recovery.salvage.selection import ALL, UNAPPLIED, select_rows
from tests.data.samples import KINDS, Kind, sample_database

_STRIKES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "noise": lambda path: path.write_bytes(random.Random(7).randbytes(path.stat().st_size)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", _STRIKES)
def test_the_rows_of_the_wal_are_found_whatever_the_tables_metadata_is(how: str, kind: Kind, tmp_path: Path) -> None:
    database = sample_database(kind, tmp_path)
    before = {
        (table.name, which): select_rows(table, which, None).rows
        for table in database.tables()
        for which in (ALL, UNAPPLIED)
    }
    assert sum(before.values())
    for table in database.tables():
        _STRIKES[how](table.path / "_meta")
    for table in DatabaseRoot.locate(tmp_path).tables():
        for which in (ALL, UNAPPLIED):
            assert select_rows(table, which, None).rows == before[table.name, which], (table.name, which)
