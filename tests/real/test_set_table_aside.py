"""set-table-aside: one table that no start may touch, the others start without it, and it comes back as it was."""

import hashlib
import shutil
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Severity
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome, RunResult
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import wait_until_applied
from tests.real.versions import binary_of
from tests.real.waiting import until

_CREATE = "CREATE TABLE {} (ts TIMESTAMP, s SYMBOL, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY {}"
_ROWS = "INSERT INTO {} SELECT timestamp_sequence('{}', 3600000000L), 'a'||x%5, x FROM long_sequence(50)"
_COUNT, _SEEN = "SELECT count(), sum(x) FROM {}", [(50, 1275.0)]


def _engine(root: Path) -> Engine:
    return Engine(Settings(questdb=QuestDBSettings(db_root=str(root)), bare=True, state_dir=str(root.parent / "state")))


def _station(root: Path, binary: ServerBinary) -> dict[str, bytes]:
    """Three tables; `broken` (WAL) and `plain` (none) lose their `_cv` and `_txn`. Return their `_txn` as it was."""
    with PrivateServer(root, binary) as server:
        for table in ("broken", "kept"):
            server.query(_CREATE.format(table, "WAL"))
        server.query(_CREATE.format("plain", "BYPASS WAL"))
        for table in ("broken", "kept", "plain"):
            server.query(_ROWS.format(table, "2024-01-01"))
        server.query("RENAME TABLE broken TO renamed")
        wait_until_applied(server)
    was = {}
    for table in ("renamed", "plain"):
        txn = DatabaseRoot.locate(root).table(table).path / "_txn"
        was[table] = txn.read_bytes()
        txn.write_bytes(bytes(len(was[table])))
    return was


def _set_aside(engine: Engine, table: str) -> RunResult:
    plan = engine.plan("set-table-aside", table)
    assert not plan.refused, plan.refused
    return engine.run(plan, plan.confirmation)


def _undo(engine: Engine, entry: str) -> RunResult:
    plan = engine.plan_undo(entry)
    return engine.run(plan, plan.confirmation) if plan.refused else engine.undo(entry, plan.confirmation)


