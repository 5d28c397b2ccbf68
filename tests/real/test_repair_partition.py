"""repair-partition on real tables: what it announces as lost is what is lost, and the server takes the result.

One database: a table for each case, all with the rows of the twin, damaged after the server was killed. The repaired
tables are then read and written by one server.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.table_txn import read_table_txn
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import PartitionSettings, QuestDBSettings, Settings
from tests.faults.broken_database import tree_of
from tests.real.salvaged_rows import Row, shown
from tests.real.whole_tables import SETTINGS, settle, statements

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

_ROWS = 200
_HALF = range(100, _ROWS)
_MIDDLE, _LAST = "2024-01-03", "2024-01-05"
_TWIN = "twin"


def _cut(table: Path, day: str, file: str, size: int) -> None:
    with (_day(table, day) / file).open("r+b") as stream:
        stream.truncate(size)


def _gone(table: Path, day: str, *files: str) -> None:
    for file in files:
        (_day(table, day) / file).unlink()


def _day(table: Path, day: str) -> Path:
    return next(path for path in table.iterdir() if path.name.split(".")[0] == day)


def _zeros(table: Path, day: str, file: str) -> None:
    path = _day(table, day) / file
    path.write_bytes(bytes(path.stat().st_size))


def _drop(table: Path, day: str) -> None:
    backup = table.parent.parent / f"copy-{table.name}"
    shutil.move(_day(table, day), backup / _day(table, day).name)
    shutil.copy2(table / "_meta", backup / "_meta")  # a copy of the table's directory has it


def _detached(table: Path, day: str) -> None:
    _day(table, day).rename(table / f"{day}.detached")


def _beside(table: Path, day: str, file: str) -> None:
    """Lose a file of a partition that stands beside a whole copy of it with another name txn."""
    area = read_table_txn(table).current
    assert area is not None
    shutil.copytree(_day(table, day), table / f"{day}.{area.txn}")
    (table / day / file).unlink()


def _all(*strikes: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda table: [strike(table) for strike in strikes]


@dataclass(frozen=True)
class Case:
    """One damage. `null` are values of a day that become NULL by column, `rows` are rows of a day that are lost.

    `doubted`: nothing proves that the copy taken is the partition, so that all of its rows may be lost.
    """

    name: str
    do: Callable[[Path], Any]
    day: str = _MIDDLE
    null: dict[str, range] = field(default_factory=dict)
    rows: range = range(0)
    choice: str = ""
    copy: bool = False
    rehearsed: bool = False
    doubted: bool = False


CASES = (
    Case("fixed_cut", lambda t: _cut(t, _MIDDLE, "f8.d", 8 * 70 + 3), null={"f8": range(70, _ROWS)}),
    Case("fixed_gone", lambda t: _gone(t, _LAST, "uu.d"), _LAST, {"uu": range(_ROWS)}),
    Case("offsets_zeros", lambda t: _zeros(t, _MIDDLE, "st.i")),
    Case("offsets_gone", lambda t: _gone(t, _LAST, "st.i", "bi.i"), _LAST),
    Case("varchar_gone", lambda t: _gone(t, _MIDDLE, "vc.i"), null={"vc": range(_ROWS)}),
    Case("varchar_both_gone", lambda t: _gone(t, _LAST, "vc.i", "vc.d"), _LAST, {"vc": range(_ROWS)}),
    Case("array_gone", lambda t: _gone(t, _MIDDLE, "ar.i"), null={"ar": range(_ROWS)}),
    Case("symbol_cut", lambda t: _cut(t, _MIDDLE, "sx.d", 400)),
    Case("symbol_gone", lambda t: _gone(t, _LAST, "sx.d", "sx.k", "sx.v"), _LAST, {"sx": range(_ROWS)}),
    Case("plain_symbol_cut", lambda t: _cut(t, _MIDDLE, "sy.d", 400), null={"sy": range(100, _ROWS)}),
    Case("middle_gone", lambda t: shutil.rmtree(_day(t, _MIDDLE)), rows=range(_ROWS)),
    Case("last_gone", lambda t: shutil.rmtree(_day(t, _LAST)), _LAST, rows=range(_ROWS)),
    Case("cut_middle", lambda t: _cut(t, _MIDDLE, "i8.d", 800), rows=_HALF, choice="whole-rows", rehearsed=True),
    Case("cut_last", lambda t: _cut(t, _LAST, "i8.d", 800), _LAST, rows=_HALF, choice="whole-rows", rehearsed=True),
    Case("aside", lambda t: _gone(t, _MIDDLE, "i8.d"), rows=range(_ROWS), choice="set-aside"),
    Case("times_cut", lambda t: _cut(t, _MIDDLE, "ts.d", 8 * 150), rows=range(150, _ROWS)),
    Case(
        "times_and_gone",
        _all(lambda t: _cut(t, _LAST, "ts.d", 8 * 150), lambda t: _gone(t, _LAST, "f8.d", "vc.i", "sx.d", "sx.k")),
        _LAST, {"f8": range(150), "vc": range(150), "sx": range(150)}, range(150, _ROWS), rehearsed=True,
    ),
    Case(
        "times_and_torn",
        _all(lambda t: _cut(t, _MIDDLE, "ts.d", 8 * 150), lambda t: _cut(t, _MIDDLE, "f8.d", 400)),
        null={"f8": range(50, 150)}, rows=range(150, _ROWS),
    ),
    Case(
        "torn_and_gone",
        _all(lambda t: _cut(t, _MIDDLE, "i8.d", 800), lambda t: _gone(t, _MIDDLE, "uu.d")),
        null={"uu": range(100)}, rows=_HALF, choice="whole-rows", rehearsed=True,
    ),
    Case(
        "torn_and_gone_last",
        _all(lambda t: _cut(t, _LAST, "i8.d", 800), lambda t: _gone(t, _LAST, "st.d", "st.i")),
        _LAST, {"st": range(100)}, _HALF, "whole-rows",
    ),
    Case(
        "torn_offsets",
        _all(lambda t: _cut(t, _LAST, "i8.d", 800), lambda t: _zeros(t, _LAST, "st.i")),
        _LAST, rows=_HALF, choice="whole-rows",
    ),
    Case("copied", lambda t: _drop(t, _MIDDLE), copy=True, rehearsed=True),
    Case("copied_detached", lambda t: _detached(t, _LAST), _LAST, doubted=True),
    Case("copied_beside", lambda t: _beside(t, _MIDDLE, "vc.i"), rehearsed=True),
)  # fmt: skip


@dataclass
class World:
    root: Path
    state: Path
    twin: list[Row]
    jar: str = ""
    java: str = ""
    plans: dict[str, Plan] = field(default_factory=dict)
    rehearsed: dict[str, Rehearsal] = field(default_factory=dict)
    undone: dict[str, bool] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)


def _engine(world: World, case: Case) -> Engine:
    source = str(world.root / f"copy-{_directory(world, case)}") if case.copy else ""
    wanted = PartitionSettings(choice=case.choice, source=source)
    questdb = QuestDBSettings(db_root=str(world.root), jar=world.jar, java=world.java)
    return Engine(Settings(state_dir=str(world.state), questdb=questdb, partition=wanted, bare=True))


def _directory(world: World, case: Case) -> str:
    return DatabaseRoot.locate(world.root).table(case.name).directory


def _repaired(world: World, case: Case, *, undo: bool) -> None:
    engine = _engine(world, case)
    evidence = engine.plan("capture-evidence", case.name)
    assert engine.run(evidence, evidence.confirmation).outcome is Outcome.DONE
    engine = _engine(world, case)
    plan = world.plans[case.name] = engine.plan("repair-partition", case.name)
    assert plan.refused == (), (case.name, plan.refused)
    place = world.root / "db" / _directory(world, case)
    before = tree_of(place)
    if case.rehearsed:
        world.rehearsed[case.name] = rehearse(engine, "repair-partition", case.name)
        assert tree_of(place) == before
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, (case.name, result)
    if undo:
        back = engine.undo(result.entry, engine.plan_undo(result.entry).confirmation)
        assert back.outcome is Outcome.DONE, (case.name, back)
        world.undone[case.name] = tree_of(place) == before
        again = engine.plan("repair-partition", case.name)
        assert engine.run(again, again.confirmation).outcome is Outcome.DONE, case.name


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, workshop: Path) -> World:
    folder = workshop
    made = World(folder / "root", folder / "state", [], str(questdb.jar), str(questdb.java))
    made.root.mkdir()
    with PrivateServer(made.root, questdb, settings=SETTINGS, http=True) as server:
        for statement in statements(_TWIN, "PARTITION BY DAY WAL", _ROWS):
            server.query(statement) if statement else settle(server)
        settle(server)
        for case in CASES:
            server.query(f"CREATE TABLE {case.name} (LIKE {_TWIN})")
            server.query(f"INSERT INTO {case.name} SELECT * FROM {_TWIN}")
        settle(server)
        made.twin = shown(server, _TWIN)
        server.kill()
    (made.root / "db" / "tables.d.lock").touch()
    for case in CASES:
        table = DatabaseRoot.locate(made.root).table(case.name).path
        (made.root / f"copy-{table.name}").mkdir()
        case.do(table)
        shutil.copytree(table, made.root.parent / "struck" / table.name)
        _repaired(made, case, undo=case.name in ("fixed_cut", "symbol_gone", "aside", "copied", "cut_last"))
    with PrivateServer(made.root, questdb, settings=SETTINGS, http=True) as server:
        settle(server)
        made.rows = {case.name: shown(server, case.name) for case in CASES}
        for case in CASES:
            for day in range(1, 7):
                server.query(
                    f"INSERT INTO {case.name} (ts, i4, vc, sx) VALUES ('2024-01-0{day}T00:00:03', 7, 'w', 'q')"
                )
        settle(server)
        assert not any(row[0] for row in server.query("SELECT suspended FROM wal_tables()"))
        made.written = {case.name: int(server.query(f"SELECT count() FROM {case.name}")[0][0]) for case in CASES}
        for case in CASES:
            shown(server, case.name)  # every value can be read
    return made


def _expected(world: World, case: Case) -> list[Row]:
    """Return the rows of the twin without what the case loses."""
    first = next(at for at, row in enumerate(world.twin) if row["ts"].startswith(case.day))
    rows = [dict(row) for row in world.twin]
    for name, lost in case.null.items():
        for row in lost:
            rows[first + row][name] = ""
    gone = {first + row for row in case.rows}
    return [row for at, row in enumerate(rows) if at not in gone]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_announced_is_lost_and_no_more(world: World, case: Case) -> None:
    plan = world.plans[case.name]
    assert plan.rows_lost.value == (_ROWS if case.doubted else len(case.rows))
    lost = {each.column: each.count for each in plan.values_lost}
    assert lost == {name: len(rows) for name, rows in case.null.items()}
    expected = _expected(world, case)
    assert len(world.rows[case.name]) == len(expected)
    nothing = {"": "", "null": ""}
    for found, row in zip(world.rows[case.name], expected, strict=True):
        assert {k: nothing.get(v, v) for k, v in found.items()} == {k: nothing.get(v, v) for k, v in row.items()}
    assert world.written[case.name] == len(expected) + 6
    assert world.undone.get(case.name, True)


@pytest.mark.parametrize("case", [case for case in CASES if case.rehearsed], ids=lambda case: case.name)
def test_each_way_is_proven_on_a_clone_first(world: World, case: Case) -> None:
    ended = world.rehearsed[case.name]
    assert ended.outcome is RehearsalOutcome.PASSED, ended.message
    back = next(claim for claim in ended.verification if claim.key is ClaimKey.ROWS_BACK)
    assert back.expected == f"{-len(case.rows):,}"


@pytest.mark.faults
@pytest.mark.parametrize("case", [case for case in CASES if not case.rehearsed], ids=lambda case: case.name)
def test_every_other_way_is_proven_on_a_clone_too(world: World, case: Case, tmp_path: Path) -> None:
    again = World(tmp_path.resolve() / "root", tmp_path.resolve() / "state", world.twin, world.jar, world.java)
    directory = _directory(world, case)
    shutil.copytree(world.root.parent / "struck" / directory, again.root / "db" / directory)
    for each in (world.root / "db").iterdir():
        if each.is_file():
            shutil.copy2(each, again.root / "db")
    ended = rehearse(_engine(again, case), "repair-partition", case.name)
    assert ended.outcome is RehearsalOutcome.PASSED, ended.message
    back = next(claim for claim in ended.verification if claim.key is ClaimKey.ROWS_BACK)
    assert back.expected == f"{-len(case.rows):,}"


def test_what_is_set_aside_stays_beside_the_table(world: World) -> None:
    case = next(each for each in CASES if each.name == "aside")
    (place,) = (world.root / "db").glob(f"{_directory(world, case)}.walmedic-*.aside")
    (kept,) = place.iterdir()
    assert kept.name.startswith(_MIDDLE)
    assert (kept / "f8.d").stat().st_size >= 8 * _ROWS


def test_a_choice_that_is_not_there_is_refused_with_the_others(world: World, tmp_path: Path) -> None:
    case = next(each for each in CASES if each.name == "middle_gone")
    shutil.copytree(world.root / "db", tmp_path / "root" / "db")
    again = World(tmp_path / "root", tmp_path / "state", [])
    shutil.rmtree(_day(DatabaseRoot.locate(again.root).table(_TWIN).path, _MIDDLE))
    plan = _engine(again, replace(case, choice="null")).plan("repair-partition", _TWIN)
    assert plan.stages == ()
    assert any("set-aside" in each.instead for each in plan.refused)
