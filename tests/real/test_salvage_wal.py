"""salvage-wal against a real server: what is written equals what the server shows of the same rows, none missing.

One database of seeded tables, killed; one table with every column type. The database is never written to.
"""

import base64
import csv
import io
import json
import shutil
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from console.questdb.column_types import DECIMALS, ColumnTag
from console.questdb.layout import DatabaseRoot
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.recovery.engine import Engine
from console.recovery.model import Outcome, RunResult
from console.recovery.salvage.selection import Selection, select_directory
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, SalvageSettings, Settings
from tests.faults.broken_database import tree_of
from tests.real.generated_tables import SERVER, Batch, Recipe, build, wait_until_applied
from tests.real.salvaged_rows import rows_of

SEEDS = (3, 4, 5, 7, 11, 12, 19, 23, 31, 35)
COUNTED = ["sym", "px", "qty", "n", "n2", "note", "txt", "flag", "extra", "late"]

EVERY_TYPE = (
    "create table every (ts timestamp, bo boolean, by byte, sh short, ch char, i int, l long, d date, tu timestamp, "
    "tn timestamp_ns, f float, db double, l256 long256, l128 long128, g4 geohash(4b), g12 geohash(12b), "
    "g20 geohash(4c), g35 geohash(7c), g60 geohash(12c), bin binary, u uuid, ip ipv4, vc varchar, st string, "
    "ar double[], ar2 double[][], sy symbol, si symbol index) timestamp(ts) partition by week wal"
)
FILL = (
    "insert into every select timestamp_sequence('2023-12-{day}', 3600000000), rnd_boolean(), rnd_byte(), rnd_short(), "
    "rnd_char(), rnd_int(-100,100,3), rnd_long(-1000,1000,3), rnd_date(0, 1700000000000,3), "
    "rnd_timestamp('1969','2020',3), case when x%4=0 then null else "
    "('2000-01-01T00:00:00.000000001Z'::timestamp_ns+x) end, rnd_float(3), (rnd_double(3)-0.5)*1e12, rnd_long256(), "
    "to_long128(x, {day}), rnd_geohash(4), rnd_geohash(12), "
    "rnd_geohash(20), rnd_geohash(35), rnd_geohash(60), rnd_bin(1, 40, 2), rnd_uuid4(), rnd_ipv4(), "
    "rnd_varchar(1, 40, 3), rnd_str(1, 40, 3), rnd_double_array(1, 3), rnd_double_array(2, 2), "
    "rnd_symbol(50, 1, 9, 1), rnd_symbol('a\"b','ü','x,y',null,'') from long_sequence(300)"
)
EDGES = (
    "insert into every(ts, vc, st, sy) values ('2024-01-01', '', '', '')",
    "insert into every(ts, vc, st, sy, db, f, l256, u, ip, i, ar, ar2, ch, g60) values ('2024-01-02', 'a\"b\\c\nd', "
    "'q\"x😀é, y', 'ü', 1e-7, 1e20, '0x00ab0123', '00000000-0000-0000-0000-000000000001', '1.2.3.4', 2147483647, "
    "ARRAY[], ARRAY[[1.0,null],[3.5,-0.0]], 'ß', #u33dr5k8xcpd)",
    "insert into every(ts) values ('2024-01-03')",
    "insert into every(ts, l, d, tn, tu) values ('2024-01-04', 9223372036854775807, '1582-10-15', "
    "'1677-09-22T00:00:00.000000001Z', '0001-01-01')",
)


@dataclass(frozen=True)
class World:
    """A database that a server left; `applied` and `every_row` are its rows before and after the server went on."""

    batch: Batch
    state: Path
    unchanged: dict[str, tuple[str, int, int, int]]
    results: dict[str, dict[str, Any]]  # manifests by table
    live: dict[str, dict[str, Any]]  # manifests of a salvage while a server lived
    applied: dict[str, Counter[Any]]
    every_row: dict[str, Counter[Any]]


