"""A registry of tables full of garbage, or with zeros in it: repaired, started, and taken back byte for byte.

Tables were renamed to and fro, so that a registry that is only half read calls them by each other's names.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from console.diagnosis.model import Code, Severity, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer, ServerError
from tests.faults.broken_database import settings_of
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.waiting import until

_ACTION: Final = "repair-registry"
_ROWS: Final = {"a": 1, "b": 3, "c": 2, "new name": 4, "plain": 5}
"""Rows by the names that the tables end with; `b` and `c` have changed theirs."""


def _garbage(data: bytearray, end: int) -> None:
    data[:end] = bytes(range(7, 256, 3)) * (end // 83 + 1)


def _half(data: bytearray, end: int) -> None:
    data[end // 2 : end] = b"\xee" * (end - end // 2)


def _zeros_behind(data: bytearray, end: int) -> None:
    data[end // 2 : end] = bytes(end - end // 2)


def _zeros_before(data: bytearray, end: int) -> None:
    data[8 : end // 2] = bytes(end // 2 - 8)


_DAMAGES: Final[dict[str, tuple[Callable[[bytearray, int], None], bool]]] = {
    "garbage": (_garbage, False), "half": (_half, False), "zeros_before": (_zeros_before, False),
    "zeros_behind": (_zeros_behind, True),
}  # fmt: skip
"""How the file is damaged, and whether a server starts on it."""


@dataclass(frozen=True)
class Made:
    """A root with the tables, and its registry as it was."""

    root: Path
    registry: Path


@pytest.fixture(scope="module")
def made(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The tables of `_ROWS`, one dropped, and one whose `_name` is lost."""
    root = tmp_path_factory.mktemp("registry").resolve() / "root"
    root.mkdir()
    with PrivateServer(root, questdb, settings=SERVER) as server:
        for name, rows in (("a", 1), ("b", 2), ("c", 3), ("old", 4), ("plain", 5), ("gone", 6)):
            how = "BYPASS WAL" if name == "plain" else "WAL"
            server.query(f"CREATE TABLE {name} (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY {how}")
            server.query(f"INSERT INTO {name} SELECT cast(x * 86400000000L AS TIMESTAMP), x FROM long_sequence({rows})")
        wait_until_applied(server)
        for before, after in (("old", "new name"), ("b", "aside"), ("c", "b"), ("aside", "c")):
            server.query(f"RENAME TABLE {before} TO '{after}'")
        server.query("DROP TABLE gone")
        wait_until_applied(server)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    return Made(root, max((root / "db").glob("tables.d.[0-9]*")))