def _tree(root: Path) -> dict[str, str]:
    db = root / "db"
    return {
        str(path.relative_to(db)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(db.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.mark.parametrize("version", ["8.1.4", "9.1.0", "9.3.4"])
def test_the_others_start_without_the_tables_and_these_come_back_whole(version: str, tmp_path: Path) -> None:
    binary, root = binary_of(version), tmp_path.resolve() / "root"
    was = _station(root, binary)
    engine, before = _engine(root), _tree(root)
    entries = {table: _set_aside(engine, table) for table in was}
    assert {run.outcome for run in entries.values()} == {Outcome.DONE}
    report = diagnose(DatabaseRoot.locate(root))
    assert [each.table for each in report.tables] == ["kept"]
    assert {f.code for f in report.findings if f.severity is Severity.RISK} == {Code.TABLE_SET_ASIDE}
    assert [f.message.split()[0] for f in report.findings if f.code is Code.TABLE_SET_ASIDE] == ["renamed", "plain"]
    with PrivateServer(root, binary) as server:
        assert server.query(_COUNT.format("kept")) == _SEEN
        server.query(_ROWS.format("kept", "2024-03-01"))
        wait_until_applied(server)
    for run in reversed(list(entries.values())):
        assert _undo(engine, run.entry).outcome is Outcome.DONE
    after = _tree(root)
    database = DatabaseRoot.locate(root)
    directories = {database.table(table).directory for table in was}
    assert {name: digest for name, digest in after.items() if name.split("/")[0] in directories} == {
        name: digest for name, digest in before.items() if name.split("/")[0] in directories
    }
    for table, content in was.items():  # what the damage took, put back: the server shows each row
        (database.table(table).path / "_txn").write_bytes(content)
    with PrivateServer(root, binary) as server:
        for table in was:
            assert server.query(_COUNT.format(table)) == _SEEN
        server.query(_ROWS.format("renamed", "2024-03-01"))
        wait_until_applied(server)
        assert server.query("SELECT count() FROM renamed") == [(100,)]


@pytest.mark.parametrize("version", ["8.1.4", "9.1.0", "9.3.4"])
def test_it_comes_back_beside_a_table_that_was_given_its_name(version: str, tmp_path: Path) -> None:
    binary, root = binary_of(version), tmp_path.resolve() / "root"
    was = _station(root, binary)
    engine = _engine(root)
    entries = {table: _set_aside(engine, table) for table in was}
    with PrivateServer(root, binary) as server:
        server.query(_CREATE.format("renamed", "WAL"))
        server.query(_ROWS.format("renamed", "2024-05-01"))
        wait_until_applied(server)
    refused = engine.plan_undo(entries["renamed"].entry).refused
    assert {each.code for each in refused} == {"name-not-free"}
    with PrivateServer(root, binary) as server:
        server.query("RENAME TABLE renamed TO since")
        wait_until_applied(server)
    for run in entries.values():
        assert _undo(engine, run.entry).outcome is Outcome.DONE
    for table, content in was.items():
        (DatabaseRoot.locate(root).table(table).path / "_txn").write_bytes(content)
    for _ in range(2):
        with PrivateServer(root, binary) as server:
            for table in (*was, "since"):
                assert server.query(_COUNT.format(table)) == _SEEN
    assert [t.verdict.value for t in diagnose(DatabaseRoot.locate(root)).tables] == ["healthy"] * 4


def test_a_table_that_a_start_does_not_harm_stays(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    _station(root, questdb)
    plan = _engine(root).plan("set-table-aside", "kept")
    assert not plan.needed


def test_a_directory_that_is_gone_is_named(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    _station(root, questdb)
    database = DatabaseRoot.locate(root)
    database.table("kept").path.rename(root / "elsewhere")
    found = [each for each in diagnose(database).findings if each.code is Code.TABLE_DIRECTORY_GONE]
    assert [each.message.split()[3] for each in found] == ["kept"]
    engine = _engine(root)
    plan = engine.plan("repair-registry")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert Code.TABLE_DIRECTORY_GONE not in {each.code for each in diagnose(database).findings}


def test_it_comes_next_where_no_action_can_repair_a_table(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    _station(root, questdb)
    plain = DatabaseRoot.locate(root).table("plain").path
    for name in ("_meta", "_cv"):
        (plain / name).write_bytes(bytes((plain / name).stat().st_size))
    engine = _engine(root)
    taken: list[tuple[str, str | None]] = []
    while (step := engine.first_step()) is not None and len(taken) < 9:
        taken.append((step.action, step.table))
        if step.action == "set-table-aside":
            assert [each.spec.id for each in engine.availability("plain") if each.recommended] == [step.action]
            assert [each.action for each in engine.way().steps if "plain" in each.tables] == [step.action]
        plan = engine.plan(step.action, step.table)
        assert not plan.refused, (taken, plan.refused)
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, taken
    assert taken[-1] == ("set-table-aside", "plain")
    assert "start-server" not in {step.action for each in engine.diagnosis().tables for step in each.blocked_steps}


def test_a_directory_of_a_dropped_table_that_was_put_back_is_not_deleted(questdb: ServerBinary, tmp_path: Path) -> None:
    """One that was just dropped is no alarm, also while the server runs."""
    root = tmp_path.resolve() / "root"
    _station(root, questdb)
    database = DatabaseRoot.locate(root)
    for table in ("renamed", "plain"):
        database.table(table).path.rename(root / table)
    path, backup = database.table("kept").path, root / "kept"
    shutil.copytree(path, backup)
    with PrivateServer(root, questdb) as server:
        server.query("DROP TABLE kept")
        until(lambda: database.not_dropped() == () and path.name in database.registry().dropped())
        server.query(_CREATE.format("kept", "WAL"))
        assert Code.DROPPED_TABLE_BACK not in {each.code for each in diagnose(database).findings}
    assert Code.DROPPED_TABLE_BACK not in {each.code for each in diagnose(database).findings}
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(backup, path)
    (found,) = [each for each in diagnose(database).findings if each.code is Code.DROPPED_TABLE_BACK]
    assert found.message.startswith(f"kept in {path.name} (50 rows)")
    assert RefusalCode.DROPPED_TABLE_BACK in {each.code for each in _engine(root).plan("start-server").refused}
    other = tmp_path.resolve() / "other"
    (other / "db").mkdir(parents=True)
    path.rename(other / "db" / path.name)
    assert RefusalCode.DROPPED_TABLE_BACK not in {each.code for each in _engine(root).plan("start-server").refused}
    with PrivateServer(other, questdb) as server:
        assert server.query(_COUNT.format("kept")) == _SEEN