def _settings(root: Path, state: Path, **salvage: str) -> Settings:
    questdb = QuestDBSettings(db_root=str(root))
    return Settings(state_dir=str(state), questdb=questdb, salvage=SalvageSettings(**salvage), bare=True)


def _salvaged(engine: Engine, table: str | None) -> tuple[RunResult, dict[str, dict[str, Any]]]:
    """Run salvage-wal; return the result and the manifests by table directory, each with its folder."""
    plan = engine.plan("salvage-wal", table)
    assert plan.refused == ()
    assert plan.rows_lost.value == 0
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    manifests = {}
    for stage in plan.stages:
        folder = Path(str(stage.parameters["to"])) / f"{stage.parameters['name']}-{result.entry}"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        manifest = json.loads((folder / "manifest.json").read_bytes())
        manifests[str(stage.parameters["name"])] = {**manifest, "folder": str(folder)}
    return result, manifests


def _rows_of_server(server: PrivateServer, table: str) -> Counter[Any]:
    """Return the rows of a table as the server exports them, without columns that are null."""
    return Counter(_without_nulls(row) for row in _exported(server, table))


def _exported(server: PrivateServer, table: str) -> list[dict[str, str]]:
    query = urllib.parse.quote(f"select * from {table}")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/exp?query={query}") as answer:
        return list(csv.DictReader(io.StringIO(answer.read().decode(), newline="")))


def _without_nulls(row: dict[str, str]) -> frozenset[tuple[str, Any]]:
    return frozenset((name, _comparable(name, value)) for name, value in row.items() if value != "")


def _comparable(name: str, value: str) -> Any:
    return float(value) if name in ("px", "qty", "f", "db") else value


