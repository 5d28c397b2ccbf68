"""A server under a real systemd with Restart=always: stopped for good, repaired in peace, started under the locks."""

import shlex
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.recovery import execution
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Claim, Outcome, RunResult
from console.recovery.server.jvm import ServerBinary, server_command, server_conf
from console.recovery.server.private_server import free_ports
from console.recovery.server.sql import Server
from console.recovery.steps.services import StopUnits
from console.recovery.store.locks import server_is_down
from console.settings import Role, ServicesSettings, Unit
from tests.faults.broken_database import ACTIONS, ROWS, build, settings_of
from tests.real.systemd_user import SystemdUser


@pytest.fixture(scope="module")
def pg_port() -> int:
    """A port for the server's SQL."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def systemd(questdb: ServerBinary, pg_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdUser]:
    """A manager whose questdb.service restarts always, on a database that is broken in four ways."""
    folder = tmp_path_factory.mktemp("systemd-recovery")
    root = folder / "hot"
    root.mkdir()
    build(root, questdb)
    shutil.copytree(root / "db", folder / "as-broken")
    (root / "conf" / "server.conf").write_text(
        server_conf(
            {
                "http.enabled": "false",
                "http.min.enabled": "false",
                "pg.net.bind.to": f"127.0.0.1:{pg_port}",
                "cairo.wal.purge.interval": "1000",
            }
        )
    )
    manager = SystemdUser(folder)
    manager.start()
    # The namespace's own cgroup tree is none that the JVM of 17 understands.
    command = server_command(questdb, root, heap=256 << 20, options=("-XX:-UseContainerSupport",))
    manager.write(
        manager.units,
        "questdb.service",
        f"ExecStart={shlex.join(command).replace('%', '%%')}\nRestart=always\nRestartSec=50ms\nSuccessExitStatus=143",
        "StartLimitIntervalSec=0",
    )
    yield manager
    manager.stop()


@pytest.fixture
def engine(systemd: SystemdUser, pg_port: int, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine on that station."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(systemd.run))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    folder: Path = systemd.run.parent
    bare = settings_of(folder / "hot", folder / "state")
    services = ServicesSettings("systemd-user", units=(Unit("questdb.service", Role.DATABASE),))
    return Engine(replace(bare, bare=False, services=services, questdb=replace(bare.questdb, pg_port=pg_port)))


def _do(engine: Engine, action: str, table: str | None = None) -> RunResult:
    plan = engine.plan(action, table)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, (result, plan.refused)
    return result


def _failed(claims: Iterable[Claim]) -> set[ClaimKey]:
    return {claim.key for claim in claims if not claim.ok}


def test_restart_always_does_not_win_the_gap(
    engine: Engine, systemd: SystemdUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.systemctl("start", "--no-block", "questdb.service")
    deadline = time.monotonic() + 30
    while server_is_down(engine.database.db) is True:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with monkeypatch.context() as patched:  # a stop that stops nothing is not taken for one
        patched.setattr(StopUnits, "perform", lambda self, stage, run: None)
        plan = engine.plan("stop-server")
        result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.ROLLED_BACK, result
    assert _failed(result.verification) == {ClaimKey.UNIT_DOWN, ClaimKey.SERVER_GONE}
    _do(engine, "stop-server")
    assert systemd.systemctl("start", "questdb.service").returncode != 0
    for _ in range(20):
        assert server_is_down(engine.database.db) is True
        time.sleep(0.05)
    assert engine.plan("stop-server").stages == ()


@pytest.fixture(scope="module")
def as_broken(systemd: SystemdUser) -> None:
    """Put the damage back: a server that ran on it, however shortly, has extended files with zeros."""
    database = systemd.run.parent / "hot" / "db"
    shutil.rmtree(database)
    shutil.copytree(systemd.run.parent / "as-broken", database)


@pytest.mark.usefixtures("as_broken")
def test_it_is_not_started_before_every_table_is_repaired(engine: Engine) -> None:
    _do(engine, "capture-evidence")
    refused = engine.plan("start-server")
    assert {"header-past-end", "wal-index-low"} <= {refusal.code for refusal in refused.refused}
    assert engine.run(refused, refused.confirmation).outcome is Outcome.REFUSED
    for action, table in ACTIONS.items():
        _do(engine, action, table)
    assert server_is_down(engine.database.db) is True


def test_it_is_started_and_every_table_proven(
    engine: Engine, systemd: SystemdUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify, proven = execution.Executor.verify, []

    def kept(executor: execution.Executor) -> tuple[Claim, ...]:
        proven.append(executor)
        return verify(executor)

    monkeypatch.setattr(execution.Executor, "verify", kept)
    result = _do(engine, "start-server")
    assert sum(claim.claim.endswith(": rows") for claim in result.verification) == len(ACTIONS)
    server = Server(engine.settings.questdb)
    for table in ACTIONS.values():
        assert server.rows(f"SELECT count() AS n FROM {table}") == [{"n": ROWS}]
        assert server.wal_table(table) is not None
    assert systemd.systemctl("is-active", "questdb.service").stdout.strip() == "active"
    _do(engine, "stop-server")
    assert _failed(verify(proven[0])) == {ClaimKey.UNIT_UP}  # the same start, once its unit is down again
