"""kill -9 inside the actions on services: afterwards each is finished or taken back, and the server serves every row.

A real supervisord runs a real QuestDB. Each round freezes, stops, starts and thaws, each killed at random instants, and
again while it is finished: at a writing call, or before or after a command to the service manager.
"""

import random
import shlex
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary, server_command, server_conf
from console.recovery.server.private_server import free_ports
from console.recovery.server.sql import Server
from console.recovery.store.locks import server_is_down
from console.services.model import UnitState
from console.services.supervisor import SupervisorControl
from console.settings import QuestDBSettings, Role, ServicesSettings, Settings, Unit
from tests.faults.broken_database import ACTIONS, ROWS, captured
from tests.faults.interposed import KILLS, count, killed_in_child
from tests.real.supervisord import Supervisord

# So many kills of each action: of each start of it up to five, one after the other, before it is left to end.
_KILLS = max(10, KILLS // 5)
_IN_A_ROW = 5
_COMMANDS = ((SupervisorControl, "stop"), (SupervisorControl, "start"))
_UNITS = (Unit("questdb", Role.DATABASE), Unit("batch-writer", Role.WRITER))


@pytest.fixture(scope="module")
def engine(master: Path, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A station on the broken database, repaired, its server not started yet."""
    folder = tmp_path_factory.mktemp("services")
    root = folder / "root"
    shutil.copytree(master, root)
    for action, table in ACTIONS.items():
        bare = captured(root, folder / "state", table)
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
    services = ServicesSettings("supervisor", str(supervisord.socket), units=_UNITS)
    settings = Settings(
        "station", str(folder / "state"), QuestDBSettings(db_root=str(root), pg_port=port), services=services
    )
    made = Engine(settings)
    for action in ("start-server", "thaw-writer"):
        _do(made, action)
    yield made
    supervisord.stop()


def _do(engine: Engine, action: str) -> None:
    plan = engine.plan(action)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), (action, result)


def _take_back(engine: Engine, action: str) -> bool:
    """Take back what was cut off; return whether it was possible."""
    (entry,) = engine.unfinished()
    plan = engine.plan_undo(entry.id)
    if plan.refused:
        return False
    result = engine.undo(entry.id, plan.confirmation)
    assert result.outcome is Outcome.DONE, (action, result)
    return True


def _state(engine: Engine, name: str) -> UnitState:
    services = engine._services()
    assert services is not None
    return next(sample.state for sample in services.states(_UNITS) if sample.name == name)


def test_what_is_killed_in_the_actions_on_services_is_finished_or_taken_back(engine: Engine) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    killed = dict.fromkeys(("freeze-writer", "stop-server", "start-server", "thaw-writer"), 0)
    calls = {action: count(partial(_do, engine, action), also=_COMMANDS) for action in killed}
    taken_back = number = 0
    while min(killed.values()) < _KILLS:
        number += 1
        for action in killed:
            told = f"seed {seed}: round {number}, {action}"
            for _ in range(_IN_A_ROW):
                at, done = rng.randrange(calls[action]), rng.random() < 0.5
                if not killed_in_child(partial(_do, engine, action), at, done=done, also=_COMMANDS):
                    break  # it needed fewer calls to end
                killed[action] += 1
                if engine.unfinished() and rng.random() < 0.3:
                    taken_back += _take_back(engine, action)
            _do(engine, action)
            assert engine.unfinished() == (), told
            assert engine.journal.verify() == (), told
            up = action in ("start-server", "thaw-writer")
            unit = "questdb" if action.endswith("server") else "batch-writer"
            assert (_state(engine, unit) is UnitState.UP) == up, told
            if action == "stop-server":
                assert server_is_down(engine.database.db) is True, told
        _every_row(engine)
    print(f"{killed} in {number} rounds; {taken_back} taken back")  # noqa: T201 - the figures of the long run


def _every_row(engine: Engine) -> None:
    server = Server(engine.settings.questdb)
    for table in ACTIONS.values():
        deadline = time.monotonic() + 20
        while (found := server.rows(f"SELECT count() AS n FROM {table}")) != [{"n": ROWS}]:
            assert time.monotonic() < deadline, (table, found)
            time.sleep(0.1)
        row = server.wal_table(table)
        assert row is not None
        assert not row["suspended"]
