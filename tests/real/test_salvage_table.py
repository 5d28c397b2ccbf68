"""salvage-table against a real server: every column type and every form of a partition, whole and damaged.

One database, killed; each damage is done to a copy of it. No server runs while rows are salvaged.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from console.questdb.column_types import DECIMALS, ColumnTag, type_name
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.faults.broken_database import tree_of
from tests.real.salvaged_rows import Row, differences, kinds_of, salvage_engine, salvaged, shown
from tests.real.test_salvage_wal import EDGES, EVERY_TYPE, FILL
from tests.real.whole_tables import SETTINGS, settle, statements

pytestmark = pytest.mark.faults

TABLES = {
    "parquet": "PARTITION BY DAY WAL", "daily": "PARTITION BY DAY WAL", "flat": "",
    "plain": "PARTITION BY DAY BYPASS WAL",
}  # fmt: skip
_MORE = (
    EVERY_TYPE,
    *(FILL.format(day=day) for day in (20, 21, 22)),
    *EDGES,
    "",
    "ALTER TABLE every ADD COLUMN late VARCHAR",
    "ALTER TABLE plain DROP COLUMN sh",
    "ALTER TABLE every RENAME COLUMN by TO byt",
    "INSERT INTO every (ts, late, byt, vc, ar) VALUES ('2023-12-21T00:00:01', 'x', 7, 'a longer text than nine', "
    "ARRAY[1.5,2.5])",
    "UPDATE every SET i = 77 WHERE byt > 100",
    "",
    "ALTER TABLE every CONVERT PARTITION TO PARQUET LIST '2023-W52'",
    "",
    "CREATE TABLE untimed (a LONG, s SYMBOL, v VARCHAR)",
    "INSERT INTO untimed SELECT x, rnd_symbol('p','q',null), rnd_varchar(1,30,2) FROM long_sequence(300)",
    "CREATE TABLE nanos (ts TIMESTAMP_NS, n LONG, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL",
    "INSERT INTO nanos SELECT cast(timestamp_sequence('2024-01-01', 400000000L) AS TIMESTAMP_NS), x, 'a' "
    "FROM long_sequence(500)",
    "CREATE TABLE split (ts TIMESTAMP, n LONG, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL",
    "INSERT INTO split SELECT timestamp_sequence('2024-01-01', 4000000L), x, rnd_symbol('a','b') "
    "FROM long_sequence(20000)",
    "",
    "INSERT INTO split SELECT timestamp_sequence('2024-01-01T20:00:00', 900000L), x, 'c' FROM long_sequence(100)",
    "",
)
_DAY, _ROWS = "2024-01-04", 400
"""A partition of `daily` that has no late columns, and its rows."""


@dataclass(frozen=True)
class World:
    root: Path
    rows: dict[str, list[Row]]


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("salvage-table")
    root = folder / "root"
    root.mkdir()
    with PrivateServer(
        root, questdb, settings={**SETTINGS, "cairo.o3.partition.split.min.size": "2000"}, http=True
    ) as server:
        for name, how in TABLES.items():
            for statement in statements(name, how):
                server.query(statement) if statement else settle(server)
        for statement in _MORE:
            server.query(statement) if statement else settle(server)
        settle(server)
        rows = {name: shown(server, name) for name in (*TABLES, "every", "untimed", "nanos", "split")}
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    yield World(root, rows)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_whole_tables_are_what_sql_showed(world: World, form: str, tmp_path: Path) -> None:
    before = tree_of(world.root)
    found = salvaged(world.root, tmp_path / "state", form)
    assert tree_of(world.root) == before
    assert found.keys() == world.rows.keys()
    for name, manifest in found.items():
        assert differences(manifest, world.rows[name]) == {}, name
        assert manifest["proven"], name
        assert {said["status"] for said in manifest["files"]} == {"written"}
        assert (manifest["missing"], manifest["skipped"], manifest["symbols_without_name"]) == ([], [], {})
    kinds = {kind.split("(")[0] for manifest in found.values() for kind in kinds_of(manifest).values()}
    tags = set(ColumnTag) - set(DECIMALS) - {ColumnTag.LONG128, ColumnTag.ARRAY}
    assert {type_name(tag).split("(")[0] for tag in tags} <= kinds
    assert len(found["split"]["files"]) > 1


def test_statements_are_listed_with_their_transaction(world: World, tmp_path: Path) -> None:
    said = salvaged(world.root, tmp_path / "state", "csv", "every")["every"]["statements"]
    assert [each["kind"] for each in said] == ["structure", "structure", "sql", "sql"]
    assert said[0]["sql"] == "add column late VARCHAR"
    assert said[2]["sql"] == "UPDATE every SET i = 77 WHERE byt > 100"
    assert [each["seq_txn"] for each in said] == sorted(each["seq_txn"] for each in said)
    assert all(each["applied"] for each in said)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def _zeros(path: Path, at: int, count: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(bytes(count))


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as stream:
        stream.truncate(size)


def _day(table: Path, day: str = _DAY) -> Path:
    return next(path for path in table.iterdir() if path.name.split(".")[0] == day)


@dataclass(frozen=True)
class Damage:
    """What is done to `daily`; `lost` are rows of the damaged day by column that must come as null, and be listed.

    `proven`: it stays certain that these are the table's rows. `gone`: partitions that must be listed as missing.
    """

    name: str
    do: Callable[[Path], Any]
    lost: dict[str, range] = field(default_factory=dict)
    proven: bool = True
    symbols: str = ""


_DAMAGES = (
    Damage("txn gone", lambda t: (t / "_txn").unlink(), proven=False),
    Damage("txn zeros", lambda t: _zeros(t / "_txn", 0, (t / "_txn").stat().st_size), proven=False),
    Damage("txn cut", lambda t: _cut(t / "_txn", 96), proven=False),
    Damage("meta gone", lambda t: (t / "_meta").unlink(), proven=False),
    Damage("meta zeros", lambda t: _zeros(t / "_meta", 0, 4096), proven=False),
    Damage("meta and txn gone", lambda t: _remove(t / "_meta", t / "_txn"), proven=False),
    Damage("fixed cut", lambda t: _cut(_day(t) / "f8.d", 8 * 150), {"f8": range(150, _ROWS)}),
    Damage("fixed cut within a value", lambda t: _cut(_day(t) / "l2.d", 32 * 77 + 5), {"l2": range(77, _ROWS)}),
    Damage("fixed gone", lambda t: (_day(t) / "uu.d").unlink(), {"uu": range(_ROWS)}),
    Damage("boolean cut", lambda t: _cut(_day(t) / "bo.d", 10), {"bo": range(10, _ROWS)}),
    Damage("string offsets gone", lambda t: (_day(t) / "st.i").unlink()),
    Damage("string offsets zeros", lambda t: _zeros(_day(t) / "st.i", 0, 4096)),
    Damage("binary offsets cut", lambda t: _cut(_day(t) / "bi.i", 100)),
    Damage("varchar entries gone", lambda t: (_day(t) / "vc.i").unlink(), {"vc": range(_ROWS)}),
    Damage("varchar entries zeros", lambda t: _zeros(_day(t) / "vc.i", 160, 1600), {"vc": range(10, 110)}),
    Damage("array entries zeros", lambda t: _zeros(_day(t) / "ar.i", 160, 1600), {"ar": range(10, 110)}),
    Damage("symbol offsets gone", lambda t: (t / "sx.o").unlink()),
    Damage("symbol names gone", lambda t: (t / "sx.c").unlink(), symbols="sx"),
    Damage("symbol index gone", lambda t: _remove(t / "sx.k", _day(t) / "sx.v")),
)


@pytest.mark.parametrize("damage", _DAMAGES, ids=lambda damage: damage.name)
def test_what_is_damaged_is_null_and_listed(world: World, damage: Damage, tmp_path: Path) -> None:
    source = DatabaseRoot.locate(world.root).table("daily")
    shutil.copytree(world.root / "db", tmp_path / "root" / "db", ignore=shutil.ignore_patterns("every*", "split*"))
    damage.do(tmp_path / "root" / "db" / source.directory)
    before = tree_of(tmp_path / "root")
    manifest = salvaged(tmp_path / "root", tmp_path / "state", "parquet", "daily")["daily"]
    assert tree_of(tmp_path / "root") == before
    first = 3 * _ROWS + 10  # ten rows out of order were added to the second day
    expected = {name: [first + row for row in rows] for name, rows in damage.lost.items()}
    differing = differences(manifest, world.rows["daily"])
    if damage.symbols:
        assert set(differing) == {damage.symbols}
        names = {manifest["values"][row][damage.symbols] for row in differing[damage.symbols]}
        keys = manifest["symbols_without_name"][damage.symbols]["keys"]
        assert names == {f"symbol-{key}" for key in keys}
    else:
        # a value that was null before is no difference
        assert differing.keys() <= expected.keys()
        for name, rows in expected.items():
            assert [row for row in rows if world.rows["daily"][row][name]] == differing[name]
            assert all(manifest["values"][row][name] == "" for row in rows)
    (said,) = [each for each in manifest["files"] if each["partition"] == _DAY]
    told = {
        hole["column"]: range(hole["first_row"], hole["first_row"] + hole["rows"]) for hole in said["null_by_damage"]
    }
    assert told == damage.lost
    assert all(not each["null_by_damage"] for each in manifest["files"] if each is not said)
    assert manifest["proven"] is damage.proven


def test_a_partition_that_is_gone_is_listed_with_its_rows(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "db", tmp_path / "root" / "db")
    table = DatabaseRoot.locate(tmp_path / "root").table("daily").path
    shutil.rmtree(_day(table))
    engine = salvage_engine(tmp_path / "root", tmp_path / "plan", "csv")
    assert any(f"400 rows lie in partitions that are gone: {_DAY}" in each
               for each in engine.plan("salvage-table", "daily").warnings)  # fmt: skip
    manifest = salvaged(tmp_path / "root", tmp_path / "state", "csv", "daily")["daily"]
    assert manifest["missing"] == [{"partition": _DAY, "rows": _ROWS}]
    left = [row for row in world.rows["daily"] if not row["ts"].startswith(_DAY)]
    assert differences(manifest, left) == {}


def test_a_parquet_partition_keeps_the_columns_that_can_be_decoded(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "db", tmp_path / "root" / "db")
    table = DatabaseRoot.locate(tmp_path / "root").table("parquet").path
    file = _day(table, "2024-01-03") / "data.parquet"
    import pyarrow.parquet

    column = pyarrow.parquet.ParquetFile(file).metadata.row_group(0)
    place = next(column.column(at) for at in range(column.num_columns) if column.column(at).path_in_schema == "i8")
    start = place.dictionary_page_offset or place.data_page_offset
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\xff" * 20)
    manifest = salvaged(tmp_path / "root", tmp_path / "state", "parquet", "parquet")["parquet"]
    assert set(differences(manifest, world.rows["parquet"])) == {"i8"}
    (said,) = [each for each in manifest["files"] if each["null_by_damage"]]
    (hole,) = said["null_by_damage"]
    assert (hole["column"], hole["first_row"], hole["rows"]) == ("i8", 0, 400)
