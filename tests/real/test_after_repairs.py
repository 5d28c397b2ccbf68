"""What a repair decided holds for the state that it left: not for one that was put back, nor for what comes later."""

import shutil
from pathlib import Path

import pytest

from console.diagnosis.model import TableReport, Verdict
from console.questdb.layout import DatabaseRoot
from console.records import of_json
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from console.recovery.server.expectation import Expectation
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from console.recovery.server.verification import table_claims
from console.recovery.server.verification import wait_until_applied as wait_for_table
from console.settings import QuestDBSettings
from tests.real.generated_tables import wait_until_applied
from tests.real.test_convert_table import engine_of
from tests.real.test_sequencer_repairs import captured
from tests.real.versions import binary_of
from tests.real.waiting import until

_KEPT = {
    "dev.mode.enabled": "true",
    "cairo.wal.purge.interval": "600000",
    "cairo.writer.data.append.page.size": "16384",
}
_CREATE = "CREATE TABLE {} (ts TIMESTAMP, id LONG, px DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL"
_ROWS = "INSERT INTO {} (ts, id, px) SELECT timestamp_sequence('{}', 60000000L), x, x FROM long_sequence({})"


@pytest.fixture
def server(questdb: ServerBinary, tmp_path: Path) -> PrivateServer:
    return PrivateServer(tmp_path.resolve() / "root", questdb, settings=_KEPT)


def _grow(server: PrivateServer) -> None:
    """Make the table with 1,000 rows of one day, all applied."""
    for statement in (_CREATE.format("t"), _ROWS.format("t", "2024-01-01", 1000)):
        server.query(statement)
    wait_until_applied(server)


def _engine(server: PrivateServer, questdb: ServerBinary) -> Engine:
    return captured(engine_of(server.root, server.root.parent / "state", questdb))


def _run(engine: Engine, action: str) -> Plan:
    plan = engine.plan(action, "t")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan
    return plan


def _report(engine: Engine) -> TableReport:
    (report,) = engine.diagnosis().tables
    return report


def _start_refused(engine: Engine) -> bool:
    return "t" in {each.table for each in engine.plan("start-server").refused}


def _undo_counts_what_came_after_a_truncate(server: PrivateServer, engine: Engine) -> None:
    with server:
        wait_until_applied(server)
        for statement in ("TRUNCATE TABLE t", _ROWS.format("t", "2024-03-01", 50)):
            server.query(statement)
        wait_until_applied(server)
    (undo,) = (engine.plan_undo(entry.id) for entry in engine.journal.entries() if entry.action == "repair-log")
    assert (undo.rows_lost.phrase, undo.refused) == ("up-to-50", ())


def test_a_state_of_before_the_repair_that_is_put_back_is_as_bad_as_it_was(
    server: PrivateServer, questdb: ServerBinary
) -> None:
    with server:
        _grow(server)
        server.query("ALTER TABLE t SUSPEND WAL")
        table = DatabaseRoot.locate(server.root).table("t").path
        before = (table / "txn_seq" / "_txnlog").read_bytes()
        for day in (2, 3):
            server.query(_ROWS.format("t", f"2024-01-0{day}", 40))
    (table / "txn_seq" / "_txnlog").write_bytes(before)
    saved = shutil.copytree(table, server.root.parent / "saved")
    engine = _engine(server, questdb)
    assert (_report(engine).rows_at_risk, _start_refused(engine)) == (80, True)
    assert _run(engine, "repair-log").rows_lost.phrase == "0"
    assert (_report(engine).rows_at_risk, _start_refused(engine)) == (0, False)
    _undo_counts_what_came_after_a_truncate(server, engine)
    shutil.rmtree(table)
    shutil.copytree(saved, table)
    assert (_report(engine).rows_at_risk, _start_refused(engine)) == (80, True)


def test_the_only_partition_can_be_given_up_and_what_waits_comes_in(
    server: PrivateServer, questdb: ServerBinary
) -> None:
    with server:
        _grow(server)
        server.query("ALTER TABLE t SUSPEND WAL")
        for day in ("2023-12-31", "2024-01-01T20", "2024-01-02"):
            server.query(_ROWS.format("t", day, 40))
    shutil.rmtree(DatabaseRoot.locate(server.root).table("t").path / "2024-01-01")
    engine = _engine(server, questdb)
    assert _report(engine).next_step.action == "repair-partition"
    assert _run(engine, "repair-partition").rows_lost.phrase == "up-to-1000"  # nothing proves the count of the last one
    assert (_report(engine).verdict, _start_refused(engine)) == (Verdict.HEALTHY, False)
    with server:
        wait_until_applied(server)
        assert server.query("SELECT count(), sum(id) FROM t") == [(120, 3 * 820)]


