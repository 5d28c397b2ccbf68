"""Seeded damage to generated tables, each repaired by the engine; one start shows every row of an undamaged copy.

`WALMEDIC_FAULT_TABLES` says how many tables (200 in `make faults`); their seeds are 0, 1, 2, …, and a failure names its
own.
"""

import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Severity
from console.recovery.engine import Engine
from console.recovery.evidence_index import table_stamp
from console.recovery.model import Outcome, Plan
from console.recovery.private_server import PrivateServer, ServerBinary
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import SERVER, Batch, Recipe, build, log_records, wait_until_applied
from tests.real.sequencer_damage import DAMAGES, Damage, removed_bare

_TABLES = int(os.environ.get("WALMEDIC_FAULT_TABLES", "24"))
_PURGING = {**SERVER, "cairo.wal.purge.interval": "1000"}

Rows = Counter[str]


@dataclass
class Case:
    """One table: what was done to it, the plan, how its run ended, and its rows in an undamaged copy and after."""

    recipe: Recipe
    damage: Damage
    plan: Plan
    outcome: Outcome | None
    truth: Rows
    found: Rows = field(default_factory=Counter)
    partitions: tuple[list[object], list[object]] = ([], [])
    suspended: bool = False

    def __str__(self) -> str:
        return f"seed {self.recipe.seed}: {self.damage.name}, {self.damage.action}; {self.recipe}"


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter(map(repr, server.query(f"SELECT * FROM {name}")))


def _partitions(server: PrivateServer, name: str) -> list[object]:
    return list(server.query(f"SELECT timestamp_floor('d', ts) d, count(), min(ts), max(ts) FROM {name} ORDER BY d"))


def engine_of(root: Path, state: Path, log: Path | None = None) -> Engine:
    """Return the engine on a database that belongs to no station."""
    questdb = QuestDBSettings(db_root=str(root), log=str(log) if log is not None else "")
    return Engine(Settings(state_dir=str(state), questdb=questdb, bare=True))


def captured(engine: Engine) -> Engine:
    """Capture the evidence of all tables, without which nothing is repaired."""
    plan = engine.plan("capture-evidence")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    return engine


def repaired(engine: Engine, batch: Batch, recipe: Recipe, damage: Damage, truth: Rows) -> Case:
    """Plan and run the repair of one table: a refused plan changes nothing, a repaired table has nothing left to say.

    That the diagnosis is content matters: start-server asks it.
    """
    before = table_stamp(batch.table(recipe.name))
    plan = engine.plan(damage.action, recipe.name)
    if plan.refused:
        assert engine.run(plan, plan.confirmation).outcome is Outcome.REFUSED
        assert table_stamp(batch.table(recipe.name)) == before
        return Case(recipe, damage, plan, None, truth)
    result = engine.run(plan, plan.confirmation)
    report = diagnose_table(engine.database, engine.database.table(recipe.name))
    assert not [f for f in report.findings if f.severity is not Severity.NOTE], f"{recipe}: {report.findings}"
    return Case(recipe, damage, plan, result.outcome, truth)


