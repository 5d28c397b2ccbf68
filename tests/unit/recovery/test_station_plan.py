"""The whole station as one list: each table's steps in the order of the ladder, with what they lose together."""

import json
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.model import RowsLost
from console.recovery.next_steps.station_plan import StationPlan
from tests.data.samples import sample_database
from tests.faults.broken_database import settings_of


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine on the sample, with its lock."""
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    return Engine(settings_of(database.root, tmp_path.resolve() / "state"))


def _steps(plan: StationPlan, table: str) -> list[str | None]:
    return [step.action for step in plan.steps if step.table == table]


def test_whole_tables_need_no_step(engine: Engine) -> None:
    plan = engine.plan_station()
    assert _steps(plan, "altered") == []
    assert plan.rows_lost == RowsLost.exact(0)


def test_several_damages_of_a_table_stand_in_their_order(engine: Engine) -> None:
    table = engine.database.table("altered")
    (table.path / "sym.o").unlink()
    (table.sequencer / "_txnlog").unlink()
    (table.path / "_cv").chmod(0o400)
    plan = engine.plan_station()
    assert _steps(plan, "altered") == ["repair-symbols", "rebuild-sequencer", "repair-ownership"]
    assert all(step.rows_lost == RowsLost.exact(0) for step in plan.steps if step.table == "altered"), plan
    assert plan.rows_lost == RowsLost.exact(0)
    document = json.loads(json.dumps(plan.to_json()))
    assert document["schema"] == 1
    assert document["total"]["rows_lost"] == {"kind": "exact", "value": 0}


@pytest.mark.parametrize(("file", "action"), [("_txn", "repair-table-state"), ("_meta", "repair-metadata")])
def test_what_a_lost_file_hides_is_not_called_free(engine: Engine, file: str, action: str) -> None:
    table = engine.database.table("altered")
    (table.path / file).write_bytes(bytes(96))
    (table.path / "sym.o").unlink()
    plan = engine.plan_station()
    steps = [step for step in plan.steps if step.table == "altered"]
    assert (steps[0].action, steps[0].rows_lost) == (action, RowsLost.exact(0))
    assert (steps[-1].action, steps[-1].rows_lost) == (None, RowsLost.unknown())
    assert action in steps[-1].open_
    assert plan.rows_lost == RowsLost.unknown()
