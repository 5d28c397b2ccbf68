"""Power loss in actions on a running server and on services: finished or taken back, and no row is lost.

The process is killed as the power goes, so that what QuestDB and supervisord did by then fits what is left of the state
directory. QuestDB's own files keep what it wrote; its tests are its own.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.recovery.actions.copy_table import stretches
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.services.model import UnitState
from console.settings import Settings
from tests.faults.broken_database import take_back
from tests.faults.power_case import STATES, Case, printed
from tests.faults.service_station import SERVICE_ACTIONS, UNITS, assert_every_row, do, service_station, state_of
from tests.faults.vault import Vault
from tests.real.copy_table_world import World, broken_tables
from tests.real.resume_world import suspended_live

_RESUMED = max(12, STATES)
_COPIED = max(12, STATES)
_ROUNDS = max(6, STATES // 4)


def _case_below(folder: Path) -> Case:
    """Return a case whose disk holds the state directory alone."""
    top = folder / "disk"
    top.mkdir()
    seed = random.randrange(1 << 30)
    return Case(top, Vault(top, folder / "vault"), random.Random(seed), seed, {})


def _finish_or_take_back(case: Case, engine: Engine, finish: Callable[[], object]) -> None:
    """End what was cut off, either way."""
    if not (cut_off := engine.unfinished()):
        return
    (entry,) = cut_off
    if case.rng.random() < 0.4 and not engine.plan_undo(entry.id).refused:
        take_back(engine)
    else:
        finish()


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with broken_tables(questdb, tmp_path_factory.mktemp("live")) as made:
        yield made


def _on(settings: Settings, case: Case) -> Engine:
    return Engine(replace(settings, state_dir=str(case.state)))


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_resume_is_finished(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every other table has a transaction to skip, which the action copies before QuestDB skips it."""
    case, root = _case_below(tmp_path), DatabaseRoot.locate(Path(world.engine.settings.questdb.db_root))

    def resume(name: str) -> None:
        engine = _on(world.engine.settings, case)
        plan = engine.plan("resume-wal", name)
        result = engine.run(plan, plan.confirmation)
        assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result

    suspended_live(world.server, root, "counted", zero=True)
    calls = case.calls(partial(resume, "counted"))
    number = 0
    while case.tried < _RESUMED:
        name, at, number = f"lost{number}", case.rng.randrange(calls) + 1, number + 1
        rows = suspended_live(world.server, root, name, zero=number % 2 == 0)
        state = case.lost_at(partial(resume, name), at)
        label = f"seed {case.seed}: {name}, {state.description if state else 'ended'}"
        with case.vault.kept():
            engine = _on(world.engine.settings, case)
            assert len(engine.unfinished()) <= 1, label
            resume(name)
            assert engine.unfinished() == (), label
            assert world.rows(name) == rows, label
            assert engine.journal.verify() == (), label
        shutil.rmtree(case.state)
    printed(capsys, case, "resume-wal")


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_copy_is_finished_or_taken_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stretches.stretches, "__defaults__", (12,))  # many stretches, ends within partitions
    case, rows, names = _case_below(tmp_path), world.rows("killed"), world.names()

    def copy() -> str:
        engine = _on(world.engine.settings, case)
        plan = engine.plan("copy-table", "killed")
        result = engine.run(plan, plan.confirmation)
        assert result.outcome is Outcome.DONE, result
        return result.entry

    def undo(entry: str) -> None:
        engine = _on(world.engine.settings, case)
        result = engine.undo(entry, engine.plan_undo(entry).confirmation)
        assert result.outcome is Outcome.DONE, result

    calls = case.calls(copy)
    undo(_on(world.engine.settings, case).journal.entries()[-1].id)
    for _ in range(_COPIED):
        state = case.lost_at(copy, case.rng.randrange(calls) + 1)
        label = f"seed {case.seed}: {state.description if state else 'ended'}"
        with case.vault.kept():
            engine = _on(world.engine.settings, case)
            _finish_or_take_back(case, engine, copy)
            last = engine.journal.entries()[-1]
            if last.action == "copy-table" and last.result is Outcome.DONE:
                assert world.rows("killed") == world.rows("killed_old") == rows, label
                undo(last.id)
            assert engine.unfinished() == (), label
            assert world.names() == names, label
            assert world.rows("killed") == rows, label
            assert engine.journal.verify() == (), label
    printed(capsys, case, "copy-table")


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_actions_on_services_are_finished_or_taken_back(
    master: Path, questdb: ServerBinary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every other time the services are down after the loss, as those are that do not start with the machine."""
    case = _case_below(tmp_path)
    with service_station(master, questdb, tmp_path, case.state) as engine:
        calls = {action: case.calls(partial(do, engine, action)) for action in SERVICE_ACTIONS}
        for number in range(_ROUNDS):
            for action in SERVICE_ACTIONS:
                state = case.lost_at(partial(do, engine, action), case.rng.randrange(calls[action]) + 1)
                label = f"seed {case.seed}: round {number}, {action}, {state.description if state else 'ended'}"
                with case.vault.kept():
                    if case.rng.random() < 0.5:
                        _services_down(engine)
                    _settled(case, engine, action, label)
            assert_every_row(engine)
    printed(capsys, case, "freeze-writer, stop-server, start-server and thaw-writer")


def _settled(case: Case, engine: Engine, action: str, label: str) -> None:
    """Go on from what a power loss left, until the action's end is reached."""
    down = state_of(engine, "questdb") is not UnitState.UP

    def finish() -> None:
        plan = engine.plan(action)
        outcome = engine.run(plan, plan.confirmation).outcome
        # A server that went down meanwhile is not started unseen: the tables are looked at again by a new plan.
        assert outcome in (Outcome.DONE, Outcome.NOT_NEEDED) or (down and outcome is Outcome.ROLLED_BACK), label

    _finish_or_take_back(case, engine, finish)
    assert engine.unfinished() == (), label
    if action == "thaw-writer" and state_of(engine, "questdb") is not UnitState.UP:
        do(engine, "start-server")
    do(engine, action)
    assert engine.unfinished() == (), label
    assert engine.journal.verify() == (), label
    if action.endswith("server"):
        assert (state_of(engine, "questdb") is UnitState.UP) == (action == "start-server"), label
    else:
        assert (state_of(engine, "batch-writer") is UnitState.UP) == (action == "thaw-writer"), label


def _services_down(engine: Engine) -> None:
    services = engine._services()
    assert services is not None
    for unit in reversed(UNITS):
        if state_of(engine, unit.name) is UnitState.UP:
            services.stop(unit.name)
