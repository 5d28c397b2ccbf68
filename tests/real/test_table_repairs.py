"""Symbol maps and indexes repaired offline, each damage on a real table of every column type, against what SQL showed.

All tables are on one server: before the damage every row is read; after the repair all must be the same, a filter on
each symbol must find its rows, and new rows with known and new symbols must be found as well, after a restart too.
"""

import datetime
import shutil
from collections import Counter
from pathlib import Path

import pytest

from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings
from console.text import plural
from tests.faults.broken_database import captured, tree_of
from tests.real.table_repair_cases import CASES, Case
from tests.real.whole_tables import DAYS, SETTINGS, make, settle

pytestmark = pytest.mark.timeout(1800)  # one fixture repairs all tables, one after the other

_ROWS = 300
REHEARSED = ("c_gone", "index_cut", "keys_torn")
_SYMBOLS = ("sy", "sx", "late_x")
Rows = list[tuple[object, ...]]


def _path(root: Path, table: str, day: int, name: str) -> Path:
    folder = next(path for path in (root / "db").iterdir() if path.name.split("~")[0] == table and path.is_dir())
    if day:
        folder = next(path for path in folder.iterdir() if path.name.split(".")[0] == DAYS[day - 1])
    return next(path for path in sorted(folder.iterdir()) if path.name == name or path.name.startswith(f"{name}."))


def _rows(server: PrivateServer, table: str) -> Rows:
    return [tuple(row) for row in server.query(f"SELECT * FROM {table} ORDER BY ts, i8")]


def _by_symbol(server: PrivateServer, table: str, column: str) -> Counter[object]:
    """Count the rows of each symbol by a filter on it, which goes through map and index."""
    found: Counter[object] = Counter()
    for (name,) in server.query(f"SELECT DISTINCT {column} FROM {table}"):
        condition = f"{column} IS NULL" if name is None else f"{column} = '{name}'"
        found[name] = int(server.query(f"SELECT count() FROM {table} WHERE {condition}")[0][0])
    return found


def _insert(server: PrivateServer, table: str, symbol: str, number: int) -> None:
    for day in DAYS:
        at = datetime.datetime.fromisoformat(day) + datetime.timedelta(hours=1, microseconds=number)
        server.query(
            f"INSERT INTO {table} (ts, i8, sx, sy) VALUES ('{at.isoformat()}', {number}, '{symbol}', '{symbol}')"
        )


@pytest.fixture(scope="module")
def before() -> dict[str, Rows]:
    """The rows of each table before the damage."""
    return {}


@pytest.fixture(scope="module")
def repaired(questdb: ServerBinary, workshop: Path, before: dict[str, Rows]) -> Path:
    """The root with each table damaged and repaired, undone and repaired again."""
    root = workshop / "root"
    make(root, questdb, dict.fromkeys(CASES, "PARTITION BY DAY WAL"), rows=_ROWS)
    with PrivateServer(root, questdb, settings=SETTINGS) as server:
        settle(server)
        before |= {name: _rows(server, name) for name in CASES}
        server.kill()
    for name, case in CASES.items():
        for day, file, strike in case.strikes:
            strike(_path(root, name, day, file))
    engine = captured(root, workshop / "state")
    for name in REHEARSED:
        shutil.copytree(root, workshop / name / "root")
    for name, case in CASES.items():
        _repair(engine, name, case)
    return root


@pytest.mark.faults
@pytest.mark.parametrize("name", REHEARSED)
def test_a_repair_is_proven_on_a_clone_first(name: str, repaired: Path, questdb: ServerBinary) -> None:
    root = repaired.parent / name / "root"
    found = QuestDBSettings(db_root=str(root), jar=str(questdb.jar), java=str(questdb.java))
    engine = Engine(Settings(state_dir=str(repaired.parent / name / "state"), questdb=found, bare=True))
    ended = rehearse(engine, CASES[name].action, name)
    assert ended.outcome is RehearsalOutcome.PASSED, ended.message
    read = next(claim for claim in ended.verification if claim.key is ClaimKey.VALUES_READ)
    days = {day for day, _, _ in CASES[name].strikes}  # 0: the symbol map, which is of all partitions
    partitions = len(DAYS) if 0 in days else len(days | {len(DAYS)})
    assert f"each value of {plural(partitions, 'partition')}" in read.claim


def _repair(engine: Engine, name: str, case: Case) -> None:
    plan = engine.plan(case.action, name)
    if any(refusal.code is RefusalCode.EVIDENCE_INCOMPLETE for refusal in plan.refused):
        assert case.deep, name  # a check of lengths and ends does not see it
        more = engine.plan("capture-evidence", name)
        assert engine.run(more, more.confirmation).outcome is Outcome.DONE
        plan = engine.plan(case.action, name)
    if case.refused:
        assert plan.refused
        assert not plan.stages
        return
    assert plan.refused == (), (name, plan.refused)
    assert plan.stages, name
    assert bool(plan.values_lost) == case.names_lost, (name, plan.values_lost)
    names = sum(lost.count or 0 for lost in plan.values_lost)
    assert plan.confirmation == f"{name} lose 0" + (f" rows and {names} names" if case.names_lost else "")
    place = engine.database.table(name).path
    original = tree_of(place)
    done = engine.run(plan, plan.confirmation)
    assert done.outcome is Outcome.DONE, (name, done)
    assert tree_of(place) != original
    undone = engine.undo(done.entry, engine.plan_undo(done.entry).confirmation)
    assert undone.outcome is Outcome.DONE, (name, undone)
    assert tree_of(place) == original, name
    again = engine.plan(case.action, name)
    assert engine.run(again, again.confirmation).outcome is Outcome.DONE, name
    assert not engine.plan(case.action, name).stages, name


def test_a_repaired_table_is_as_it_was_and_takes_rows(
    repaired: Path, questdb: ServerBinary, before: dict[str, Rows]
) -> None:
    good = [name for name, case in CASES.items() if not case.refused]
    counts: dict[str, dict[str, Counter[object]]] = {}
    with PrivateServer(repaired, questdb, settings=SETTINGS) as server:
        for name in good:
            rows = _rows(server, name)
            if CASES[name].names_lost:
                _same_but_for_names(name, rows, before[name])
            else:
                assert rows == before[name], name
            known = str(server.query(f"SELECT sx FROM {name} WHERE sx IS NOT NULL LIMIT 1")[0][0])
            counts[name] = {column: _by_symbol(server, name, column) for column in _SYMBOLS}
            for column in _SYMBOLS:
                assert sum(counts[name][column].values()) == len(rows), (name, column)
            for number, symbol in enumerate((known, "brand new", known)):
                _insert(server, name, symbol, number)
                for column in ("sx", "sy"):
                    counts[name][column][symbol] += len(DAYS)
                counts[name]["late_x"][None] += len(DAYS)
        settle(server)
    with PrivateServer(repaired, questdb, settings=SETTINGS) as server:
        for name in good:
            for column in _SYMBOLS:
                assert _by_symbol(server, name, column) == counts[name][column], (name, column)
            assert not server.query(f"SELECT suspended FROM wal_tables() WHERE name = '{name}' AND suspended")


def _same_but_for_names(name: str, rows: Rows, before: Rows) -> None:
    """Each old symbol must have become one new one, and everything else be the same."""
    assert len(rows) == len(before)
    pairs = set()
    for new, old in zip(rows, before, strict=True):
        different = [(a, b) for a, b in zip(new, old, strict=True) if a != b]
        assert len(different) <= 1, (name, different)
        pairs |= set(different)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert all(str(a).startswith("symbol-") for a, _ in pairs)
