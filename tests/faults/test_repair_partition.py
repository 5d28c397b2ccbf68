"""repair-partition killed, or failed by the disk, at any writing call, for each choice: finished or taken back."""

import errno
import random
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from console.diagnosis.server.open_files import FileUsers
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.gate import policy
from console.recovery.model import Outcome
from console.settings import PartitionSettings
from tests.faults.broken_database import captured, settings_of, take_back, tree_of
from tests.faults.interposed import Kills, failing, interposed, killed_in_child

pytestmark = pytest.mark.faults

_TABLE = "reused"
_CHOICES = ("null", "whole-rows", "drop-rows", "set-aside", "copy")
_CASES_OF_A_STATE = 10
_ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)


@pytest.fixture(autouse=True)
def nobody_has_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked for each of a dozen plans of a case: the kernel's answer takes as long as the machine is busy."""
    monkeypatch.setattr(policy, "users_of", lambda directory: FileUsers((), ()))


@pytest.fixture
def dented(master: Path, tmp_path: Path, choice: str) -> Path:
    """A copy of the database with a column of one partition cut, and a whole copy of that partition beside it.

    Rows are dropped where it is a timestamp that is lost, the first one.
    """
    root = tmp_path / "dented" / "root"
    shutil.copytree(master, root)
    partition = DatabaseRoot.locate(root).table(_TABLE).path / "2024-01-01"
    shutil.copytree(partition, tmp_path / "backup" / partition.name)
    with (partition / ("ts.d" if choice == "drop-rows" else "v.d")).open("r+b") as stream:
        if choice == "drop-rows":
            stream.write(bytes(8))
        else:
            stream.truncate(8 * 3)
    return root


def _engine(root: Path, state: Path, choice: str, source: Path) -> Engine:
    wanted = PartitionSettings(choice=choice, source=str(source))
    return Engine(replace(settings_of(root, state), partition=wanted))


def _begin(dented: Path, case: Path, choice: str, source: Path) -> Engine:
    shutil.copytree(dented, case / "root")
    captured(case / "root", case / "state", _TABLE)
    return _engine(case / "root", case / "state", choice, source)


def _run(engine: Engine) -> None:
    plan = engine.plan("repair-partition", _TABLE)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result


@pytest.mark.parametrize("choice", _CHOICES)
def test_what_was_killed_is_finished_or_taken_back(choice: str, dented: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original, source = tree_of(dented), tmp_path / "backup"
    first = _begin(dented, tmp_path / "first", choice, source)
    kills = Kills(partial(_run, first), rng)
    whole = tree_of(tmp_path / "first" / "root")
    assert whole != original
    number = 0
    case = tmp_path / "first"
    while not kills.enough:
        if number % _CASES_OF_A_STATE == 0:
            shutil.rmtree(case)
            case = tmp_path / str(number)
            engine = _begin(dented, case, choice, source)
        kills.next(partial(_run, engine))
        told = f"seed {seed}: {choice}: {kills.description}"
        if engine.unfinished() and rng.random() < 0.3:
            killed_in_child(partial(_run, engine), rng.randrange(40), done=rng.random() < 0.5)
        if engine.unfinished() and rng.random() < 0.5:
            take_back(engine)
        else:
            _run(engine)
            assert tree_of(case / "root") == whole, told
            last = engine.journal.entries()[-1].id
            assert engine.undo(last, engine.plan_undo(last).confirmation).outcome is Outcome.DONE, told
        assert tree_of(case / "root") == original, told
        assert engine.unfinished() == ()
        assert engine.journal.verify() == ()
        number += 1


@pytest.mark.parametrize("choice", _CHOICES)
def test_an_error_of_the_disk_leaves_the_repair_or_what_was_there(choice: str, dented: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original, source = tree_of(dented), tmp_path / "backup"
    first = _begin(dented, tmp_path / "first", choice, source)
    kills = Kills(partial(_run, first), rng)
    whole = tree_of(tmp_path / "first" / "root")
    for at in rng.sample(range(kills.calls), min(8, kills.calls)):
        engine, code = _begin(dented, tmp_path / str(at), choice, source), rng.choice(_ERRORS)
        told = f"seed {seed}: {choice}: {errno.errorcode[code]} at call {at}"
        plan = engine.plan("repair-partition", _TABLE)
        with interposed(failing(at, code)):
            try:
                said = engine.run(plan, plan.confirmation).message
            except WalmedicError as error:
                said = str(error)
        assert "\n" not in said, told
        take_back(engine)
        assert tree_of(tmp_path / str(at) / "root") in (original, whole), told
        shutil.rmtree(tmp_path / str(at))