def _rows(root: Path, questdb: ServerBinary) -> dict[str, int]:
    """Return the rows of each table by name, as a server that starts shows them; then it creates another table."""
    with PrivateServer(root, questdb, settings=SERVER) as server:
        names = [str(row[0]) for row in server.query("SELECT table_name FROM tables()")]
        names = [name for name in names if not name.startswith(("sys.", "telemetry"))]
        found = {name: int(server.query(f'SELECT count() FROM "{name}"')[0][0]) for name in names}
        server.query("CREATE TABLE later (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
    return found


def _struck(made: Made, place: Path, damage: str) -> tuple[Path, Path, Engine]:
    """Return a copy of the root with its registry damaged, that, and an engine on it."""
    root = place.resolve() / "root"
    shutil.copytree(made.root, root)
    registry = root / "db" / made.registry.name
    data = bytearray(registry.read_bytes())
    _DAMAGES[damage][0](data, int.from_bytes(data[:8], "little"))
    registry.write_bytes(data)
    return root, registry, Engine(settings_of(root, place / "state"))


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_damaged_registry_is_made_again(made: Made, tmp_path: Path, questdb: ServerBinary, damage: str) -> None:
    root, registry, engine = _struck(made, tmp_path, damage)
    shutil.copytree(root, tmp_path / "untouched")
    if _DAMAGES[damage][1]:
        assert _rows(tmp_path / "untouched", questdb) != _ROWS  # under names of before
    else:
        with pytest.raises(ServerError):
            _rows(tmp_path / "untouched", questdb)
    step = engine.first_step()
    assert step is not None
    assert (step.action, step.table) == (_ACTION, None)
    before = registry.read_bytes()
    plan = engine.plan(_ACTION, None)
    assert plan.refused == ()
    done = engine.run(plan, plan.confirmation)
    assert done.outcome is Outcome.DONE, done
    assert engine.undo(done.entry, engine.plan_undo(done.entry).confirmation).outcome is Outcome.DONE
    assert registry.read_bytes() == before
    again = engine.plan(_ACTION, None)
    done = engine.run(again, again.confirmation)
    assert done.outcome is Outcome.DONE, done
    assert not engine.plan(_ACTION, None).needed
    assert _rows(root, questdb) == _ROWS
    assert [each.code for each in engine.plan_undo(done.entry).refused] == [RefusalCode.MOVED_ON]


def test_a_name_that_only_the_registry_has_is_written_first(made: Made, tmp_path: Path) -> None:
    root, _, engine = _struck(made, tmp_path, "half")
    name = DatabaseRoot.locate(root).table("a").path / "_name"
    whole = name.read_bytes()
    name.unlink()
    plan = engine.plan(_ACTION, None)
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert name.read_bytes() == whole


def test_two_directories_of_one_name_are_refused(made: Made, tmp_path: Path) -> None:
    root, registry, engine = _struck(made, tmp_path, "garbage")
    tables = {table.raw_name: table.path for table in DatabaseRoot.locate(root).tables()}
    shutil.copy(tables["a"] / "_name", tables["c"] / "_name")
    before = registry.read_bytes()
    plan = engine.plan(_ACTION, None)
    assert [each.code for each in plan.refused] == [RefusalCode.RESULT_UNKNOWN]
    assert (plan.stages, registry.read_bytes()) == ((), before)


def test_a_registry_of_before_a_rename_and_a_drop(questdb: ServerBinary, tmp_path: Path) -> None:
    """Two tables have one name then, or one that was dropped is listed: the first is damage, the second is nothing."""
    root = tmp_path.resolve() / "root"
    rows = "INSERT INTO {} SELECT cast(x * 86400000000L AS TIMESTAMP), x FROM long_sequence({})"
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "200"}) as server:
        create = "CREATE TABLE {} (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL"
        for name, count in (("ren", 17), ("gone", 5), ("born", 6)):
            server.query(create.format(name))
            server.query(rows.format(name, count))
        wait_until_applied(server)
        registry = max((root / "db").glob("tables.d.[0-9]*"))
        older = registry.read_bytes()
        for statement in ("RENAME TABLE ren TO ren2", "DROP TABLE gone", "DROP TABLE born"):
            server.query(statement)
        for name, count in (("ren", 7), ("born", 15)):
            server.query(create.format(name))
            server.query(rows.format(name, count))
        wait_until_applied(server)
        until(lambda: not list((root / "db").glob("gone*/_txn")), "the files of the dropped table are deleted")
        server.kill()
    registry.write_bytes(older)
    (root / "db" / "tables.d.lock").touch()
    engine = Engine(settings_of(root, tmp_path / "state"))
    report = engine.diagnosis()
    assert {each.code for each in report.findings if each.severity is Severity.DAMAGE} == {Code.REGISTRY_INVALID}
    assert "gone" not in {each.table for each in report.tables}
    assert Code.REGISTRY_INVALID.value in {str(each.code) for each in engine.plan("start-server").refused}
    plan = engine.plan(_ACTION)
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan.refused
    assert {each.verdict for each in engine.diagnosis().tables} == {Verdict.HEALTHY}
    assert _rows(root, questdb) == {"ren2": 17, "ren": 7, "born": 15}


@pytest.mark.parametrize("damage", ["zeros", "older", "gone"])
def test_table_ids_are_given_once(made: Made, tmp_path: Path, questdb: ServerBinary, damage: str) -> None:
    """`_tab_index.d` below the highest id: a server gives ids that tables have; repaired, a new table gets its own."""
    root = tmp_path.resolve() / "root"
    shutil.copytree(made.root, root)
    index = root / "db" / "_tab_index.d"
    before = {"zeros": bytes(4096), "older": (1).to_bytes(4096, "little"), "gone": None}[damage]
    index.unlink()
    if before is not None:
        index.write_bytes(before)
    untouched = shutil.copytree(root, tmp_path / "untouched")
    _rows(untouched, questdb)
    found = Engine(settings_of(untouched, tmp_path / "other")).diagnosis().findings
    assert {each.severity for each in found if each.code is Code.TABLE_IDS_LOW} == {Severity.RISK, Severity.NOTE}
    engine = Engine(settings_of(root, tmp_path / "state"))
    assert [(each.code, each.severity) for each in engine.diagnosis().findings] == [(Code.TABLE_IDS_LOW, Severity.RISK)]
    step = engine.first_step()
    assert step is not None
    assert (step.action, step.table) == (_ACTION, None)
    plan = engine.plan(_ACTION, None)
    done = engine.run(plan, plan.confirmation)
    assert done.outcome is Outcome.DONE, done
    assert engine.undo(done.entry, engine.plan_undo(done.entry).confirmation).outcome is Outcome.DONE
    assert (index.read_bytes() if index.exists() else None) == before
    plan = engine.plan(_ACTION, None)
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert engine.diagnosis().findings == ()
    assert _rows(root, questdb) == _ROWS
    assert engine.diagnosis().findings == ()
