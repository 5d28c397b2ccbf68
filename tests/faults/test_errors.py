"""A full disk, a dying disk, a read-only or forbidden one, at any writing call: original intact, one clear sentence."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from console.diagnosis.server.open_files import FileUsers
from console.errors import WalmedicError
from console.recovery.engine import Engine
from console.recovery.gate import policy
from console.recovery.model import Outcome, RunResult
from tests.faults.broken_database import ACTIONS, captured, settings_of, take_back, tree_of
from tests.faults.interposed import count, failing, interposed

_ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT)
# So many calls of each action fail; in `make faults` every one does.
_CASES = int(os.environ.get("WALMEDIC_FAULT_ERRORS", "5"))


@pytest.fixture(autouse=True)
def nobody_has_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked for each plan of each case: the kernel's answer takes as long as the machine is busy."""
    monkeypatch.setattr(policy, "users_of", lambda directory: FileUsers((), ()))


def _attempt(engine: Engine, action: str, table: str) -> RunResult:
    """Run the action; return how it ended. What it says must be one sentence."""
    plan = engine.plan(action, table)
    try:
        result = engine.run(plan, plan.confirmation)
    except WalmedicError as error:
        result = RunResult("", Outcome.REFUSED, str(error))
    assert result.message
    assert "\n" not in result.message
    return result


