"""Several suspended tables of one real server, resumed by one plan: each loses what was announced for it, no more."""

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.cli import run
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.actions.resume_wal.steps import KEPT
from console.recovery.codes import ClaimKey, RefusalCode, StageState
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, Progress, RowsLost
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings
from tests.faults.interposed import count, killed_in_child
from tests.real.resume_world import suspended_live

_KILLS = int(os.environ.get("WALMEDIC_FAULT_KILLS", "10")) // 2


@dataclass(frozen=True)
class World:
    """A running server and the engine on it."""

    server: PrivateServer
    root: Path
    engine: Engine

    def suspended(self, name: str, *, zero: bool = False) -> int:
        """Make a suspended table and return the rows that it must hold at last."""
        return suspended_live(self.server, DatabaseRoot.locate(self.root), name, zero=zero)

    def rows(self, name: str) -> int:
        """Return the rows that the server counts."""
        return int(self.server.query(f"SELECT count() FROM {name}")[0][0])

    def directory(self, name: str) -> Path:
        """Return the directory of a table."""
        return DatabaseRoot.locate(self.root).table(name).path


@pytest.fixture
def world(questdb: ServerBinary, tmp_path: Path) -> Iterator[World]:
    with PrivateServer(tmp_path / "root", questdb, settings={"dev.mode.enabled": "true"}) as server:
        questdb_settings = QuestDBSettings(db_root=str(tmp_path / "root"), pg_port=server.pg_port)
        settings = Settings(state_dir=str(tmp_path / "state"), questdb=questdb_settings, bare=True)
        yield World(server, tmp_path / "root", Engine(settings))


def _lines(plan: Plan) -> dict[str, str]:
    return {each.claim.removesuffix(" is suspended"): each.evidence for each in plan.requirements}


def test_each_table_loses_what_its_line_says(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    engine = world.engine
    assert not engine.plan("resume-all").needed
    assert not engine.plan("resume-all").refused
    holds = {
        name: world.suspended(name, zero=zero) for name, zero in (("whole", False), ("zero", True), ("also", True))
    }
    world.suspended("own")
    column = next(world.directory("own").glob("2024-01-01*")) / "v.d"
    whole = column.read_bytes()
    os.truncate(column, 0)

    plan = engine.plan("resume-all")
    assert plan.refused == ()
    assert _lines(plan) == {
        "also": "loses 2 rows; 4 rows appear", "whole": "loses 0 rows; 6 rows appear",
        "zero": "loses 2 rows; 4 rows appear",
    }  # fmt: skip
    assert (plan.rows_lost, plan.rows_back) == (RowsLost.exact(4), 14)
    assert plan.confirmation.endswith(" lose 4")
    (stays,) = plan.left_out
    assert stays.startswith("own: files of own itself are damaged (column-file-")
    assert [refusal.code for refusal in engine.plan("resume-wal", "own").refused] == [RefusalCode.OWN_FILES_DAMAGED]
    open_ = {each.spec.id for each in engine.availability(None) if each.open}
    assert "resume-all" in open_

    _command_line(world, capfd)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert {name: world.rows(name) for name in holds} == holds
    kept = engine.state.entry(result.entry) / KEPT
    assert sorted(path.name.partition("~")[0] for path in kept.iterdir()) == ["also", "zero"]
    assert [refusal.code for refusal in engine.plan_undo(result.entry).refused] == [RefusalCode.NO_WAY_BACK]

    only = engine.plan("resume-all")
    assert [(each.code, each.table) for each in only.refused] == [(RefusalCode.OWN_FILES_DAMAGED, "own")]
    assert engine.run(only, "").outcome is Outcome.REFUSED
    column.write_bytes(whole)  # put back while the server runs
    again = engine.plan("resume-all")
    assert engine.run(again, again.confirmation).outcome is Outcome.DONE
    assert world.rows("own") == 7


def _command_line(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    settings = world.root.parent / "walmedic.toml"
    settings.write_text(
        f'state_dir = "{world.root.parent}/other"\n[questdb]\ndb_root = "{world.root}"\n'
        f"pg_port = {world.server.pg_port}\n"
    )
    assert run(["plan", "resume-all", "--json", "--config", str(settings)]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["rows_lost"] == {"kind": "exact", "value": 4}
    assert len({stage["parameters"]["among"] for stage in document["stages"]}) == 3
    with pytest.raises(WalmedicError, match="resume-all for all that need it"):
        world.engine.plan("resume-wal")
    with pytest.raises(WalmedicError, match="for zero alone use resume-wal"):
        world.engine.plan("resume-all", "zero")


def test_one_that_stops_again_does_not_keep_the_others(world: World) -> None:
    engine = world.engine
    holds = {name: world.suspended(name) for name in ("first", "second", "third")}
    directory = world.directory("second").name

    def suspend(progress: Progress) -> None:
        if progress.stage == f"verify {directory}" and progress.state == StageState.BEGINS:
            world.server.query("ALTER TABLE second SUSPEND WAL")

    plan = engine.plan("resume-all")
    result = engine.run(plan, plan.confirmation, suspend)
    assert result.outcome is Outcome.ROLLED_BACK
    wrong = [claim for claim in result.verification if not claim.ok]
    assert [(claim.key, claim.table) for claim in wrong] == [(ClaimKey.SUSPENDED, "second")]
    assert {claim.table for claim in result.verification if claim.key is ClaimKey.ROWS} == set(holds)
    assert {name: world.rows(name) for name in holds} == holds
    stopped = {name: engine._context().history(world.directory(name).name).stopped_at for name in holds}
    assert stopped == {"first": None, "second": 5, "third": None}


def test_killed_at_any_writing_call_it_is_finished(world: World) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)

    def resume() -> None:
        plan = world.engine.plan("resume-all")
        result = world.engine.run(plan, plan.confirmation)
        assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result

    calls, killed = _count(world, resume), 0
    for number in range(_KILLS):
        names = {f"whole{number}": False, f"zero{number}": True}
        rows = {name: world.suspended(name, zero=zero) for name, zero in names.items()}
        at, done = rng.randrange(calls), rng.random() < 0.5
        label = f"seed {seed}: {at} of {calls}, {done}"
        killed += killed_in_child(resume, at, done=done)  # a server that is quicker leaves fewer calls to be killed at
        for entry in world.engine.unfinished():
            refused = {refusal.code for refusal in world.engine.plan_undo(entry.id).refused}
            assert refused <= {RefusalCode.MOVED_ON}, label  # once the server has applied something
        resume()
        resume()  # what was killed before its entry was journalled
        assert world.engine.unfinished() == (), label
        assert {name: world.rows(name) for name in names} == rows, label
        assert world.engine.journal.verify() == (), label
    assert killed, f"seed {seed}"


def _count(world: World, resume: Callable[[], None]) -> int:
    for name, zero in (("counted", False), ("skipped", True)):
        world.suspended(name, zero=zero)
    return count(resume)
