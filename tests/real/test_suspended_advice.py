"""A table that a real server does not apply: the advice names its cause, and proposes no resume that fails."""

import time
from pathlib import Path

import pytest

from console.diagnosis.model import Code, TableReport
from console.recovery import execution
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Claim, Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings

_INSERT = (
    "insert into {0} select dateadd('s', x::int, '2025-01-0{1}')::timestamp, 's{1}_' || x, x from long_sequence(50)"
)


def _engine(root: Path, server: PrivateServer, state: Path) -> Engine:
    questdb = QuestDBSettings(db_root=str(root), pg_port=server.pg_port)
    return Engine(Settings(state_dir=str(state), questdb=questdb, bare=True))


def _report(engine: Engine, table: str) -> TableReport:
    return next(each for each in engine.diagnosis().tables if each.table == table)


def _until_suspended(server: PrivateServer, table: str) -> None:
    deadline = time.monotonic() + 60
    while (table,) not in server.query("select name from wal_tables() where suspended"):
        assert time.monotonic() < deadline, server.query("select * from wal_tables()")
        time.sleep(0.1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_what_the_server_does_not_apply_is_reported_with_its_cause(
    root: Path, tmp_path: Path, questdb: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PrivateServer(root, questdb) as server:
        for table in ("own", "idle"):
            server.query(f"create table {table} (ts timestamp, sym symbol, v long) timestamp(ts) partition by day wal")
            server.query(_INSERT.format(table, 1))
        deadline = time.monotonic() + 30
        while server.query("select count() from own") != [(50,)] or server.query("select count() from idle") != [(50,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    with PrivateServer(root, questdb, settings={"cairo.wal.apply.enabled": "false"}) as server:
        for table in ("own", "idle"):
            server.query(_INSERT.format(table, 2))
        report = _report(_engine(root, server, tmp_path / "state"), "idle")
        assert report.has(Code.APPLY_DISABLED)
        assert report.can_write is False
        assert "cairo.wal.apply.enabled" in report.next_step.reason
        server.kill()
    symbols = next((root / "db").glob("own*/sym.o"))
    symbols.write_bytes(bytes(symbols.stat().st_size))  # pages of zeros, its length as it was
    with PrivateServer(root, questdb, settings={"dev.mode.enabled": "true"}) as server:
        engine = _engine(root, server, tmp_path / "state")
        _until_suspended(server, "own")
        said = server.query("select errorTag, errorMessage from wal_tables() where name = 'own'")
        report = _report(engine, "own")
        assert report.has(Code.TABLE_SUSPENDED), said
        assert report.next_step.action != "resume-wal", (said, report.next_step)
        assert report.next_step.evidence, report.next_step
        plan = engine.plan("resume-wal", "own")  # who does it all the same fails, and is not sent there again
        if not plan.refused:
            assert "unless that is mended" in plan.warnings[0]
            assert engine.run(plan, plan.confirmation).outcome is Outcome.ROLLED_BACK
            _until_suspended(server, "own")
            assert _report(engine, "own").next_step.action != "resume-wal"
        assert not _report(engine, "idle").has(Code.APPLY_DISABLED, Code.APPLY_STANDS_STILL)
        _a_server_that_ended_proves_nothing(engine, server, monkeypatch)


def _a_server_that_ended_proves_nothing(engine: Engine, server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    verify = execution.Executor.verify

    def ended(executor: execution.Executor) -> tuple[Claim, ...]:
        server.kill()
        return verify(executor)

    monkeypatch.setattr(execution.Executor, "verify", ended)
    server.query("alter table idle suspend wal")
    server.query(_INSERT.format("idle", 3))
    plan = engine.plan("resume-wal", "idle")
    assert plan.refused == ()
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is not Outcome.DONE, result
    assert {claim.key for claim in result.verification if not claim.ok} == {ClaimKey.ANSWERS}
