"""kill -9 at every writing call of set-table-aside: then it is finished or taken back, and the tree is as it was."""

import random
from functools import partial
from pathlib import Path

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from tests.faults.broken_database import ACTIONS, settings_of, take_back, tree_of
from tests.faults.interposed import killed_in_child

_ACTION, _TABLE = "set-table-aside", ACTIONS["repair-table-state"]


def _run(engine: Engine) -> None:
    plan = engine.plan(_ACTION, _TABLE)
    assert not plan.refused, plan.refused
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE


def _take_back_the_last(engine: Engine) -> None:
    last = engine.journal.entries()[-1].id
    assert engine.undo(last, engine.plan_undo(last).confirmation).outcome is Outcome.DONE


def test_what_was_killed_is_finished_or_taken_back(root: Path, tmp_path: Path) -> None:
    rng = random.Random(seed := random.randrange(1 << 30))
    engine, original = Engine(settings_of(root, tmp_path / "state")), tree_of(root)
    finished = taken_back = at = 0
    while killed_in_child(partial(_run, engine), at, done=rng.random() < 0.5):
        label = f"seed {seed}, call {at}"
        if engine.unfinished() and rng.random() < 0.5:
            take_back(engine)
            taken_back += 1
        elif engine.unfinished():
            _run(engine)
            assert not list((root / "db").glob(f"{_TABLE}~*/_meta")), label
            finished += 1
        if tree_of(root) != original:
            entry = engine.journal.entries()[-1].id
            undo = partial(engine.undo, entry, engine.plan_undo(entry).confirmation)
            killed_in_child(undo, rng.randrange(30), done=rng.random() < 0.5)
            take_back(engine)
            if tree_of(root) != original:
                _take_back_the_last(engine)
        assert tree_of(root) == original, label
        at += 1
    assert finished, seed
    assert taken_back, seed
