"""kill -9 inside the actions on services: afterwards each is finished or taken back, and the server serves every row.

A real supervisord runs a real QuestDB. Each round freezes, stops, starts and thaws, each killed at random instants, and
again while it is finished: at a writing call, or before or after a command to the service manager.
"""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.sql import Server
from console.recovery.store.locks import server_is_down
from console.services.model import UnitState
from console.services.supervisor import SupervisorControl
from tests.faults.interposed import KILLS, count, killed_in_child
from tests.faults.service_station import SERVICE_ACTIONS, assert_every_row, do, service_station, state_of

# So many kills of each action: of each start of it up to five, one after the other, before it is left to end.
_KILLS = max(10, KILLS // 5)
_IN_A_ROW = 5
_COMMANDS = ((SupervisorControl, "stop"), (SupervisorControl, "start"))


@pytest.fixture(scope="module")
def engine(master: Path, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("services")
    with service_station(master, questdb, folder, folder / "state") as made:
        yield made


def _take_back(engine: Engine, action: str) -> bool:
    """Take back what was cut off; return whether it was possible."""
    (entry,) = engine.unfinished()
    plan = engine.plan_undo(entry.id)
    if plan.refused:
        return False
    result = engine.undo(entry.id, plan.confirmation)
    assert result.outcome is Outcome.DONE, (action, result)
    return True


def test_what_is_killed_in_the_actions_on_services_is_finished_or_taken_back(engine: Engine) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    killed = dict.fromkeys(SERVICE_ACTIONS, 0)
    calls = {action: count(partial(do, engine, action), also=_COMMANDS) for action in killed}
    taken_back = number = 0
    while min(killed.values()) < _KILLS:
        number += 1
        for action in killed:
            label = f"seed {seed}: round {number}, {action}"
            for _ in range(_IN_A_ROW):
                at, done = rng.randrange(calls[action]), rng.random() < 0.5
                if not killed_in_child(partial(do, engine, action), at, done=done, also=_COMMANDS):
                    break  # it needed fewer calls to end
                killed[action] += 1
                if engine.unfinished() and rng.random() < 0.3:
                    taken_back += _take_back(engine, action)
            do(engine, action)
            assert engine.unfinished() == (), label
            assert engine.journal.verify() == (), label
            up = action in ("start-server", "thaw-writer")
            unit = "questdb" if action.endswith("server") else "batch-writer"
            assert (state_of(engine, unit) is UnitState.UP) == up, label
            if action == "stop-server":
                assert server_is_down(engine.database.db) is True, label
        assert_every_row(engine)
    print(f"{killed} in {number} rounds; {taken_back} taken back")  # noqa: T201 - the figures of the long run


def test_a_server_that_was_started_by_hand_after_a_start_was_cut_off_stays_up(engine: Engine) -> None:
    do(engine, "stop-server")
    start = partial(do, engine, "start-server")
    begun = next(at for at in range(200) if killed_in_child(start, at, done=True) and engine.unfinished())
    services = engine._services()
    assert services is not None
    assert begun < 200
    services.start("questdb", 60)
    Server(engine.settings.questdb).wait_until_up(engine.database.db, 60)
    (entry,) = engine.unfinished()
    result = engine.finish(entry.id)
    assert result.outcome in (Outcome.ROLLED_BACK, Outcome.FAILED), result
    assert state_of(engine, "questdb") is UnitState.UP
    assert engine.unfinished() == ()
    assert_every_row(engine)
