"""copy-table killed at any statement and in each stage: it goes on, and no row comes twice."""

import os
import random
from collections.abc import Iterator
from functools import partial

import pytest

from console.recovery.actions.copy_table import stretches
from console.recovery.execution import OnProgress
from console.recovery.model import Outcome, RunResult
from console.recovery.server.jvm import ServerBinary
from tests.faults.interposed import killed_in_stage, stage_times
from tests.real.copy_table_world import World, broken_tables, do, interposed, killed_at, partitions

_KILLS = int(os.environ.get("WALMEDIC_FAULT_KILLS", "5"))
_CHANGES = ("CREATE", "INSERT", "ALTER", "RENAME", "DROP")


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with broken_tables(questdb, tmp_path_factory.mktemp("copy")) as made:
        yield made


@pytest.mark.faults
def test_a_copy_killed_at_any_statement_goes_on_without_doubles(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    monkeypatch.setattr(stretches.stretches, "__defaults__", (12,))  # many stretches, ends within partitions
    rows, names = world.rows("killed"), world.names()
    statements: list[str] = []
    interposed(monkeypatch, lambda number, sql, done: statements.append(sql) if not done else None)
    _, result = do(world, "killed")
    assert world.engine.undo(result.entry, "killed lose 0").outcome is Outcome.DONE
    monkeypatch.undo()
    monkeypatch.setattr(stretches.stretches, "__defaults__", (12,))
    forth = 1 + max(at for at, sql in enumerate(statements) if sql.startswith("INSERT")) + 2
    assert [sql.split()[0] for sql in statements[forth - 2 :]] == ["RENAME"] * 4 + ["DROP"]
    assert forth > 8
    instants = [(at, done) for at in range(forth) for done in (False, True, None)]
    for at, done in instants if len(instants) <= _KILLS else rng.sample(instants, _KILLS):
        label = f"seed {seed}: {at} {done}"
        assert killed_at(monkeypatch, lambda: do(world, "killed"), at, done=done), label
        cut_off = world.engine.unfinished()
        if cut_off and rng.random() < 0.4:
            (entry,) = cut_off
            phrase = world.engine.plan_undo(entry.id).confirmation
            if rng.random() < 0.5:  # and the undo killed too
                killed_at(monkeypatch, partial(world.engine.undo, entry.id, phrase), rng.randrange(3), done=False)
            for left in world.engine.unfinished():
                undoes = str(left.intent.get("undoes", left.id))
                if any(each.id == left.id for each in world.engine.unfinished()):
                    undone = world.engine.undo(undoes, world.engine.plan_undo(undoes).confirmation)
                    assert undone.outcome is Outcome.DONE, f"{label}: {undone}"
        else:
            plan = world.engine.plan("copy-table", "killed")
            finished = world.engine.run(plan, plan.confirmation)
            assert finished.outcome is Outcome.DONE, f"{label}: {finished}"
            assert not cut_off or finished.entry == cut_off[0].id
            assert world.rows("killed") == world.rows("killed_old") == rows, label
            undo = world.engine.plan_undo(finished.entry)
            assert world.engine.undo(finished.entry, undo.confirmation).outcome is Outcome.DONE, label
        assert world.engine.unfinished() == ()
        assert world.names() == names, label
        assert world.rows("killed") == rows
    assert world.engine.journal.verify() == ()


@pytest.mark.faults
def test_a_copy_killed_in_each_stage_at_any_moment_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At random moments of each stage, by the clock: between statements, while one runs, while rows are compared."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    monkeypatch.setattr(stretches.stretches, "__defaults__", (12,))
    rows, names = world.rows("killed"), world.names()
    _, once = do(world, "killed")  # a table that is renamed for the first time gets a new WAL from the server
    assert world.engine.undo(once.entry, "killed lose 0").outcome is Outcome.DONE
    original = partitions(world.engine.database.table("killed").path)

    def work(on_progress: OnProgress) -> RunResult:
        plan = world.engine.plan("copy-table", "killed")
        return world.engine.run(plan, plan.confirmation, on_progress)

    times = stage_times(work)
    assert list(times) == ["salvage", "create", "copy", "compare", "finish", "swap"]
    for number, (stage, seconds) in enumerate([("", 0.0), *times.items()]):
        label = f"seed {seed}: {stage} of {seconds:.3f} s"
        if number:
            killed_in_stage(work, stage, rng.uniform(0, seconds))
        cut_off = world.engine.unfinished()
        if cut_off and rng.random() < 0.5:
            undo = world.engine.plan_undo(cut_off[0].id)
            assert undo.refused == (), label
            assert world.engine.undo(cut_off[0].id, undo.confirmation).outcome is Outcome.DONE, label
        else:
            if cut_off:
                result = work(lambda progress: None)
                assert (result.entry, result.outcome) == (cut_off[0].id, Outcome.DONE), f"{label}: {result}"
            assert world.rows("killed") == world.rows("killed_old") == rows, label
            last = world.engine.journal.entries()[-1].id
            undo = world.engine.plan_undo(last)
            assert world.engine.undo(last, undo.confirmation).outcome is Outcome.DONE, label
        assert world.engine.unfinished() == (), label
        assert world.names() == names, label
        assert partitions(world.engine.database.table("killed").path) == original, label
    assert world.engine.journal.verify() == ()
