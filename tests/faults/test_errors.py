"""A full disk, a dying disk, a read-only or forbidden one, at any writing call: original intact, one clear sentence."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from console.errors import WalmedicError
from console.recovery.engine import Engine
from console.recovery.model import Outcome, RunResult
from tests.faults.broken_database import ACTIONS, captured, tree_of
from tests.faults.interposed import count, interposed

_ERRORS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EROFS": errno.EROFS,
    "EACCES": errno.EACCES,
    "ENOENT": errno.ENOENT,
}
_CASES = int(os.environ.get("WALMEDIC_FAULT_ERRORS", "3"))


def _attempt(engine: Engine, action: str) -> Outcome:
    """Run the action; return how it ended. What it says must be one sentence that names a place."""
    plan = engine.plan(action, ACTIONS[action])
    try:
        result = engine.run(plan, plan.confirmation)
    except WalmedicError as error:
        result = RunResult("", Outcome.REFUSED, str(error))
    assert result.message
    assert "\n" not in result.message
    return result.outcome


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_an_error_leaves_the_original_or_a_way_back(action: str, lasting: bool, master: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(master)
    shutil.copytree(master, tmp_path / "count" / "root")
    counted = captured(tmp_path / "count" / "root", tmp_path / "count" / "state", ACTIONS[action])
    calls = count(lambda: _attempt(counted, action))
    whole = tree_of(tmp_path / "count" / "root")
    for at in rng.sample(range(calls), _CASES):
        name = rng.choice(sorted(_ERRORS))
        told = f"seed {seed}: {name} at call {at}"
        case = tmp_path / str(at)
        shutil.copytree(master, case / "root")
        engine = captured(case / "root", case / "state", ACTIONS[action])
        evidence = tree_of(case / "state" / "evidence")

        def fail(number: int, call: str, at: int = at, code: int = _ERRORS[name]) -> None:
            if number == at or (lasting and number > at):
                raise OSError(code, os.strerror(code))

        with interposed(fail):
            outcome = _attempt(engine, action)
        if outcome is Outcome.DONE:
            assert tree_of(case / "root") == whole, told  # it failed where nothing depends on it, e.g. a lock's note
        elif outcome is Outcome.ROLLED_BACK:
            assert tree_of(case / "root") == original, told
        for left in engine.unfinished():  # the journal itself could not be written any more
            undone = engine.undo(left.id, engine.plan_undo(left.id).confirmation)
            assert undone.outcome is Outcome.DONE, f"{told}: {undone}"
            assert tree_of(case / "root") == original, told
        if outcome is Outcome.FAILED and (last := engine.journal.entries()[-1]).outcome is not None:
            if last.action != "undo":
                assert engine.undo(last.id, engine.plan_undo(last.id).confirmation).outcome is Outcome.DONE, told
            assert tree_of(case / "root") == original, told
        assert tree_of(case / "root") in (original, whole), told
        assert tree_of(case / "state" / "evidence") == evidence, told
        shutil.rmtree(case)


def test_a_table_that_vanishes_is_a_sentence(root: Path, engine: Engine) -> None:
    plan = engine.plan("rebuild-sequencer", "gone")
    shutil.rmtree(engine.database.table("gone").path)
    before = tree_of(root)
    with pytest.raises(WalmedicError, match="there is no table gone"):
        engine.run(plan, plan.confirmation)
    assert tree_of(root) == before
