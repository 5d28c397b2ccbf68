"""On QuestDB 9.3.4, whose purge ignores lock files: WAL is held by the purge interval, and put back afterwards.

Under supervisord the interval is set in server.conf, under systemd by a drop-in of the unit.
"""

import shlex
import shutil
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary, server_command, server_conf
from console.recovery.server.private_server import PrivateServer, free_ports
from console.recovery.server.purge_guard import CONFIGURATION, INTERVAL_MS, SETTING, VARIABLE, Guard
from console.recovery.server.sql import Server
from console.recovery.store.locks import server_is_down
from console.recovery.tree.wal_locks import WalLocks
from console.services.control import control_for
from console.settings import QuestDBSettings, Role, ServicesSettings, Settings, Unit
from tests.real.supervisord import Supervisord
from tests.real.systemd_user import SystemdUser
from tests.real.versions import binary_of
from tests.real.waiting import until

pytestmark = pytest.mark.faults
_SWEEP = 500  # milliseconds between two sweeps


@pytest.fixture(scope="module")
def newer() -> ServerBinary:
    """QuestDB 9.3.4."""
    return binary_of("9.3.4")


@pytest.fixture(scope="module")
def prepared(newer: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with 20 applied rows, and 20 in a WAL of their own that no server has applied."""
    root = tmp_path_factory.mktemp("newer").resolve() / "root"
    root.mkdir()
    with PrivateServer(root, newer, settings={SETTING: "600000"}) as server:
        server.query("CREATE TABLE t (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
        server.query("INSERT INTO t SELECT timestamp_sequence('2024-01-01', 1000000L), x FROM long_sequence(20)")
        until(lambda: server.query("SELECT count() FROM t") == [(20,)])
    with PrivateServer(root, newer, settings={SETTING: "600000", "cairo.wal.apply.enabled": "false"}) as server:
        server.query("INSERT INTO t SELECT timestamp_sequence('2024-01-02', 1000000L), x FROM long_sequence(20)")
        server.kill()
    return root


@pytest.mark.parametrize("held_by", ["interval", "file locks"])
def test_wal_that_the_log_does_not_name_is_kept_by_the_interval_alone(
    prepared: Path, newer: ServerBinary, tmp_path: Path, held_by: str
) -> None:
    root = tmp_path.resolve() / "root"
    shutil.copytree(prepared, root)
    database = DatabaseRoot.locate(root)
    table = database.table("t")
    with (table.sequencer / "_txnlog").open("r+b") as log:
        log.seek(4)
        log.write(struct.pack("<q", 1))  # the header ends before the second transaction
    before = {wal.id for wal in table.wals()}
    assert len(before) == 2
    interval = INTERVAL_MS if held_by == "interval" else _SWEEP
    with WalLocks(database.db) as locks:
        locks.hold(table)
        with PrivateServer(root, newer, settings={SETTING: str(interval)}) as server:
            assert server.query("SELECT count() FROM t") == [(20,)]
            if held_by == "interval":
                time.sleep(4 * _SWEEP / 1000)
                assert {wal.id for wal in table.wals()} == before
            else:
                until(lambda: {wal.id for wal in table.wals()} != before, "the purge takes what is locked")


@pytest.fixture(params=["", f"{VARIABLE}=1000"], ids=["nothing else sets it", "the environment sets it"])
def station(
    prepared: Path, newer: ServerBinary, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Engine, Supervisord]]:
    """A station under supervisord, which cannot change an environment: its server.conf is changed."""
    folder = tmp_path.resolve()
    root, port = folder / "root", free_ports(1)[0]
    shutil.copytree(prepared, root)
    settings = {"http.enabled": "false", "http.min.enabled": "false", "pg.net.bind.to": f"127.0.0.1:{port}"}
    (root / CONFIGURATION).write_text(server_conf({**settings, SETTING: "1000"}))
    command = shlex.join(server_command(newer, root, heap=256 << 20)).replace("%", "%%")
    environment = f"environment={request.param}\n" if request.param else ""
    program = f"[program:questdb]\ncommand={command}\nautostart=false\nstartsecs=1\n{environment}"
    running = Supervisord(folder, program)
    running.start()
    services = ServicesSettings("supervisor", str(running.socket), (Unit("questdb", Role.DATABASE),))
    questdb = QuestDBSettings(db_root=str(root), pg_port=port, jar=str(newer.jar), java=str(newer.java))
    settings_of = Settings(state_dir=str(folder / "state"), questdb=questdb, services=services)
    yield Engine(replace(settings_of, bare=False)), running
    running.stop()


def test_a_start_holds_the_purge_and_puts_it_back(station: tuple[Engine, Supervisord]) -> None:
    engine, _ = station
    configuration = engine.database.root / CONFIGURATION
    before = configuration.read_bytes()
    overridden = VARIABLE in (engine.database.root.parent / "s.conf").read_text()
    plan = engine.plan("start-server")
    assert [stage.step for stage in plan.stages] == [
        "hold-purge", "hold-wal", "start-server-unit", "prove-held", "verify-tables", "let-purge-go", "await-sweep",
    ]  # fmt: skip
    assert "QuestDB 9.3.4" in plan.why
    result = engine.run(plan, plan.confirmation)
    assert configuration.read_bytes() == before
    if overridden:
        assert result.outcome is Outcome.ROLLED_BACK, result
        assert {claim.key for claim in result.verification if not claim.ok} == {ClaimKey.WAL_KEPT}
        assert server_is_down(engine.database.db) is True
        return
    assert result.outcome is Outcome.DONE, result
    server = Server(engine.settings.questdb)
    assert server.rows("SELECT count() AS n FROM t") == [{"n": 40}]
    assert server.parameter(SETTING) == "1000"
    until(lambda: len(engine.database.table("t").wals()) < 2, "it purges again what is applied")


@pytest.mark.parametrize("station", [""], indirect=True)
def test_a_newer_questdb_than_was_planned_is_stopped_again(
    station: tuple[Engine, Supervisord], questdb: ServerBinary
) -> None:
    """The unit starts 9.3.4, the settings name 9.1.0, whose purge takes no locked WAL."""
    settings = station[0].settings
    engine = Engine(replace(settings, questdb=replace(settings.questdb, jar=str(questdb.jar))))
    plan = engine.plan("start-server")
    assert "QuestDB 9.1.0" in plan.why
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.ROLLED_BACK, result
    assert "QuestDB 9.3.4 was started, and the plan is for 9.1.0" in result.message
    assert {claim.key for claim in result.verification if not claim.ok} == {ClaimKey.VERSION}
    assert server_is_down(engine.database.db) is True


@pytest.fixture
def under_systemd(
    prepared: Path, newer: ServerBinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Engine, SystemdUser]]:
    """A station under a real systemd, whose units are given variables by a drop-in."""
    folder = tmp_path.resolve()
    root, port = folder / "root", free_ports(1)[0]
    shutil.copytree(prepared, root)
    settings = {"http.enabled": "false", "http.min.enabled": "false", "pg.net.bind.to": f"127.0.0.1:{port}"}
    (root / CONFIGURATION).write_text(server_conf({**settings, SETTING: str(_SWEEP)}))
    manager = SystemdUser(folder)
    manager.start()
    # The namespace's own cgroup tree is none that the JVM of 17 understands.
    command = server_command(newer, root, heap=256 << 20, options=("-XX:-UseContainerSupport",))
    execute = shlex.join(command).replace("%", "%%")
    manager.write(manager.units, "questdb.service", f"ExecStart={execute}\nSuccessExitStatus=143")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(manager.run))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    services = ServicesSettings("systemd-user", units=(Unit("questdb.service", Role.DATABASE),))
    questdb = QuestDBSettings(db_root=str(root), pg_port=port, jar=str(newer.jar), java=str(newer.java))
    yield Engine(Settings(state_dir=str(folder / "state"), questdb=questdb, services=services)), manager
    manager.stop()


def test_a_start_under_systemd_holds_the_purge_by_a_drop_in(under_systemd: tuple[Engine, SystemdUser]) -> None:
    engine, manager = under_systemd
    plan = engine.plan("start-server")
    assert [stage.parameters["guard"] for stage in plan.stages if stage.step == "hold-purge"] == [Guard.ENVIRONMENT]
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert ClaimKey.WAL_KEPT in {claim.key for claim in result.verification if claim.ok}
    server = Server(engine.settings.questdb)
    assert server.rows("SELECT count() AS n FROM t") == [{"n": 40}]
    assert server.parameter(SETTING) == str(_SWEEP)
    shown = manager.systemctl("show", "questdb.service", "--property=Environment").stdout
    assert VARIABLE not in shown
    until(lambda: len(engine.database.table("t").wals()) < 2, "it purges again what is applied")


@pytest.mark.parametrize("held", [True, False], ids=["with the drop-in", "without it"])
def test_rows_that_the_log_does_not_name_survive_a_start_under_systemd_with_the_drop_in_alone(
    under_systemd: tuple[Engine, SystemdUser], held: bool
) -> None:
    engine, _ = under_systemd
    table, unit, server = engine.database.table("t"), "questdb.service", Server(engine.settings.questdb)
    services = control_for(engine.settings)
    before = {wal.id for wal in table.wals()}
    assert (services is not None, len(before)) == (True, 2)
    assert services is not None

    def log_ends_at(txn: int) -> None:
        with (table.sequencer / "_txnlog").open("r+b") as log:
            log.seek(4)
            log.write(struct.pack("<q", txn))

    log_ends_at(1)  # before the second transaction
    if held:
        services.set_environment(unit, {VARIABLE: str(INTERVAL_MS)})
    services.start(unit, 60)
    server.wait_until_up(engine.database.db, 60)
    if held:
        time.sleep(6 * _SWEEP / 1000)
        assert {wal.id for wal in table.wals()} == before
    else:
        until(lambda: {wal.id for wal in table.wals()} != before, "the purge removes it")
    services.stop(unit)
    until(lambda: server_is_down(engine.database.db) is True)
    log_ends_at(2)
    services.start(unit, 60)
    server.wait_until_up(engine.database.db, 60)
    if held:
        until(lambda: server.rows("SELECT count() AS n FROM t") == [{"n": 40}])
        return
    until(lambda: server.rows("SELECT suspended FROM wal_tables() WHERE name = 't'") == [{"suspended": True}])
    assert server.rows("SELECT count() AS n FROM t") == [{"n": 20}]
