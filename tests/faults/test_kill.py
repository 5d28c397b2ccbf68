"""kill -9 at any instant of a repair: afterwards it can be finished, or taken back byte for byte.

At each writing call, before it and after it, and from outside at any time; again while it is finished or taken back.
What is finished is taken back too: so the next case begins, byte for byte, on what the first began on.
"""

import random
import shutil
from functools import partial
from pathlib import Path

import pytest

from console.diagnosis.server.open_files import FileUsers
from console.digests import digest_of
from console.recovery.engine import Engine
from console.recovery.gate import policy
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.faults.broken_database import ACTIONS, ROWS, captured, take_back, tree_of
from tests.faults.interposed import Kills, killed_after_event, killed_in_child

_CASES_OF_A_STATE = 25  # then a fresh copy: each case makes the journal longer


def _run(engine: Engine, action: str) -> None:
    plan = engine.plan(action, ACTIONS[action])
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result


def _finish(engine: Engine, action: str) -> None:
    """Do again what was killed, as the operator would: the same action, the same phrase."""
    plan = engine.plan(action, ACTIONS[action])
    result = engine.run(plan, plan.confirmation)
    # It may have been killed with its outcome written: then nothing is left to do.
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result


def _take_back_the_last(engine: Engine) -> None:
    last = engine.journal.entries()[-1].id
    result = engine.undo(last, engine.plan_undo(last).confirmation)
    assert result.outcome is Outcome.DONE, result


@pytest.fixture(scope="module")
def finished() -> dict[str, dict[str, Path]]:
    """By action each distinct tree of its table that a killed and finished repair has left."""
    return {action: {} for action in ACTIONS}


@pytest.fixture(autouse=True)
def nobody_has_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked for each of a dozen plans of a case: the kernel's answer takes as long as the machine is busy."""
    monkeypatch.setattr(policy, "users_of", lambda directory: FileUsers((), ()))


@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_killed_is_finished_or_taken_back(
    action: str,
    master: Path,
    tmp_path: Path,
    finished: dict[str, dict[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(master)
    shutil.copytree(master, tmp_path / "undisturbed" / "root")
    first = captured(tmp_path / "undisturbed" / "root", tmp_path / "undisturbed" / "state", ACTIONS[action])
    kills = Kills(partial(_run, first, action), rng)
    whole = tree_of(tmp_path / "undisturbed" / "root")
    again = ended = taken_back = number = 0
    case = tmp_path / "undisturbed"
    while not kills.enough:
        if number % _CASES_OF_A_STATE == 0:
            shutil.rmtree(case)
            case = tmp_path / str(number)
            shutil.copytree(master, case / "root")
            engine = captured(case / "root", case / "state", ACTIONS[action])
            evidence = tree_of(case / "state" / "evidence")
        kills.next(partial(_run, engine, action))
        label = f"seed {seed}: {kills.description}"
        if engine.unfinished() and rng.random() < 0.3:  # and killed again while it is being finished
            again += killed_in_child(partial(_finish, engine, action), rng.randrange(60), done=rng.random() < 0.5)
        if (cut_off := engine.unfinished()) and rng.random() < 0.5:
            if rng.random() < 0.3:
                entry = cut_off[0].id
                phrase = engine.plan_undo(entry).confirmation
                again += killed_in_child(
                    partial(engine.undo, entry, phrase), rng.randrange(60), done=rng.random() < 0.5
                )
            take_back(engine)
            taken_back += 1
        else:
            _finish(engine, action)
            tree = tree_of(case / "root")
            assert tree == whole, label
            table = engine.database.table(ACTIONS[action]).directory
            if (digest := digest_of(sorted(tree.items()))) not in finished[action]:
                finished[action][digest] = tmp_path_factory.mktemp(action) / table
                shutil.copytree(case / "root" / "db" / table, finished[action][digest])
            ended += 1
            _take_back_the_last(engine)
        assert tree_of(case / "root") == original, label
        assert engine.unfinished() == ()
        assert engine.journal.verify() == ()
        assert tree_of(case / "state" / "evidence") == evidence, label
        number += 1
    with capsys.disabled():
        print(  # noqa: T201 - the figures of the long run
            f"\n{action}: {kills.done} kills, {kills.at_any_time} of them at any time, and {again} more while it was "
            f"finished or taken back; {ended} finished, {taken_back} taken back; "
            f"{len(finished[action])} distinct trees of it whole"
        )


@pytest.mark.parametrize("action", ["rebuild-sequencer", "raise-wal-index"])
def test_an_undo_killed_after_any_line_of_its_journal_goes_on(action: str, master: Path, tmp_path: Path) -> None:
    original = tree_of(master)
    shutil.copytree(master, tmp_path / "root")
    engine = captured(tmp_path / "root", tmp_path / "state", ACTIONS[action])
    undone = 0
    while True:
        assert killed_after_event(partial(_run, engine, action), 2)  # with its first stage done
        (entry,) = engine.unfinished()
        undo = partial(engine.undo, entry.id, engine.plan_undo(entry.id).confirmation)
        if not killed_after_event(undo, undone):
            break
        undone += 1
        take_back(engine)
        assert tree_of(tmp_path / "root") == original
        assert engine.plan(action, ACTIONS[action]).refused == ()  # the evidence still counts
    assert undone >= 4  # intent, stages, the outcome of the entry, its own


def test_the_server_takes_what_was_finished(
    root: Path, questdb: ServerBinary, finished: dict[str, dict[str, Path]]
) -> None:
    """The server starts once per distinct tree; those of the four tables share a start."""
    assert all(finished.values()), "run with the tests before it, which leave the trees"
    for _ in range(max(len(trees) for trees in finished.values())):
        for trees in finished.values():
            tree = trees.pop(next(iter(trees))) if trees else None
            if tree is not None:
                shutil.rmtree(root / "db" / tree.name)
                shutil.copytree(tree, root / "db" / tree.name)
        _serves_all(root, questdb)


def _serves_all(root: Path, questdb: ServerBinary) -> None:
    with PrivateServer(root, questdb) as server:
        for table in ACTIONS.values():
            for _ in range(200):
                if server.query(f"SELECT count() FROM {table}") == [(ROWS,)]:
                    break
            assert server.query(f"SELECT count(), min(v), max(v) FROM {table}") == [(ROWS, 0, ROWS - 1)]
            server.query(f"INSERT INTO {table} (ts, v) VALUES ('2024-01-09', 99)")
        assert [row[0] for row in server.query("SELECT suspended FROM wal_tables()")] == [False] * len(ACTIONS)
