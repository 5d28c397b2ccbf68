"""A station whose services are real: supervisord runs QuestDB on the repaired database, and a writer that sleeps."""

import contextlib
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary, server_command, server_conf
from console.recovery.server.private_server import free_ports
from console.recovery.server.sql import Server
from console.services.model import UnitState
from console.settings import QuestDBSettings, Role, ServicesSettings, Settings, Unit
from tests.faults.broken_database import ACTIONS, ROWS, captured
from tests.real.supervisord import Supervisord

UNITS = (Unit("questdb", Role.DATABASE), Unit("batch-writer", Role.WRITER))
SERVICE_ACTIONS = ("freeze-writer", "stop-server", "start-server", "thaw-writer")
"""In the order in which each finds what it needs; after the last the station is as before the first."""


@contextlib.contextmanager
def service_station(master: Path, questdb: ServerBinary, folder: Path, state: Path) -> Iterator[Engine]:
    """Yield the engine of a station below `folder`, on a copy of `master` that is repaired; all of it runs."""
    root = folder / "root"
    shutil.copytree(master, root)
    for action, table in ACTIONS.items():
        bare = captured(root, state, table)
        plan = bare.plan(action, table)
        assert bare.run(plan, plan.confirmation).outcome is Outcome.DONE
    port = free_ports(1)[0]
    (root / "conf" / "server.conf").write_text(
        server_conf(
            {
                "http.enabled": "false",
                "http.min.enabled": "false",
                "pg.net.bind.to": f"127.0.0.1:{port}",
                "cairo.wal.purge.interval": "300",
            }
        )
    )
    command = shlex.join(server_command(questdb, root, heap=256 << 20)).replace("%", "%%")
    supervisord = Supervisord(
        folder,
        f"[program:questdb]\ncommand={command}\n"
        "autostart=false\nstartsecs=1\nstopwaitsecs=30\n"
        "[program:batch-writer]\ncommand=sleep 10000\nautostart=false\nstartsecs=0\n",
    )
    supervisord.start()
    services = ServicesSettings("supervisor", str(supervisord.socket), units=UNITS)
    settings = Settings("station", str(state), QuestDBSettings(db_root=str(root), pg_port=port), services=services)
    made = Engine(settings)
    for action in ("start-server", "thaw-writer"):
        do(made, action)
    try:
        yield made
    finally:
        supervisord.stop()


def do(engine: Engine, action: str) -> None:
    """Carry out an action; it is done, or was not needed."""
    plan = engine.plan(action)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), (action, result)


def state_of(engine: Engine, name: str) -> UnitState:
    """Return the state of a unit."""
    services = engine._services()
    assert services is not None
    return next(sample.state for sample in services.states(UNITS) if sample.name == name)


def assert_every_row(engine: Engine) -> None:
    """Wait until the server shows every row of every table."""
    server = Server(engine.settings.questdb)
    for table in ACTIONS.values():
        deadline = time.monotonic() + 20
        while (found := server.rows(f"SELECT count() AS n FROM {table}")) != [{"n": ROWS}]:
            assert time.monotonic() < deadline, (table, found)
            time.sleep(0.1)
        row = server.wal_table(table)
        assert row is not None
        assert not row["suspended"]