@pytest.fixture(scope="module")
def cases(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Build, copy for the truth, damage, repair, start once, look; then write, alter, and start again."""
    work = tmp_path_factory.mktemp("repairs")
    recipes = [Recipe.drawn(seed) for seed in range(_TABLES)]
    batch = build(work / "root", recipes, questdb)
    undamaged = batch.copy(work / "truth")
    truth, partitions = {}, {}
    with PrivateServer(undamaged.root, questdb, settings=_PURGING) as server:
        wait_until_applied(server)
        for recipe in recipes:
            truth[recipe.name], partitions[recipe.name] = _rows(server, recipe.name), _partitions(server, recipe.name)
    damages = {recipe.name: DAMAGES[recipe.seed % len(DAMAGES)] for recipe in recipes}
    for recipe in recipes:
        damages[recipe.name].strike(batch.table(recipe.name), random.Random(recipe.seed * 31 + 7))
    engine = captured(engine_of(batch.root, work / "state"))
    made = [repaired(engine, batch, r, damages[r.name], truth[r.name]) for r in recipes]
    # A table that nothing could be done for must not meet a server: it would destroy what is left of it.
    hidden = work / "refused"
    hidden.mkdir()
    for case in made:
        if case.outcome is None:
            batch.table(case.recipe.name).rename(hidden / case.recipe.name)
    whole = [case for case in made if case.outcome is not None]
    with PrivateServer(batch.root, questdb, settings=_PURGING) as server:
        wait_until_applied(server)
        for case in whole:
            name = case.recipe.name
            case.found, case.partitions = _rows(server, name), (partitions[name], _partitions(server, name))
            server.query(f"INSERT INTO {name} (ts, px) VALUES ('2030-01-01T00:00:00.000000Z', 1.5)")
            server.query(f"ALTER TABLE {name} ADD COLUMN after_repair INT")
            server.query(f"INSERT INTO {name} (ts, after_repair) VALUES ('2030-01-02T00:00:00.000000Z', 7)")
    with PrivateServer(batch.root, questdb, settings=_PURGING) as server:
        for case in whole:
            server.query(f"INSERT INTO {case.recipe.name} (ts, after_repair) VALUES ('2030-01-03T00:00:00.000000Z', 8)")
        wait_until_applied(server)
        for case in whole:
            late = f"SELECT px, after_repair FROM {case.recipe.name} WHERE ts >= '2030-01-01' ORDER BY ts"
            assert server.query(late) == [(1.5, None), (None, 7), (None, 8)], case
    return made


def test_every_table_is_repaired_or_refused_for_a_reason(cases: list[Case]) -> None:
    for case in cases:
        codes = {refusal.code for refusal in case.plan.refused}
        several = case.recipe.writers > 1
        excused = set()
        if case.damage.strike is removed_bare and case.recipe.altered_late:
            excused.add("structure-change-lost")
        if case.recipe.updates:  # whether a statement at the end of a WAL was applied shows in no row
            excused.add("applied-ambiguous")
        if several and (case.recipe.updates or case.recipe.dedup):
            excused.add("order-ambiguous")
        assert codes <= excused, f"{case}: {[refusal.reason for refusal in case.plan.refused]}"
        assert case.outcome in (Outcome.DONE, Outcome.NOT_NEEDED) or codes, case


def test_few_are_refused(cases: list[Case]) -> None:
    assert sum(case.outcome is None for case in cases) <= len(cases) // 8


def test_every_row_is_there_once(cases: list[Case]) -> None:
    for case in cases:
        if case.outcome is not None:
            missing, extra = case.truth - case.found, case.found - case.truth
            assert (missing, extra) == (Counter(), Counter()), f"{case}: {len(missing)} missing, {len(extra)} too many"


def test_the_loss_that_is_announced_is_the_loss_that_is_measured(cases: list[Case]) -> None:
    for case in cases:
        if case.outcome is not None:
            lost = sum(case.truth.values()) - sum(case.found.values())
            assert (case.plan.rows_lost.kind, case.plan.rows_lost.value) == ("exact", lost), case
            assert case.plan.confirmation == f"{case.recipe.name} lose {lost}"


def test_minimum_maximum_and_partitions_are_those_of_the_truth(cases: list[Case]) -> None:
    for case in cases:
        assert case.partitions[0] == case.partitions[1], case


def test_the_generator_makes_what_it_promises(tmp_path: Path, questdb: ServerBinary) -> None:
    """Interleaved writers, pending transactions and both formats: else the tests above would prove little."""
    recipes = [Recipe.drawn(seed) for seed in range(_TABLES)]
    assert {recipe.version for recipe in recipes} == {1, 2}
    assert max(recipe.writers for recipe in recipes) == 5
    chosen = next(r for r in recipes if r.writers > 1 and r.version == 2 and r.pending_rounds)
    batch = build(tmp_path / "root", [chosen], questdb)
    version, records = log_records(batch.table(chosen.name))
    assert version == 2
    order = [wal for _, wal, _, _ in records if wal > 0]
    assert order != sorted(order)
    assert len(set(order)) == chosen.writers