def _chosen(calls: int, rng: random.Random) -> list[tuple[int, int]]:
    """Return the calls that fail, each with its error: every error, and in the end every call."""
    chosen = list(range(calls)) if calls <= _CASES else sorted(rng.sample(range(calls), _CASES))
    first = rng.randrange(len(_ERRORS))
    return [(at, _ERRORS[(first + index) % len(_ERRORS)]) for index, at in enumerate(chosen)]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_an_error_leaves_the_original_or_a_way_back(action: str, lasting: bool, master: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(master)
    shutil.copytree(master, tmp_path / "count" / "root")
    counted = captured(tmp_path / "count" / "root", tmp_path / "count" / "state", ACTIONS[action])
    calls = count(lambda: _attempt(counted, action, ACTIONS[action]))
    whole = tree_of(tmp_path / "count" / "root")
    ended: dict[str, int] = {}
    for at, code in _chosen(calls, rng):
        label = f"seed {seed}: {errno.errorcode[code]} at call {at}"
        case = tmp_path / str(at)
        shutil.copytree(master, case / "root")
        engine = captured(case / "root", case / "state", ACTIONS[action])
        evidence = tree_of(case / "state" / "evidence")

        with interposed(failing(at, code, lasting=lasting)):
            outcome = _attempt(engine, action, ACTIONS[action]).outcome
        ended[outcome.value] = ended.get(outcome.value, 0) + 1
        if outcome is Outcome.DONE:
            assert tree_of(case / "root") == whole, label  # it failed where nothing depends on it, e.g. a lock's note
        elif outcome is Outcome.ROLLED_BACK:
            assert tree_of(case / "root") == original, label
        for left in engine.unfinished():  # the journal itself could not be written any more
            undone = engine.undo(left.id, engine.plan_undo(left.id).confirmation)
            assert undone.outcome is Outcome.DONE, f"{label}: {undone}"
            assert tree_of(case / "root") == original, label
        if outcome is Outcome.FAILED and (last := engine.journal.entries()[-1]).outcome is not None:
            if last.action != "undo":
                assert engine.undo(last.id, engine.plan_undo(last.id).confirmation).outcome is Outcome.DONE, label
            assert tree_of(case / "root") == original, label
        assert tree_of(case / "root") in (original, whole), label
        assert tree_of(case / "state" / "evidence") == evidence, label
        shutil.rmtree(case)
    print(f"{action}: {calls} writing calls, {sum(ended.values())} of them failed: {ended}")  # noqa: T201 - figures


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_an_error_on_the_way_back_leaves_the_way_back(action: str, lasting: bool, master: Path, tmp_path: Path) -> None:
    """Whatever fails while a repair is undone, the undo done again leads to the original."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(master)

    def repaired(case: Path) -> tuple[Engine, str]:
        shutil.copytree(master, case / "root")
        engine = captured(case / "root", case / "state", ACTIONS[action])
        result = _attempt(engine, action, ACTIONS[action])
        assert result.outcome is Outcome.DONE, result
        return engine, result.entry

    def undo(engine: Engine, entry: str) -> RunResult:
        return engine.undo(entry, engine.plan_undo(entry).confirmation)

    counted, done = repaired(tmp_path / "count")
    calls = count(lambda: undo(counted, done))
    ended: dict[str, int] = {}
    for at, code in _chosen(calls, rng):
        label = f"seed {seed}: {errno.errorcode[code]} at call {at}"
        engine, done = repaired(tmp_path / str(at))

        with interposed(failing(at, code, lasting=lasting)):
            try:
                result = undo(engine, done)
            except WalmedicError as error:
                result = RunResult("", Outcome.REFUSED, str(error))
        ended[result.outcome.value] = ended.get(result.outcome.value, 0) + 1
        assert "\n" not in result.message, label
        if tree_of(tmp_path / str(at) / "root") != original or engine.unfinished():
            again = undo(engine, done)
            assert again.outcome is Outcome.DONE, f"{label}: {result}; {again}"
        assert tree_of(tmp_path / str(at) / "root") == original, label
        assert engine.unfinished() == (), label
        assert engine.journal.verify() == (), label
        shutil.rmtree(tmp_path / str(at))
    print(f"undo of {action}: {calls} writing calls, {sum(ended.values())} of them failed: {ended}")  # noqa: T201


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_an_error_while_evidence_is_captured_leaves_none_or_all(lasting: bool, root: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(root)
    counted = Engine(settings_of(root, tmp_path / "count"))
    calls = count(lambda: _attempt(counted, "capture-evidence", "outrun"))
    ended: dict[str, int] = {}
    for at, code in _chosen(calls, rng):
        label = f"seed {seed}: {errno.errorcode[code]} at call {at}"
        engine = Engine(settings_of(root, tmp_path / "state"))

        with interposed(failing(at, code, lasting=lasting)):
            outcome = _attempt(engine, "capture-evidence", "outrun").outcome
        ended[outcome.value] = ended.get(outcome.value, 0) + 1
        take_back(engine)
        opened = "no-evidence" not in {refusal.code for refusal in engine.plan("repair-log", "outrun").refused}
        assert opened or outcome is not Outcome.DONE, label
        captures = list(engine.state.evidence.glob("*")) if engine.state.evidence.exists() else []
        assert opened == any((folder / "manifest.json").exists() for folder in captures), label
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
    assert tree_of(root) == original
    print(f"capture-evidence: {calls} writing calls, {sum(ended.values())} of them failed: {ended}")  # noqa: T201


@pytest.mark.parametrize("action", ACTIONS)
def test_a_table_that_vanishes_while_it_is_repaired_is_a_sentence(action: str, root: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(root)
    engine = captured(root, tmp_path / "state", ACTIONS[action])
    table, elsewhere = engine.database.table(ACTIONS[action]).path, tmp_path / "elsewhere"
    at = rng.randrange(20, 60)

    def vanish(number: int, call: str) -> None:
        if number == at:
            table.rename(elsewhere)

    plan = engine.plan(action, ACTIONS[action])
    with interposed(vanish):
        try:
            sentence = engine.run(plan, plan.confirmation).message
        except WalmedicError as error:
            sentence = str(error)
    assert "\n" not in sentence
    if elsewhere.exists():
        shutil.rmtree(table, ignore_errors=True)
        elsewhere.rename(table)
    take_back(engine)
    last = engine.journal.entries()[-1]
    if last.action == action and last.outcome is not None and last.outcome["outcome"] in ("done", "failed"):
        back = engine.plan_undo(last.id)
        if back.refused:  # it vanished under the last look at it: what it was then is not known, and nothing is guessed
            assert "\n" not in back.refused[0].reason
            return
        assert engine.undo(last.id, back.confirmation).outcome is Outcome.DONE, f"seed {seed}"
    assert tree_of(root) == original, f"seed {seed}: at call {at}"


def test_a_table_that_vanishes_is_a_sentence(root: Path, engine: Engine) -> None:
    plan = engine.plan("rebuild-sequencer", "gone")
    shutil.rmtree(engine.database.table("gone").path)
    before = tree_of(root)
    with pytest.raises(WalmedicError, match="there is no table gone"):
        engine.run(plan, plan.confirmation)
    assert tree_of(root) == before
