"""Power loss while walmedic repairs or undoes: it is finished, taken back or done anew, and nothing is lost.

States as tests/faults/power_loss.py draws them; from some of them the action is finished, and power lost once more.
"""

import shutil
from collections.abc import Callable
from functools import partial

import pytest

from console.recovery.engine import Engine
from console.recovery.evidence.verification import verify_capture
from console.recovery.model import Outcome
from tests.faults.broken_database import ACTIONS, captured, take_back, tree_of
from tests.faults.power_case import STATES, Case, Tree, printed, run, undo
from tests.faults.power_loss import State


def _forth_and_back(case: Case, action: str, state: State, label: str) -> None:
    """From a state on: finish or take back, then to the other tree, and from some to the first again."""
    engine, table = case.engine(), ACTIONS[action]
    assert not (state.last and engine.unfinished()), label
    if cut_off := engine.unfinished():
        if case.rng.random() < 0.5 and all(entry.action == action for entry in cut_off):
            run(engine, action, table)
        else:  # an undo that was cut off comes first
            take_back(engine)
    assert engine.unfinished() == (), label
    ended = case.ended_as("before", "after")
    assert ended == "after" if state.last else ended, label
    if ended == "before":
        run(engine, action, table)
        assert case.ended_as("after"), label
    if ended == "after" or case.rng.random() < 0.3:
        (last,) = [entry.id for entry in engine.journal.entries() if entry.result is Outcome.DONE][-1:]
        undo(engine, last)
        assert case.ended_as("before"), label
    assert engine.journal.verify() == (), label
    _evidence_is_whole(case, label)


def _evidence_is_whole(case: Case, label: str) -> None:
    assert tree_of(case.state / "evidence") == case.trees["evidence"], label


def _prepared(case: Case, action: str) -> Engine:
    """Capture evidence, note what the root is after the action, and go back."""
    engine = captured(case.root, case.state, ACTIONS[action])
    assert all(verify_capture(folder).ok for folder in (case.state / "evidence").iterdir())
    case.trees["evidence"] = tree_of(case.state / "evidence")
    entry = run(engine, action, ACTIONS[action])
    case.trees["after"] = tree_of(case.root)
    undo(engine, entry)
    assert case.ended_as("before")
    return engine


@pytest.mark.parametrize("action", ACTIONS)
def test_a_repair_is_finished_or_taken_back(action: str, case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    engine = _prepared(case, action)
    states = case.drawn(partial(run, engine, action, ACTIONS[action]))
    case.tries(states, partial(_forth_and_back, case, action))
    printed(capsys, case, action)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_undo_is_finished(action: str, case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    engine = _prepared(case, action)
    entry = run(engine, action, ACTIONS[action])

    def check(state: State, label: str) -> None:
        reopened = case.engine()
        if state.last:
            assert case.ended_as("before"), label
            assert reopened.unfinished() == (), label
        take_back(reopened)
        if not case.ended_as("before"):
            assert case.ended_as("after"), label
            undo(reopened, entry)
        _forth_and_back(case, action, State(state.description, {}), label)

    case.tries(case.drawn(partial(undo, engine, entry)), check)
    printed(capsys, case, f"undo of {action}")


@pytest.mark.parametrize("action", ACTIONS)
def test_power_is_lost_again_while_a_repair_is_finished(
    action: str, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = _prepared(case, action)
    left = [each for each in case.drawn(partial(run, engine, action, ACTIONS[action])) if not each.last]
    for first in case.rng.sample(left, min(len(left), 1 + STATES // 20)):
        case.vault.lay(first.image)
        cut_off = case.engine()
        if not cut_off.unfinished():
            continue
        work: Callable[[], object] = partial(run, cut_off, action, ACTIONS[action])
        if case.rng.random() < 0.5:
            work = partial(take_back, cut_off)
        states = case.drawn(work)
        chosen = case.rng.sample(states, min(len(states), max(2, STATES // (1 + STATES // 20))))
        case.tries(
            [State(f"{first.description}, then {each.description}", each.image) for each in chosen],
            partial(_forth_and_back, case, action),
        )
    printed(capsys, case, f"{action}, power lost twice")


def test_an_undo_by_evidence_is_finished(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """As if a server had written meanwhile, so that the evidence is the way back."""
    engine = _prepared(case, "repair-log")
    entry, table = run(engine, "repair-log", "outrun"), engine.database.table("outrun").path
    with (table / "_cv").open("ab") as stream:
        stream.write(bytes(512))
    shutil.copytree(table / "2024-01-01", table / "2024-01-09")
    (table / "_txn").touch()

    def before(tree: Tree) -> bool:
        return {path: content for path, content in tree.items() if "since.walmedic-MARK.old" not in path} == case.trees[
            "before"
        ]

    def check(state: State, label: str) -> None:
        reopened = case.engine()
        if state.last:
            assert before(tree_of(case.root)), label
        plan = reopened.plan_undo(entry)
        assert {refusal.code for refusal in plan.refused} <= {"already-undone"}, label
        if not plan.refused:
            undo(reopened, entry)
        assert before(tree_of(case.root)), label
        assert reopened.unfinished() == (), label
        assert reopened.journal.verify() == (), label
        _evidence_is_whole(case, label)
        assert reopened.plan("repair-log", "outrun").refused == (), label

    case.tries(case.drawn(partial(undo, engine, entry)), check)
    printed(capsys, case, "undo by evidence")
