"""What only a full check finds is repaired as well, on real tables: values that misfit, and what a repair must not do.

One server makes the tables, another one reads them after the repairs. What the plans announce is compared with the rows
of before, value by value.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.diagnosis.deep_files import DeepFiles
from console.diagnosis.model import Severity
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.store.deep_damage import note_damage, places_of
from console.recovery.store.state import StateDir
from tests.faults.broken_database import captured
from tests.real.salvaged_rows import Row, shown
from tests.real.whole_tables import DAYS, SETTINGS, make, settle

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

_ROWS = 1500
_PAGE = 4096


def _file(table: Path, name: str, day: str = DAYS[2]) -> Path:
    folder = next(path for path in table.iterdir() if path.name.split(".")[0] == day)
    return folder / name


def _page(name: str, number: int) -> Callable[[Path], object]:
    def strike(table: Path) -> None:
        with _file(table, name).open("r+b") as file:
            file.seek(number * _PAGE)
            file.write(bytes(_PAGE))

    return strike


def _of_another_column(table: Path) -> None:
    size = _file(table, "vc.i").stat().st_size
    _file(table, "vc.i").write_bytes(_file(table, "st.i").read_bytes()[:size].ljust(size, b"\0"))


def _keys(name: str, *, index: bool = True) -> Callable[[Path], object]:
    """Keys that no symbol has: one too high, one below zero that is not NULL; and the index is torn or not."""

    def strike(table: Path) -> None:
        with _file(table, name).open("r+b") as file:
            for row, key in ((100, 999), (700, -5)):
                file.seek(4 * row)
                file.write(key.to_bytes(4, "little", signed=True))
        if not index:
            _page(name.replace(".d", ".v"), 0)(table)

    return strike


@dataclass(frozen=True)
class Case:
    """A table, its damage, the action that a full check names, and the column that loses values."""

    name: str
    do: Callable[[Path], object]
    action: str = "repair-partition"
    column: str = ""


CASES = (
    Case("string_entries", _page("st.i", 0)),
    Case("binary_entries", _page("bi.i", 1)),
    Case("varchar_entries", _page("vc.i", 1), column="vc"),
    Case("varchar_entries_first", _page("vc.i", 0), column="vc"),
    Case("varchar_values", _page("vc.d", 2), column="vc"),
    Case("string_values", _page("st.d", 2), column="st"),
    Case("array_entries", _page("ar.i", 2), column="ar"),
    Case("foreign_entries", _of_another_column, column="vc"),
    Case("keys_unknown", _keys("sy.d"), column="sy"),
    Case("keys_unknown_indexed", _keys("sx.d"), action="rebuild-index"),
    Case("keys_unknown_index_torn", _keys("sx.d", index=False), column="sx"),
    Case("index_values", _page("sx.v", 0), action="rebuild-index"),
)


@dataclass
class World:
    """The rows of before and after, the plans, and what a full check says of each table at the end."""

    before: dict[str, list[Row]] = field(default_factory=dict)
    after: dict[str, list[Row]] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)


def _deep(table: TableDirectory) -> list[str]:
    return [each.message for each in DeepFiles(table).look().findings if each.severity is Severity.DAMAGE]


def _repaired(root: Path, state: Path, case: Case) -> Plan:
    """Check, capture evidence of all tables, repair: as an operator does, who names no table for the evidence."""
    database = DatabaseRoot.locate(root)
    table = database.table(case.name)
    found = DeepFiles(table).look().findings
    note_damage(StateDir(state), database.db, {table.directory: places_of(found)}, whole=True)
    engine: Engine = captured(root, state)
    plan = engine.plan(case.action, case.name)
    assert plan.refused == (), (case.name, plan.refused)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, (case.name, [each.found for each in result.verification if not each.ok])
    return plan


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, workshop: Path) -> World:
    folder = workshop
    root, made = folder / "root", World()
    names = [*(case.name for case in CASES), "last_gone"]
    make(root, questdb, dict.fromkeys(names, "PARTITION BY DAY WAL"), rows=_ROWS)
    with PrivateServer(root, questdb, settings=SETTINGS, http=True) as server:
        settle(server)
        made.before = {name: shown(server, name) for name in names}
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    for case in CASES:
        case.do(DatabaseRoot.locate(root).table(case.name).path)
        made.plans[case.name] = _repaired(root, folder / "state", case)
        made.left[case.name] = _deep(DatabaseRoot.locate(root).table(case.name))
    for day in DAYS[3:]:  # the columns that come late were added on the fourth day
        _file(DatabaseRoot.locate(root).table("last_gone").path, "", day).rename(folder / day)
    made.plans["last_gone"] = _repaired(root, folder / "state", Case("last_gone", lambda _: None))
    with PrivateServer(root, questdb, settings=SETTINGS, http=True) as server:
        server.query(f"INSERT INTO last_gone (ts, i4) VALUES ('{DAYS[2]}T00:00:03', 7)")
        settle(server)
        made.after = {name: shown(server, name) for name in names}
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_announced_is_lost_and_no_more(world: World, case: Case) -> None:
    plan, before, after = world.plans[case.name], world.before[case.name], world.after[case.name]
    assert (plan.rows_lost.phrase, len(after)) == ("0", len(before))
    changed: Counter[str] = Counter()
    for old, new in zip(before, after, strict=True):
        for name, value in old.items():
            if new[name] != value:
                assert new[name] in ("", "null"), (name, value, new[name])
                changed[name] += 1
    announced = {lost.column: lost.count or 0 for lost in plan.values_lost}
    nulls = sum(row[case.column] in ("", "null") for row in before) if case.column else 0
    assert set(changed) <= set(announced), (changed, announced)
    for column, count in announced.items():
        assert 0 < changed[column] <= count <= changed[column] + nulls, (changed, announced)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_full_check_of_the_result_finds_nothing(world: World, case: Case) -> None:
    assert world.left[case.name] == []


def test_columns_that_came_later_stay_null_where_the_last_partition_is_set_aside(world: World) -> None:
    """The next write into the partition that is the last one then must not make zeros of them."""
    after = [row for row in world.after["last_gone"] if row["ts"].startswith(DAYS[2])]
    assert len(after) == _ROWS + 1
    assert {row["late_d"] for row in after} <= {"", "null"}
