"""kill -9 at any writing call of an action: afterwards it can be finished, or taken back byte for byte."""

import os
import random
import shutil
from functools import partial
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.private_server import PrivateServer, ServerBinary
from tests.faults.broken_database import ACTIONS, ROWS, captured, tree_of
from tests.faults.interposed import count, killed_in_child

# `make faults` kills at every call, before it and after it; `make test` at a seeded sample.
_KILLS = int(os.environ.get("WALMEDIC_FAULT_KILLS", "10"))


def _run(engine: Engine, action: str) -> object:
    plan = engine.plan(action, ACTIONS[action])
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    return result


def _finish(engine: Engine, action: str) -> None:
    """Do again what was killed, as the operator would: the same action, the same phrase."""
    plan = engine.plan(action, ACTIONS[action])
    result = engine.run(plan, plan.confirmation)
    # It may have been killed with its outcome written: then nothing is left to do.
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result


def _take_back(engine: Engine) -> None:
    """Take back what was cut off, the undo that was itself cut off included."""
    while cut_off := engine.unfinished():
        name = str(cut_off[0].intent.get("undoes", cut_off[0].id))
        result = engine.undo(name, engine.plan_undo(name).confirmation)
        assert result.outcome is Outcome.DONE, result


@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_killed_is_finished_or_taken_back(action: str, master: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(master)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(master, undisturbed / "root")
    first = captured(undisturbed / "root", undisturbed / "state", ACTIONS[action])
    calls = count(lambda: _run(first, action))
    whole = tree_of(undisturbed / "root")
    instants = [(at, done) for at in range(calls) for done in (False, True)]
    chosen = instants if len(instants) <= _KILLS else rng.sample(instants, _KILLS)
    for at, done in chosen:
        case = tmp_path / f"{at}-{done}"
        shutil.copytree(master, case / "root")
        engine = captured(case / "root", case / "state", ACTIONS[action])
        evidence = tree_of(case / "state" / "evidence")
        assert killed_in_child(partial(_run, engine, action), at, done=done), f"seed {seed}: {at} {done}"
        cut_off = engine.unfinished()
        if rng.random() < 0.3 and cut_off:  # and killed again while it is being finished
            killed_in_child(partial(_finish, engine, action), rng.randrange(30), done=False)
            cut_off = engine.unfinished()
        if cut_off and rng.random() < 0.5:
            if rng.random() < 0.3:
                entry = cut_off[0].id
                phrase = engine.plan_undo(entry).confirmation
                killed_in_child(partial(engine.undo, entry, phrase), rng.randrange(20), done=False)
            _take_back(engine)
            assert tree_of(case / "root") == original, f"seed {seed}: {at} {done}"
        else:
            _finish(engine, action)
            assert tree_of(case / "root") == whole, f"seed {seed}: {at} {done}"
        assert engine.unfinished() == ()
        assert engine.journal.verify() == ()
        assert tree_of(case / "state" / "evidence") == evidence
        shutil.rmtree(case)


def test_the_server_takes_what_was_finished(root: Path, engine: Engine, questdb: ServerBinary) -> None:
    for number, action in enumerate(ACTIONS):
        assert killed_in_child(partial(_run, engine, action), 25 + 3 * number, done=False)
        _finish(engine, action)
    with PrivateServer(root, questdb) as server:
        for table in ACTIONS.values():
            for _ in range(200):
                if server.query(f"SELECT count() FROM {table}") == [(ROWS,)]:
                    break
            assert server.query(f"SELECT count(), min(v), max(v) FROM {table}") == [(ROWS, 0, ROWS - 1)]
            server.query(f"INSERT INTO {table} VALUES ('2024-01-09', 99)")
        assert [row[0] for row in server.query("SELECT suspended FROM wal_tables()")] == [False] * len(ACTIONS)
