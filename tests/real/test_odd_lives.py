"""Healthy tables with an odd past or present: dropped while they are read, upgraded, renamed, about to be converted."""

import contextlib
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from console.diagnosis.database import assemble, diagnose, diagnose_table
from console.diagnosis.model import Severity
from console.diagnosis.table import examine_table
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_convert_table import engine_of
from tests.real.test_sequencer_repairs import captured
from tests.real.versions import binary_of
from tests.real.waiting import until

_SWEEPS = {"cairo.wal.purge.interval": "500", "cairo.writer.data.append.page.size": "16384"}
_CREATE = "CREATE TABLE {} (ts TIMESTAMP, s SYMBOL, x DOUBLE, a INT) TIMESTAMP(ts) PARTITION BY HOUR WAL"
_ROWS = (
    "INSERT INTO {} (ts, s, x) SELECT timestamp_sequence('2024-01-01T{:02d}', 1000000L), 'a'||x%5, x "
    "FROM long_sequence(50)"
)


def _alarms(root: Path) -> list[str]:
    """Return what `check` says beyond notes."""
    report = diagnose(DatabaseRoot.locate(root))
    found = [*report.findings, *(finding for table in report.tables for finding in table.findings)]
    return [finding.message for finding in found if finding.severity is not Severity.NOTE]


def _grown(server: PrivateServer, table: str, transactions: int) -> None:
    server.query(_CREATE.format(table))
    for hour in range(transactions):
        server.query(_ROWS.format(table, hour % 24))
    wait_until_applied(server)


def _refusals(root: Path) -> set[str]:
    settings = Settings(questdb=QuestDBSettings(db_root=str(root)), bare=True, state_dir=str(root.parent / "state"))
    refused = Engine(settings).plan("start-server").refused
    return {str(each.code) for each in refused} - {"no-station", "server-unknown"}