def _rows_of_files(manifest: dict[str, Any]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for said in manifest["files"]:
        with (Path(manifest["folder"]) / said["file"]).open(newline="", encoding="utf-8") as stream:
            rows = [_without_nulls(row) for row in csv.DictReader(stream)]
        assert len(rows) == said["rows"]
        found.update(rows)
    return found


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("salvage")
    batch = build(folder / "root", [Recipe.drawn(seed) for seed in SEEDS], questdb)
    unchanged = tree_of(batch.root)
    engine = Engine(_settings(batch.root, folder / "state"))
    results = _salvaged(engine, None)[1]
    assert tree_of(batch.root) == unchanged
    names = list(batch.directories)
    with PrivateServer(
        batch.root, questdb, settings={**SERVER, "cairo.wal.apply.enabled": "false"}, http=True
    ) as server:
        applied = {name: _rows_of_server(server, name) for name in names}
        live = _salvaged(engine, None)[1]
    with PrivateServer(batch.root, questdb, settings=SERVER, http=True) as server:
        for name in names:
            server.query(f"alter table {name} resume wal")
        wait_until_applied(server)
        every_row = {name: _rows_of_server(server, name) for name in names}
        server.query(EVERY_TYPE)
        for day in (20, 21, 22):
            server.query(FILL.format(day=day))
        for statement in EDGES:
            server.query(statement)
        known = next(recipe.name for recipe in batch.recipes if not recipe.dedup)
        server.query(f"insert into {known} (ts, sym) select timestamp_sequence('2024-03-01', 1000), sym from {known}")
        wait_until_applied(server)
        (folder / "every.csv").write_text(json.dumps(_exported_types(server)))
    yield World(batch, folder / "state", unchanged, results, live, applied, every_row)
    shutil.rmtree(folder, ignore_errors=True)


def _exported_types(server: PrivateServer) -> dict[str, Any]:
    names = [row[0] for row in server.query("select \"column\" from table_columns('every')") if row[0] != "l128"]
    rows = _exported(server, "(select " + ", ".join(names) + " from every)")
    with server.connect() as connection:
        blobs = connection.execute(b"select bin from every", binary=True).fetchall()
    return {"rows": rows, "blobs": [None if b is None else base64.b64encode(b).decode() for (b,) in blobs]}


def test_applied_and_salvaged_rows_are_all_rows_of_every_seeded_table(world: World) -> None:
    compared = 0
    for recipe in world.batch.recipes:
        directory = world.batch.directories[recipe.name]
        manifest = world.results.get(directory)
        salvaged = _rows_of_files(manifest) if manifest else Counter()
        expected = world.every_row[recipe.name] - world.applied[recipe.name]
        if recipe.dedup:  # a row of the WAL may replace another: every new one must be among the salvaged
            assert not expected - salvaged, recipe
            continue
        assert salvaged == expected, f"seed {recipe.seed}"
        assert sum(salvaged.values()) == world.batch.inserted[recipe.name] - sum(world.applied[recipe.name].values())
        compared += sum(salvaged.values())
    assert compared > 500, SEEDS


def test_a_live_server_does_not_change_what_is_salvaged(world: World) -> None:
    assert world.live.keys() == world.results.keys()
    for directory, manifest in world.results.items():
        hashes = [(said["file"], said["sha256"]) for said in manifest["files"]]
        assert hashes == [(said["file"], said["sha256"]) for said in world.live[directory]["files"]]
        assert {said["status"] for said in manifest["files"]} == {"written"}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_every_column_type_is_what_the_server_shows(world: World, form: str, tmp_path: Path) -> None:
    said = json.loads((world.batch.root.parent / "every.csv").read_text())
    engine = Engine(_settings(world.batch.root, tmp_path / "state", format=form, rows="all", to=str(tmp_path / "out")))
    _, manifests = _salvaged(engine, "every")
    (manifest,) = manifests.values()
    assert manifest["rows"] == 904
    rows: list[dict[str, str]] = []
    for each in manifest["files"]:
        path = Path(manifest["folder"]) / each["file"]
        rows += rows_of(path)
    assert len(rows) == len(said["rows"])
    rows.sort(key=lambda row: row["ts"])
    numbers: list[str] = []
    for mine, theirs, blob in zip(rows, said["rows"], said["blobs"], strict=True):
        assert (mine.pop("bin") or None) == blob
        theirs.pop("bin")
        numbers.append(mine.pop("l128"))
        for name, value in theirs.items():
            assert _same(name, mine[name], value), (name, mine[name], value)
    # the server can neither show nor export a LONG128: what was inserted is known
    filled = Counter(day << 64 | x for day in (20, 21, 22) for x in range(1, 301))
    assert Counter(uuid.UUID(number).int for number in numbers if number) == filled
    _assert_all_types(world.batch.root)


def _assert_all_types(root: Path) -> None:
    table = DatabaseRoot.locate(root).table("every")
    metadata = read_sequencer_metadata(table.path / "wal1" / "0")
    assert isinstance(metadata, SequencerMetadata)
    assert {column.tag for column in metadata.columns} == set(ColumnTag) - set(DECIMALS)


def _same(name: str, mine: str, theirs: str) -> bool:
    if name in ("vc", "st", "sy", "si"):  # the export escapes a backslash and a line's end, which no reader undoes
        return mine.replace("\\", "\\\\").replace("\n", "\\n") == theirs
    if name.startswith(("ar", "g")):
        theirs = "" if theirs == "null" else theirs
    if name in ("ar", "ar2") and mine and theirs:
        return bool(json.loads(mine) == json.loads(theirs))
    if name in ("f", "db") and mine and theirs:
        kind = np.float32 if name == "f" else np.float64
        return kind(mine).tobytes() == kind(theirs).tobytes()
    return mine == theirs


def test_torn_rows_are_left_out_or_null_and_reported(world: World, tmp_path: Path) -> None:
    table = DatabaseRoot.locate(world.batch.root).table("every")
    copied = tmp_path / "copied"
    segment = copied / "wal1" / "0"
    shutil.copytree(table.path / "wal1" / "0", segment)
    with (segment / "db.d").open("r+b") as stream:
        stream.truncate(8 * 150)  # rows from 150 on have no `db`
    with (segment / "ts.d").open("r+b") as stream:
        stream.seek(16 * 200)
        stream.write(bytes(16 * 100))  # rows 200 to 299 have no time
    (segment / "i.d").unlink()
    engine = Engine(_settings(world.batch.root, tmp_path / "state", wal=str(copied)))
    result, manifests = _salvaged(engine, "every")
    (manifest,) = manifests.values()
    (said,) = manifest["files"]
    assert said["status"] == "partial"
    assert (said["rows"], said["rows_left_out"]) == (200, 100)
    assert {torn["column"] for torn in said["torn"]} >= {"db", "ts", "i"}
    assert any("100 skipped" in claim.found for claim in result.verification)
    rows = list(csv.DictReader((Path(manifest["folder"]) / said["file"]).open(newline="")))
    assert all(row["db"] == "" for row in rows[150:])
    assert any(row["db"] for row in rows[:150])
    assert all(row["i"] == "" and row["ts"] > "2023" for row in rows)


def test_symbols_of_a_lost_dictionary_are_null_and_counted(world: World, tmp_path: Path) -> None:
    name = next(recipe.name for recipe in world.batch.recipes if not recipe.dedup)
    last = max(int(path.name[3:]) for path in world.batch.table(name).glob("wal*") if path.is_dir())
    copied = tmp_path / "copied"
    shutil.copytree(world.batch.table(name) / f"wal{last}", copied / f"wal{last}")
    lost = list(copied.glob("wal*/*.o"))
    for path in lost:
        path.unlink()
    _, manifests = _salvaged(Engine(_settings(world.batch.root, tmp_path / "state", wal=str(copied))), None)
    (found,) = manifests.values()
    assert lost
    assert any(said["symbols_not_named"].get("sym") for said in found["files"])
    assert "partial" in {said["status"] for said in found["files"]}
    # with the table beside it, its own dictionary serves
    _, manifests = _salvaged(Engine(_settings(world.batch.root, tmp_path / "state", wal=str(copied))), name)
    (found,) = manifests.values()
    assert not any(said["symbols_not_named"] for said in found["files"])
    assert _symbols_of(found) == _symbols_of_rows(world.every_row[name])


def _symbols_of(manifest: dict[str, Any]) -> Counter[str]:
    return _symbols_of_rows(_rows_of_files(manifest))


def _symbols_of_rows(rows: Counter[Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row, count in rows.items():
        found[str(dict(row).get("sym", ""))] += count
    return found


def test_it_is_not_written_into_the_database_nor_where_there_is_no_room(world: World, tmp_path: Path) -> None:
    inside = tmp_path / "link"
    inside.symlink_to(world.batch.root / "db")
    for to in (world.batch.root / "db", world.batch.root / "db" / "new" / "er", inside / "x"):
        plan = Engine(_settings(world.batch.root, tmp_path / "state", to=str(to), rows="all")).plan("salvage-wal", None)
        assert "inside-database" in {refusal.code for refusal in plan.refused}
        result = Engine(_settings(world.batch.root, tmp_path / "state", to=str(to))).run(plan, plan.confirmation)
        assert result.outcome is Outcome.REFUSED
    assert not (world.batch.root / "db" / "new").exists()
    wrong = Engine(_settings(world.batch.root, tmp_path / "state", format="xls")).plan("salvage-wal", None)
    assert "no-such-format" in {refusal.code for refusal in wrong.refused}


def test_what_is_gone_when_its_turn_comes_is_reported(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = DatabaseRoot.locate(world.batch.root).table("every")
    copied = tmp_path / "copied"
    shutil.copytree(table.path / "wal1", copied / "wal1")

    def purged_after(directory: Path) -> Selection:
        selection = select_directory(directory)
        shutil.rmtree(copied / "wal1" / "0")
        return selection

    monkeypatch.setattr("console.recovery.actions.salvage.steps.select_directory", purged_after)
    _, manifests = _salvaged(Engine(_settings(world.batch.root, tmp_path / "state", wal=str(copied))), "every")
    (manifest,) = manifests.values()
    assert [(each["wal"], each["segment"]) for each in manifest["skipped"]] == [(1, 0)]
    assert manifest["rows_left_out"] > 0
