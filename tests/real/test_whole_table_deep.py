"""Every value read from disk: a lost page is found in each kind of file, and healthy tables stay healthy."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.deep_files import DeepFiles, DeepLook
from console.diagnosis.model import Code, Part, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from tests.real.grown_tables import grow
from tests.real.test_diagnosis_healthy import grave
from tests.real.test_whole_table import file_of, struck
from tests.real.whole_tables import COLUMNS, FIXED, PARQUET, SYMBOLS, VARIABLE, make

PAGE = 4096
ROWS = 4000
"""Rows of a day: several pages of every type but those of one byte."""
SEEDS = int(os.environ.get("WALMEDIC_GROWN_SEED", "1"))
_ONE_BYTE = ("BOOLEAN", "BYTE", "GEOHASH(5b)")


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the tables, whole."""
    root = tmp_path_factory.mktemp("deep").resolve() / "root"
    days = "PARTITION BY DAY"
    make(root, questdb, {"wal": f"{days} WAL", "plain": f"{days} BYPASS WAL", PARQUET: f"{days} WAL"}, ROWS)
    return root


def deep(root: Path, table: str) -> DeepLook:
    """Return what reading everything finds."""
    return DeepFiles(DatabaseRoot.locate(root).table(table)).look()


def lost_page(path: Path) -> None:
    """Put zeros in place of the second page, or of the first if there is no other."""
    data = bytearray(path.read_bytes())
    at = PAGE if len(data) >= 2 * PAGE else 0
    data[at : at + PAGE] = bytes(min(PAGE, len(data) - at))
    path.write_bytes(data)


def all_zeros(path: Path) -> None:
    """Put zeros in place of all bytes."""
    path.write_bytes(bytes(path.stat().st_size))


def codes(root: Path, table: str, path: Path, strike: Callable[[Path], object]) -> set[Code]:
    """Return the codes of what is found about a damage, all of which must name the column."""
    with struck(path, strike):
        found = deep(root, table).findings
    column = path.name.split(".")[0]
    assert all(finding.column == column for finding in found), [finding.message for finding in found]
    return {finding.code for finding in found}


def test_a_lost_page_is_found_in_every_kind_of_file(world: Path) -> None:
    places = [("wal", 2), ("plain", 1), ("wal", 5), ("plain", 3)]
    for number, (name, (kind, _)) in enumerate({**FIXED, **SYMBOLS}.items()):
        table, day = places[number % len(places)]
        path = file_of(world, table, day, f"{name}.d")
        if kind not in _ONE_BYTE:
            assert Code.SUSPECT_VALUES in codes(world, table, path, lost_page), name
            assert name not in FIXED or codes(world, table, path, all_zeros) == {Code.SUSPECT_VALUES}, name
        assert codes(world, table, path, lambda _: None) == set()
    for number, name in enumerate(VARIABLE):
        table, day = places[number % len(places)]
        for suffix in ("i", "d"):
            path = file_of(world, table, day, f"{name}.{suffix}")
            assert codes(world, table, path, lost_page) == {Code.COLUMN_FILE_INVALID}, (name, suffix)
            assert codes(world, table, path, all_zeros) == {Code.COLUMN_FILE_INVALID}, (name, suffix)
    for table, day in places:
        path = file_of(world, table, day, "ts.d")
        assert codes(world, table, path, lost_page) == {Code.TIMESTAMPS_INVALID}


def test_rows_are_counted_and_the_first_is_named(world: Path) -> None:
    path = file_of(world, "wal", 3, "ts.d")
    with struck(path, lost_page):
        (finding,) = deep(world, "wal").findings
    assert (finding.rows, finding.offset, finding.partition) == (PAGE // 8, PAGE, "2024-01-03")
    path = file_of(world, "plain", 3, "sy.d")

    def strange(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[400:404] = (77).to_bytes(4, "little")
        data[800:804] = (-5).to_bytes(4, "little", signed=True)
        file.write_bytes(data)

    with struck(path, strange):
        (finding,) = deep(world, "plain").findings
    assert (finding.code, finding.rows, finding.offset) == (Code.SYMBOL_KEYS_UNKNOWN, 2, 400)


def test_an_index_and_a_symbol_map_that_name_other_rows(world: Path) -> None:
    for table, day in (("wal", 2), ("plain", 5)):
        for name in ("sx.k", "sx.v"):
            assert codes(world, table, file_of(world, table, day, name), lost_page) == {Code.INDEX_FILE_INVALID}
    for suffix in "kv":
        path = file_of(world, PARQUET, 3, f"sx.{suffix}")
        assert codes(world, PARQUET, path, lost_page) == {Code.INDEX_FILE_INVALID}

    def swapped(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[:8], data[8:16] = data[8:16], data[:8]
        data[0] += 1
        file.write_bytes(data)

    assert codes(world, "wal", file_of(world, "wal", 1, "sx.v"), swapped) == {Code.INDEX_FILE_INVALID}
    for suffix in "ockv":
        for column in ("sy", "late_x"):
            path = file_of(world, "wal", 0, f"{column}.{suffix}")
            assert codes(world, "wal", path, all_zeros) == {Code.SYMBOL_MAP_INVALID}


def test_a_parquet_file_with_a_page_of_zeros(world: Path) -> None:
    path = file_of(world, PARQUET, 3, "data.parquet")
    with struck(path, lost_page):
        assert {finding.code for finding in deep(world, PARQUET).findings} == {Code.SUSPECT_VALUES}
    with struck(path, lambda file: os.truncate(file, file.stat().st_size - 100)):
        found = deep(world, PARQUET).findings
    assert [(finding.code, finding.rows) for finding in found] == [(Code.PARQUET_FILE_INVALID, ROWS)]


def test_what_was_read_is_said(world: Path) -> None:
    database = DatabaseRoot.locate(world)
    looks = {table.directory: DeepFiles(table).look() for table in database.tables() if not table.system}
    for report in diagnose(database, deep=looks).tables:
        assert (report.verdict, report.not_checked) == (Verdict.HEALTHY, ())
    for report in diagnose(database).tables:
        assert report.not_checked == (Part.COLUMN_VALUES, Part.SYMBOL_VALUES, Part.INDEX_ENTRIES)
    read = [0]

    def advance(count: int) -> None:
        read[0] += count

    check = DeepFiles(database.table("wal"), advance)
    check.look()
    assert check.size() / 2 < read[0] < check.size()
    assert len(COLUMNS) > 20


@pytest.mark.parametrize(
    ("first", "tables"), [(SEEDS, 12), pytest.param(1000 * SEEDS, 100, marks=pytest.mark.faults)], ids=["12", "100"]
)
def test_tables_grown_at_random_have_no_finding(tmp_path: Path, questdb: ServerBinary, first: int, tables: int) -> None:
    root = tmp_path.resolve() / "root"
    taken = grow(root, range(first, first + tables), questdb)
    database = DatabaseRoot.locate(root)
    looks = {table.directory: DeepFiles(table).look() for table in database.tables() if not table.system}
    report = diagnose(database, deep=looks)
    assert grave(report) == [], taken
    assert {table.table for table in report.tables} == set(taken)
    assert [look.left_out for look in looks.values() if look.left_out] == []
    assert all(table.rows_applied is not None for table in report.tables)
