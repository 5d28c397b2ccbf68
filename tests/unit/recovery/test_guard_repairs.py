"""With the guard's copies each repair puts back what was there, whatever of it is gone, and all of it at once too."""

import shutil
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.questdb.table_txn import read_table_txn
from console.recovery.engine import Engine
from console.recovery.guard.taking import Guard
from console.recovery.model import Outcome
from console.settings import GuardSettings, QuestDBSettings, Settings
from tests.data.samples import Kind, sample_database

_TABLE = "altered"


@pytest.mark.parametrize(
    ("kind", "gone", "steps"),
    [
        ("v1", "txn_seq", "restore-sequencer"),
        ("v1", "_txn", "repair-table-state"),
        ("v1", "_cv", "repair-metadata"),
        ("v1", "txn_seq _txn", "repair-table-state restore-sequencer"),
        ("v1", "txn_seq _txn _meta _cv", "repair-metadata repair-table-state restore-sequencer"),
        ("v2", "txn_seq _txn _meta _cv", "repair-metadata repair-table-state restore-sequencer"),
    ],
)
def test_what_is_gone_comes_back(kind: Kind, gone: str, steps: str, tmp_path: Path) -> None:
    database = sample_database(kind, tmp_path / "root")
    (database.db / "tables.d.lock").touch()
    copies = tmp_path / "copies"
    with Guard(database, copies, 1 << 30) as guard:
        assert not guard.round().left_out
    table = database.table(_TABLE)
    state = read_table_txn(table.path).current
    before = {name: (table.path / name).read_bytes() for name in ("_meta", "_cv", "txn_seq/_txnlog")}
    for name in gone.split():
        path = table.path / name
        shutil.rmtree(path) if path.is_dir() else path.write_bytes(bytes(path.stat().st_size))
    questdb, where = QuestDBSettings(db_root=str(database.root)), GuardSettings(to=str(copies))
    engine = Engine(Settings(state_dir=str(tmp_path / "state"), questdb=questdb, guard=where, bare=True))
    for step in steps.split():
        capture = engine.plan("capture-evidence")
        assert engine.run(capture, capture.confirmation).outcome is Outcome.DONE
        assert diagnose_table(engine.database, engine.database.table(_TABLE)).next_step.action == step
        plan = engine.plan(step, _TABLE)
        assert (plan.refused, plan.rows_lost.phrase, plan.confirmation) == ((), "0", f"{_TABLE} lose 0")
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert diagnose_table(engine.database, engine.database.table(_TABLE)).next_step.action is None
    assert {name: (table.path / name).read_bytes() for name in before} == before
    now = read_table_txn(table.path).current
    assert state is not None
    assert now is not None
    assert (now.rows, now.applied_txn, now.partitions.tolist(), now.symbols.tolist()) == (
        state.rows, state.applied_txn, state.partitions.tolist(), state.symbols.tolist(),
    )  # fmt: skip