def test_a_table_that_is_dropped_while_it_is_read_is_left_out(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        _grown(server, "stage", 1)
        _grown(server, "kept", 1)
        database = DatabaseRoot.locate(root)
        listed = database.tables()
        stage = database.table("stage").path
        server.query("DROP TABLE stage")
        until(lambda: not (stage / "_txn").exists(), "the files of the dropped table are deleted")
        examined = {table.directory: examine_table(table) for table in listed if table.wal}
        reports = assemble(database, [table for table in listed if table.wal and not table.system], examined, None)
    assert [table.table for table in reports] == ["kept"]


def _renamed_and_rewritten(server: PrivateServer) -> str:
    """A log in parts whose first ones are purged, younger files of the table than its last record."""
    _grown(server, "t", 60)
    parts = server.root / "db" / DatabaseRoot.locate(server.root).table("t").directory / "txn_seq" / "_txn_parts"
    until(lambda: not (parts / "0").exists(), "the first part of the log is purged")
    for statement in ("ALTER TABLE t SUSPEND WAL", "ALTER TABLE t ADD COLUMN y DOUBLE", "RENAME TABLE t TO u",
                      "UPDATE u SET x = 1, a = 1", "INSERT INTO u (ts, x) VALUES ('2024-02-01', 1)"):  # fmt: skip
        server.query(statement)
    time.sleep(1.5)  # what is applied is written later than its record, as under load
    server.query("ALTER TABLE u RESUME WAL")
    return "u"


def _to_be_converted(server: PrivateServer) -> str:
    """A marker that makes the next start convert a table of which all is applied."""
    _grown(server, "t", 2)
    server.query("ALTER TABLE t SET TYPE BYPASS WAL")
    return "t"


@pytest.mark.parametrize("live", [_renamed_and_rewritten, _to_be_converted])
def test_what_the_server_did_itself_is_no_damage_and_may_be_started(
    questdb: ServerBinary, tmp_path: Path, live: Callable[[PrivateServer], str]
) -> None:
    root = tmp_path.resolve() / "root"
    settings = {**_SWEEPS, "cairo.default.sequencer.part.txn.count": "16", "dev.mode.enabled": "true"}
    with PrivateServer(root, questdb, settings=settings) as server:
        name = live(server)
        wait_until_applied(server)
        rows = server.query(f"SELECT count(), sum(x) FROM {name}")
        assert _alarms(root) == []
        server.kill()
    assert _alarms(root) == []
    assert _refusals(root) == set()
    with PrivateServer(root, questdb, settings=settings) as server:
        assert server.query(f"SELECT count(), sum(x) FROM {name}") == rows


def test_locks_that_an_older_version_left_are_no_lost_wal(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        _grown(server, "t", 3)
        server.kill()
    table = DatabaseRoot.locate(root).table("t").path
    locked = {path.name for path in table.glob("wal*.lock")}
    assert locked
    with PrivateServer(root, binary_of("9.3.4"), settings=_SWEEPS) as server:
        server.query(_ROWS.format("t", 5))
        wait_until_applied(server)
        until(lambda: not (table / "wal1").exists(), "the WAL of the older version is purged")
        server.kill()
    assert {path.name for path in table.glob("wal*.lock")} & locked
    assert _alarms(root) == []


def _hours(server: PrivateServer, count: int) -> bool:
    return len(server.query("SELECT DISTINCT ts FROM hourly")) == count


def test_a_view_whose_state_is_lost_comes_back_by_its_wal(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings={**_SWEEPS, "cairo.wal.purge.interval": "600000"}) as server:
        _grown(server, "base", 2)
        server.query("CREATE MATERIALIZED VIEW hourly AS (SELECT ts, s, sum(x) total FROM base SAMPLE BY 1h) "
                     "PARTITION BY DAY")  # fmt: skip
        for hour in (2, 3):
            server.query(_ROWS.format("base", hour))
            until(partial(_hours, server, hour + 1), "the view is refreshed")
        server.query(_ROWS.format("base", 2))  # a refresh that replaces rows of an earlier one
        total = "SELECT sum(total) FROM hourly"
        until(lambda: server.query(total) == server.query("SELECT sum(x) FROM base"), "the view is refreshed again")
        wait_until_applied(server)
        rows = server.query("SELECT * FROM hourly ORDER BY ts, s")
        server.kill()
    view = DatabaseRoot.locate(root).table("hourly").path
    (view / "_txn").write_bytes(b"")
    engine = engine_of(root, tmp_path / "state", questdb)
    for action, table in (("capture-evidence", None), ("repair-table-state", "hourly")):
        plan = engine.plan(action, table)
        assert plan.refused == (), plan.refused
        result = engine.run(plan, plan.confirmation)
        assert result.outcome is Outcome.DONE, result
    assert plan.rows_lost.phrase == "0"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        wait_until_applied(server)
        assert server.query("SELECT * FROM hourly ORDER BY ts, s") == rows


@pytest.mark.parametrize("setting", ["SET TTL 90 DAYS", "SET PARAM maxUncommittedRows = 12345"])
def test_a_renamed_table_keeps_its_settings(questdb: ServerBinary, tmp_path: Path, setting: str) -> None:
    """RENAME TABLE moves the structure version alone, a setting that of `_meta` alone: their numbers are equal then."""
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        server.query("CREATE TABLE old (ts TIMESTAMP, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY TTL 2 DAYS WAL")
        server.query(f"ALTER TABLE old {setting}")
        wait_until_applied(server)  # a setting that still waits at RENAME is lost: QuestDB looks for the old name
        server.query("RENAME TABLE old TO trades")
        server.query("INSERT INTO trades SELECT timestamp_sequence('2024-01-01', 60000000L), x FROM long_sequence(9)")
        wait_until_applied(server)
    assert _alarms(root) == []
    metadata = DatabaseRoot.locate(root).table("trades").path / "_meta"
    metadata.write_bytes(bytes(metadata.stat().st_size))
    plan = engine_of(root, tmp_path / "state", questdb).plan("repair-metadata", "trades")
    assert any("the TTL (now none" in warning for warning in plan.warnings), plan


def test_the_metadata_of_another_table_is_replaced(questdb: ServerBinary, tmp_path: Path) -> None:
    """Only `_meta` is of the other table: name, log and WAL are this one's, so that the waiting rows come back."""
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings=SERVER) as server:
        for name in ("other", "trades"):
            server.query(f"CREATE TABLE {name} (ts TIMESTAMP, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
        wait_until_applied(server)
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.apply.enabled": "false"}) as server:
        server.query("INSERT INTO trades SELECT timestamp_sequence('2024-01-01', 60000000L), x FROM long_sequence(9)")
        server.kill()
    other, trades = (DatabaseRoot.locate(root).table(name).path for name in ("other", "trades"))
    shutil.copy2(other / "_meta", trades / "_meta")
    assert "table-metadata-invalid" in _refusals(root)
    engine = engine_of(root, tmp_path / "state", questdb)
    assert engine.plan("rebuild-sequencer", "trades").refused[0].action == "repair-metadata"
    plan = captured(engine, "trades").plan("repair-metadata", "trades")
    assert (plan.refused, plan.rows_lost.phrase) == ((), "0")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert _alarms(root) == []
    with PrivateServer(root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        assert server.query("SELECT count() FROM trades") == [(9,)]


def test_state_and_column_versions_that_are_both_gone(questdb: ServerBinary, tmp_path: Path) -> None:
    """Each repair rests on the other file; of a table whose columns never changed `_cv` is empty. Else both refuse."""
    root = tmp_path.resolve() / "root"
    rows = {}
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        for name in ("plain", "altered"):
            _grown(server, name, 3)
        server.query("ALTER TABLE altered ADD COLUMN late INT")
        server.query(_ROWS.format("altered", 3))
        wait_until_applied(server)
        rows["plain"] = server.query("SELECT * FROM plain ORDER BY ts, s")
    database = DatabaseRoot.locate(root)
    for name in ("plain", "altered"):
        for file in ("_txn", "_cv"):
            (database.table(name).path / file).unlink()
    engine = captured(engine_of(root, tmp_path / "state", questdb))
    for action in ("repair-metadata", "repair-table-state"):
        assert diagnose_table(database, database.table("plain")).next_step.action == action
        plan = engine.plan(action, "plain")
        assert (plan.refused, plan.rows_lost.phrase) == ((), "0")
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
        assert engine.plan(action, "altered").refused
    shutil.rmtree(database.table("altered").path)
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        wait_until_applied(server)
        assert server.query("SELECT * FROM plain ORDER BY ts, s") == rows["plain"]


def test_rows_written_again_after_a_forced_drop_were_not_skipped(questdb: ServerBinary, tmp_path: Path) -> None:
    """FORCE DROP PARTITION is no transaction: the WAL of the rows before it is there, and they are not."""
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings={**_SWEEPS, "cairo.wal.purge.interval": "600000"}) as server:
        server.query("CREATE TABLE t (ts TIMESTAMP, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
        rows = "INSERT INTO t SELECT timestamp_sequence('2024-01-0{}T{:02d}', 1000000L), x FROM long_sequence(50)"
        for day, hour in ((1, 1), (2, 1), (2, 3)):
            server.query(rows.format(day, hour))
        wait_until_applied(server)
        server.query("ALTER TABLE t FORCE DROP PARTITION LIST '2024-01-02'")
        server.query(rows.format(2, 5))
        wait_until_applied(server)
        assert server.query("SELECT count() FROM t") == [(100,)]
        server.kill()
    assert _alarms(root) == []


def test_a_lost_state_tells_what_was_skipped_or_dropped_by_force(questdb: ServerBinary, tmp_path: Path) -> None:
    """Neither leaves a transaction: rows that were not in the table count as lost at most, or come back by word."""
    root = tmp_path.resolve() / "root"
    rows = "INSERT INTO {} SELECT timestamp_sequence('2024-01-0{}T{:02d}', 1000000L), x FROM long_sequence(50)"
    days = {"skipped": (1, 1, 2), "last": (1, 2, 3), "middle": (1, 2, 3)}
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "600000"}) as server:
        for name, each in days.items():
            server.query(f"CREATE TABLE {name} (ts TIMESTAMP, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
            server.query(rows.format(name, each[0], 1))
        wait_until_applied(server)
        server.query("ALTER TABLE skipped SUSPEND WAL")
        for name, each in days.items():
            for hour, day in enumerate(each[1:], 2):
                server.query(rows.format(name, day, hour))
        server.query("ALTER TABLE skipped RESUME WAL FROM TXN 3")
        wait_until_applied(server)
        server.query("ALTER TABLE last FORCE DROP PARTITION LIST '2024-01-03'")
        server.query("ALTER TABLE middle FORCE DROP PARTITION LIST '2024-01-02'")
        assert [server.query(f"SELECT count() FROM {name}") for name in days] == [[(100,)]] * 3
        server.kill()
    database = DatabaseRoot.locate(root)
    for name in days:
        (database.table(name).path / "_txn").unlink()
    engine = captured(engine_of(root, tmp_path / "state", questdb))
    plans = {name: engine.plan("repair-table-state", name) for name in days}
    assert plans["skipped"].confirmation == "skipped lose up-to-50", plans["skipped"]
    assert plans["middle"].rows_lost.kind == "unknown", plans["middle"]
    assert plans["last"].rows_back == 150
    assert any("50 rows of times without a partition will be applied" in each for each in plans["last"].warnings)
    assert engine.run(plans["skipped"], plans["skipped"].confirmation).outcome is Outcome.DONE
    for name in ("last", "middle"):
        shutil.rmtree(database.table(name).path)
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        wait_until_applied(server)
        assert server.query("SELECT count() FROM skipped") == [(100,)]


def test_dedup_keys_that_were_changed_are_no_damage(questdb: ServerBinary, tmp_path: Path) -> None:
    """9.1.0 leaves the earlier keys in _meta beside the later ones."""
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        server.query(_CREATE.format("t") + " DEDUP UPSERT KEYS(ts, s)")
        server.query(_ROWS.format("t", 1))
        server.query("ALTER TABLE t DEDUP ENABLE UPSERT KEYS(ts, a)")
        server.query(_ROWS.format("t", 2))
        wait_until_applied(server)
        server.kill()
    assert _alarms(root) == []


def test_rows_that_a_writer_without_wal_has_not_committed_yet_are_no_alarm(
    questdb: ServerBinary, tmp_path: Path
) -> None:
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        server.query("CREATE TABLE p (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL")
        where = f"host=127.0.0.1 port={server.pg_port} user=admin password=quest dbname=qdb"
        with contextlib.closing(psycopg.connect(where)) as connection:
            connection.execute("INSERT INTO p VALUES ('2024-01-01', 1)")
            connection.commit()
            for time in ("01T01", "01T01", "02"):
                connection.execute(f"INSERT INTO p VALUES ('2024-01-{time}', 1)")
            assert _alarms(root) == []
            assert not _behind(root)
            server.kill()
    (root / "db" / "tables.d.lock").touch()
    assert len(_alarms(root)) == 1  # never committed, or `_txn` is of before them
    assert ["2 more rows of rising times" in message for message in _behind(root)] == [True]


def _behind(root: Path) -> list[str]:
    (report,) = diagnose(DatabaseRoot.locate(root)).tables
    messages = [finding.message for finding in report.findings]
    return [message for message in messages if message.startswith("behind the rows that _txn counts")]