def test_what_is_skipped_after_a_repair_of_partitions_is_at_risk(server: PrivateServer, questdb: ServerBinary) -> None:
    with server:
        _grow(server)
        table = DatabaseRoot.locate(server.root).table("t").path
    (table / "2024-01-01" / "px.d").unlink()
    engine = _engine(server, questdb)
    _run(engine, "repair-partition")
    with server:
        server.query("ALTER TABLE t SUSPEND WAL")
        for day in (2, 3):
            server.query(_ROWS.format("t", f"2024-02-0{day}", 40))
        server.query("ALTER TABLE t RESUME WAL FROM TXN 3")
        until(lambda: server.query("SELECT count() FROM t") == [(1040,)], seconds=20)
    report = _report(engine)
    assert (report.verdict, report.rows_at_risk, _start_refused(engine)) == (Verdict.AT_RISK, 40, True)


def test_a_column_that_no_partition_has_yet_may_hold_nothing_but_zeros(
    server: PrivateServer, questdb: ServerBinary
) -> None:
    with server:
        _grow(server)
        server.query("ALTER TABLE t ADD COLUMN fee INT")
        wait_until_applied(server)
        server.query("ALTER TABLE t SUSPEND WAL")
        server.query(_ROWS.format("t", "2024-01-02", 1000).replace("px)", "px, fee)").replace("x, x F", "x, x, 0 F"))
    engine = _engine(server, questdb)
    assert _report(engine).verdict is Verdict.HEALTHY
    shutil.rmtree(DatabaseRoot.locate(server.root).table("t").sequencer)
    assert _report(engine).verdict is Verdict.BROKEN
    assert engine.plan("rebuild-sequencer", "t").rows_lost.phrase == "0"


def test_a_table_that_stays_suspended_over_a_start_is_proven_and_named(tmp_path: Path) -> None:
    """Up to 8.2 the files keep a suspension, and a start applies what waits all the same."""
    older = binary_of("8.1.4")
    server = PrivateServer(tmp_path.resolve() / "root", older, settings=_KEPT)
    with server:
        for statement in (_CREATE.format("t"), _ROWS.format("t", "2024-01-01", 100)):
            server.query(statement)
        wait_until_applied(server)
        server.query("ALTER TABLE t SUSPEND WAL")
        server.query(_ROWS.format("t", "2024-01-02", 40))
        server.kill()
    (server.root / "db" / "tables.d.lock").touch()
    plan = engine_of(server.root, tmp_path / "state", older).plan("start-server")
    (document,) = next(stage.parameters["expected"] for stage in plan.stages if stage.id == "verify")
    expected = of_json(Expectation, document)
    with server:
        sql = Server(QuestDBSettings(db_root=str(server.root), pg_port=server.pg_port))
        row = wait_for_table(sql, expected, lambda done, total: None)
        claims = table_claims(sql, expected, row)
        assert [claim.found for claim in claims if not claim.ok] == []
        assert [claim.noted for claim in claims if claim.key is ClaimKey.SUSPENDED] == [True]
        assert server.query("SELECT count() FROM t") == [(140,)]


def test_transactions_of_one_new_symbol_each_are_no_lost_pages(server: PrivateServer, questdb: ServerBinary) -> None:
    """Its key is 0 in every row, as in a page of zeros."""
    create = _CREATE.format("t").replace("px DOUBLE", "px DOUBLE, s SYMBOL")
    rows = _ROWS.replace("px)", "px, s)").replace("x, x F", "x, x, '{}' || (x % {}) F")
    with server:
        for statement in (create, rows.format("t", "2024-01-01", "k", 5, 1000)):
            server.query(statement)
        wait_until_applied(server)
        server.query("ALTER TABLE t SUSPEND WAL")
        for day in range(2, 6):
            server.query(rows.format("t", f"2024-01-0{day}", f"n{day}", 1, 50))
    shutil.rmtree(DatabaseRoot.locate(server.root).table("t").sequencer)
    assert _engine(server, questdb).plan("rebuild-sequencer", "t").rows_lost.phrase == "0"
