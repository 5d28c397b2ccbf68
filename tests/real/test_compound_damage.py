"""Two or three damages to one table at once: what is announced is what is lost, or the plan is refused.

`WALMEDIC_FAULT_COMPOUND` says how many seeds (300 in `make faults`); `WALMEDIC_FAULT_SEED` names one to run alone, or a
range (`75-149`). To three such seeds there is a mild one (from 1000 on), which takes no row away.
Many tables share a server: one makes them, one applies the undamaged twins, one starts on what was repaired.
"""

import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from console.diagnosis.database import diagnose_table
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, RowsLost
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.compound_damage import MILD, Recipe, World, build, strike
from tests.real.ended import Ended, Rows, not_applied
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_sequencer_repairs import captured, engine_of

pytestmark = pytest.mark.timeout(1800)  # one fixture repairs all tables, one after the other

_FIRST, _, _LAST = os.environ.get("WALMEDIC_FAULT_SEED", "").partition("-")
_HARD = int(os.environ.get("WALMEDIC_FAULT_COMPOUND", "24"))
_ALL = [*range(_HARD), *range(MILD, MILD + _HARD // 3)]
_SEEDS = list(range(int(_FIRST), int(_LAST or _FIRST) + 1)) if _FIRST else _ALL
_TOGETHER = 34
"""Tables of one database."""
_ACTIONS = ("rebuild-sequencer", "restore-sequencer", "repair-log")


@dataclass(kw_only=True)
class Played(Ended):
    """What was said of one table, and what the server then showed."""

    recipe: Recipe
    plan: Plan
    stopped: str = ""  # why the server suspended it

    @property
    def line(self) -> str:
        """The seed, what was done, what was said, and the truth."""
        recipe, codes = self.recipe, [refusal.code.value for refusal in self.plan.refused]
        said = f"refused {codes}" if not self.repaired else f"{self.outcome}, lost {self.lost} {self.stopped}"
        kind = f"{recipe.kind}, {recipe.writers} writers, altered {recipe.altered}, updated {recipe.updated}"
        return f"seed {recipe.seed}: {kind}; {recipe.damages}; {self.plan.action}, {self.plan.confirmation}: {said}"

    def __str__(self) -> str:
        codes = [f"{refusal.code}: {refusal.reason}" for refusal in self.plan.refused]
        return (
            f"{self.recipe}\n{self.plan.action}, {self.plan.confirmation}, {self.outcome}, back "
            f"{self.plan.rows_back}, truth {self.truth.total()}, found {self.found.total()}, lost {self.lost}\n"
            f"refused {codes}\nwarnings {self.plan.warnings}"
        )


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter((str(row[1]), repr(row)) for row in server.query(f"SELECT * FROM {name}"))


def _repaired(engine: Engine, recipe: Recipe, truth: Rows, ids: set[str]) -> Played:
    """Take the step that a check names: first that of `_txn`, if it costs nothing."""
    step = diagnose_table(engine.database, engine.database.table(recipe.name)).next_step.action
    if step == "repair-table-state" and (state := engine.plan(step, recipe.name)).rows_lost == RowsLost.exact(0):
        engine.run(state, state.confirmation)
        step = diagnose_table(
            captured(engine, recipe.name).database, engine.database.table(recipe.name)
        ).next_step.action
    plan = engine.plan(step if step in _ACTIONS else "rebuild-sequencer", recipe.name)
    outcome = engine.run(plan, plan.confirmation).outcome
    return Played(recipe=recipe, plan=plan, outcome=outcome, truth=truth, ids=ids)


def _together(work: Path, recipes: list[Recipe], questdb: ServerBinary) -> dict[int, Played]:
    """Build, apply the twins, strike, plan and repair, start once, look."""
    world: World = build(work / "root", recipes, questdb)
    twin = world.batch.copy(work / "twin")
    with PrivateServer(twin.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        truth = {recipe.seed: _rows(server, recipe.name) for recipe in recipes}
    for recipe in recipes:
        strike(world, recipe)
    engine = captured(engine_of(world.batch.root, work / "state"))
    ended = {r.seed: _repaired(engine, r, truth[r.seed], world.ids[r.name]) for r in recipes}
    (work / "refused").mkdir()
    for each in ended.values():
        if not each.repaired:  # a server would destroy what is left of it
            world.batch.table(each.recipe.name).rename(work / "refused" / each.recipe.name)
    with PrivateServer(world.batch.root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "1000"}) as server:
        standing = not_applied(server)
        stopped = dict(server.query("SELECT name, errorMessage FROM wal_tables() WHERE suspended"))
        for each in ended.values():
            each.stopped = str(stopped.get(each.recipe.name, ""))
            each.error = "is not applied to the end" if each.recipe.name in standing else ""
            if each.repaired and not each.error:  # a read of what stands may wait for ever
                try:
                    each.found = _rows(server, each.recipe.name)
                except psycopg.Error as error:
                    each.error = str(error)
    shutil.rmtree(work)
    sys.stdout.write("".join(f"{each.line}\n" for each in ended.values()))
    return ended


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, workshop: Path) -> dict[int, Played]:
    """All seeds, some tables at a time."""
    found: dict[int, Played] = {}
    for first in range(0, len(_SEEDS), _TOGETHER):
        recipes = [Recipe.drawn(seed) for seed in _SEEDS[first : first + _TOGETHER]]
        work = workshop / str(first)
        work.mkdir()
        found |= _together(work, recipes, questdb)
    return found


@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_lost_was_announced_or_the_plan_is_refused(seed: int, ended: dict[int, Played]) -> None:
    each = ended[seed]
    lost = each.plan.rows_lost
    if not each.repaired:
        assert each.outcome is Outcome.REFUSED, each
        assert each.plan.refused or lost.kind == "unknown", each
        return
    assert not each.error, f"{each.error}: {each}"
    each.hold_ids()
    each.hold_loss(lost)


def test_few_are_refused_though_nothing_was_destroyed(ended: dict[int, Played]) -> None:
    """The figures, for `-rP`; of what could be recovered less than a twentieth is refused."""
    done = [each for each in ended.values() if each.repaired]
    recoverable = [each for each in ended.values() if each.recipe.recoverable]
    needless = [each for each in recoverable if not each.repaired]
    figures = {
        "seeds": len(ended),
        "repaired": len(done),
        "kinds of loss": dict(Counter(each.plan.rows_lost.kind for each in done)),
        "rows lost": sum(each.lost for each in done),
        "refused": len(ended) - len(done),
        "refused for": dict(Counter(r.code for each in ended.values() for r in each.plan.refused[:1])),
        "recoverable": len(recoverable),
        "refused though recoverable": [each.recipe.seed for each in needless],
    }
    sys.stdout.write(f"{figures}\n")
    assert len(done) > len(ended) // 4 or len(ended) < 24
    assert len(needless) <= len(recoverable) // 20 or len(ended) == 1, needless
