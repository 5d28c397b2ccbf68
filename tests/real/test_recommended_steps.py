"""Each scenario of the demo brought back by the recommended step alone: no step twice, and few of them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import ServerState
from console.recovery.engine import Engine
from console.recovery.gate.registry import action_ids
from console.recovery.model import FirstStep, Outcome
from console.recovery.store.entries import read_entry_plan
from console.services.model import UnitSample
from console.settings import Role
from console.station import answers
from console.station.build import Station, station
from console.station.power_loss import TORN_COLUMN
from console.station.scenario import Scenario
from console.station.tables import POWER_LOSS
from tests.real.incident_steps import all_is_back


@pytest.fixture(scope="module")
def looping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A station whose server crashes at each start, and is started again by its manager."""
    with station(Scenario.CRASH_LOOP, directory=tmp_path_factory.mktemp("station")) as built:
        yield built


def walk(engine: Engine, most: int = 9) -> list[FirstStep]:
    """Take the recommended step until there is none; return those that were taken."""
    taken: list[FirstStep] = []
    while (step := engine.first_step()) is not None:
        done = [(each.action, each.table) for each in taken]
        assert (step.action, step.table) not in done, f"{step} again, after {done}"
        assert len(taken) < most, done
        plan = engine.plan(step.action, step.table)
        assert plan.refused == ()
        if step.action == "capture-evidence":
            found = engine.diagnosis()
            assert (found.server, found.healthy) == (ServerState.DOWN, False)
        result = engine.run(plan, plan.confirmation)
        assert result.outcome is Outcome.DONE, (step, result)
        taken.append(step)
    return taken


def is_well(engine: Engine) -> None:
    """Assert that every table is healthy, and that nothing is recommended for any table or for the station."""
    report = diagnose(engine.database)
    assert report.healthy, report
    for table in (None, *(each.table for each in report.tables)):
        assert [each.spec.id for each in engine.availability(table) if each.recommended] == []


def _database(engine: Engine) -> UnitSample:
    units = [unit for unit in engine.settings.services.units if unit.role is Role.DATABASE]
    services = engine._services()
    assert services is not None
    return services.states(units)[0]


def test_in_a_crash_loop_the_server_is_stopped_first_in_whatever_state_its_unit_is(looping: Station) -> None:
    engine = Engine(looping.settings())
    freeze = engine.plan("freeze-writer")
    assert engine.run(freeze, freeze.confirmation).outcome is Outcome.DONE
    steps: set[str | None] = set()
    plans: set[str] = set()
    states: set[bool] = set()
    until = time.monotonic() + 60
    while len(states) < 2 and time.monotonic() < until:
        for _ in range(4):
            states.add(bool(engine._context().server_down))
            step = engine.first_step()
            steps.add(step.action if step is not None else None)
            plans.add(engine.plan("stop-server").plan_id)
    assert states == {True, False}, "the server was not seen both alive and between two starts"
    assert steps == {"stop-server"}
    assert len(plans) == 1
    assert not _database(engine).held


def test_the_crash_loop_is_brought_back_by_the_recommended_steps(looping: Station) -> None:
    engine = Engine(looping.settings())
    actions = [step.action for step in walk(engine)]
    assert actions == ["stop-server", "capture-evidence", "repair-log", "start-server", "thaw-writer"]
    is_well(engine)
    all_is_back(looping)


@pytest.mark.faults
@pytest.mark.parametrize("scenario", [Scenario.HEALTHY, Scenario.LOG_REMOVED, Scenario.INCIDENT])
def test_the_other_scenarios_are_brought_back_by_the_recommended_steps(scenario: Scenario, tmp_path: Path) -> None:
    with station(scenario, directory=tmp_path) as built:
        engine = Engine(built.settings())
        taken = walk(engine)
        assert {step.action for step in taken} <= set(action_ids())
        assert bool(taken) is (scenario is not Scenario.HEALTHY)
        is_well(engine)
        if taken:
            all_is_back(built)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_the_power_loss_is_brought_back_and_loses_what_the_plans_announce(tmp_path: Path) -> None:
    """Six damages of two tables: each costs one step, and nothing is lost but what is on no disk."""
    with station(Scenario.POWER_LOSS, directory=tmp_path) as built:
        engine = Engine(built.settings())
        taken = walk(engine, 11)
        repairs = [(step.table, step.action) for step in taken if step.table is not None]
        assert repairs == [
            ("market_orderbook", "repair-metadata"), ("market_orderbook", "repair-partition"),
            ("market_orderbook", "repair-log"), ("market_trades", "repair-table-state"),
            ("market_trades", "repair-partition"), ("market_trades", "repair-symbols"),
        ]  # fmt: skip
        plans = [read_entry_plan(engine.state, entry.id) for entry in engine.journal.entries()]
        book, trades = built.facts("market_orderbook"), built.facts("market_trades")
        assert {(p.table, p.rows_lost.value) for p in plans if p.rows_lost.value} == {(book.table, book.rows_lost)}
        values = [(p.table, lost.column, lost.count) for p in plans for lost in p.values_lost]
        assert values == [(trades.table, TORN_COLUMN, trades.values_lost)]
        assert book.rows_lost > 0 < trades.values_lost
        is_well(engine)
        all_is_back(built)
        assert answers.empty_values(built.layout, trades.table, TORN_COLUMN, POWER_LOSS) == trades.values_lost
        seen = answers.query(built.layout, f"SELECT symbol, count() FROM {trades.table} ORDER BY symbol")
        assert all(
            answers.query(built.layout, f"SELECT count() FROM {trades.table} WHERE symbol = '{name}'")[0][0] >= rows
            for name, rows in seen
        )
