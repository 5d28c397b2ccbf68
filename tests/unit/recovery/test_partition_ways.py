"""What each choice for a damaged partition loses where several columns are damaged, and that it is carried out so."""

import os
from pathlib import Path

import numpy as np
import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Verdict
from console.questdb.partition_files import PartitionFiles
from console.questdb.table_txn import read_table_txn
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.table_repair.damaged_partitions import Choice, damaged_partitions
from console.recovery.table_repair.partition_copies import Sources
from console.settings import PartitionSettings, QuestDBSettings, Settings
from tests.data.samples import sample_database
from tests.faults.broken_database import captured

_ROWS = 40
"""Rows of the last partition of the sample."""
_GONE, _ZEROS = -1, -2
Costs = dict[Choice, tuple[int, dict[str, int]]]
"""Rows lost, and values lost by column."""
_CASES: dict[str, tuple[dict[str, int], Costs]] = {
    "times torn, a column gone": (
        {"ts.d": 8 * 30, "price.d": _GONE},
        {Choice.WHOLE_ROWS: (10, {"price": 30})},
    ),
    "times torn, a column torn deeper": (
        {"ts.d": 8 * 30, "price.d": 8 * 10},
        {Choice.NULL: (10, {"price": 20}), Choice.WHOLE_ROWS: (30, {})},
    ),
    "times torn, a column torn less": (
        {"ts.d": 8 * 30, "price.d": 8 * 35},
        {Choice.WHOLE_ROWS: (10, {})},
    ),
    "a column torn, another gone": (
        {"price.d": 8 * 10, "st.d": _GONE, "st.i": _GONE},
        {Choice.NULL: (0, {"price": 30, "st": 40}), Choice.WHOLE_ROWS: (30, {"st": 10})},
    ),
    "a column torn, offsets lost that its values tell": (
        {"price.d": 8 * 10, "st.i": _ZEROS},
        {Choice.NULL: (0, {"price": 30}), Choice.WHOLE_ROWS: (30, {})},
    ),
    "all columns but the times gone": (
        {"price.d": _GONE, "vc.d": _GONE, "vc.i": _GONE, "ar.i": _GONE},
        {Choice.NULL: (0, {"price": 40, "vc": 40, "ar": 40})},
    ),
    "the times gone": ({"ts.d": _GONE}, {}),
}  # fmt: skip


def _strike(path: Path, how: int) -> None:
    if how == _GONE:
        path.unlink()
    elif how == _ZEROS:
        path.write_bytes(bytes(path.stat().st_size))
    else:
        os.truncate(path, how)


@pytest.mark.parametrize("name", _CASES)
def test_each_choice_loses_what_it_says(name: str, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    database = sample_database("v1", root)
    (database.db / "tables.d.lock").touch()
    table, (strikes, expected) = database.table("kinds"), _CASES[name]
    (whole,) = [files for files in [PartitionFiles.of(table.path)] if files is not None]
    span = whole.spans[-1]
    assert span.rows == _ROWS
    for file, how in strikes.items():
        _strike(table.path / span.directory / file, how)
    files = PartitionFiles.of(table.path)
    assert files is not None
    ((found,), others) = damaged_partitions(table, files, "", Sources())
    assert others == []
    costs = {
        choice: (way.rows_lost, {lost.column: lost.count for lost in way.values_lost})
        for choice, way in found.ways.items()
    }
    assert costs == {Choice.SET_ASIDE: (_ROWS, {}), **expected}
    assert found.best is (next(iter(expected)) if expected else Choice.SET_ASIDE)
    captured(root, tmp_path / "state", "kinds")
    for choice, (rows, _) in expected.items():
        wanted = PartitionSettings(choice=choice.value)
        questdb = QuestDBSettings(db_root=str(root))
        engine = Engine(Settings(state_dir=str(tmp_path / "state"), questdb=questdb, partition=wanted, bare=True))
        plan = engine.plan("repair-partition", "kinds")
        assert plan.refused == ()
        done = engine.run(plan, plan.confirmation)
        assert done.outcome is Outcome.DONE, done
        area = read_table_txn(table.path).current
        assert area is not None
        assert area.transient_rows == _ROWS - rows
        assert engine.undo(done.entry, engine.plan_undo(done.entry).confirmation).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("name", "rows", "taken"),
    [
        ("2024-01-02.9", _ROWS, True),
        ("2024-01-02.detached", _ROWS, True),
        ("2024-01-02.detached _meta", _ROWS, False),  # as DETACH leaves it: nothing was lost
        ("2024-01-02", _ROWS, False),  # what it was before its rows were written anew
        ("2024-01-02.0", _ROWS, False),
        ("2024-01-02.9", _ROWS + 1, False),
        ("2024-01-02.9", _ROWS - 1, False),
    ],
)
def test_a_copy_is_no_older_and_has_the_rows_of_the_partition(
    name: str, rows: int, taken: bool, tmp_path: Path
) -> None:
    table = sample_database("v1", tmp_path.resolve() / "root").table("kinds")
    lost = table.path / "2024-01-02.1"
    content = np.fromfile(lost / "ts.d", "<i8")
    name, _, beside = name.partition(" ")
    if beside:
        (lost / beside).touch()
    lost.rename(table.path / name)
    content[_ROWS] = content[_ROWS - 1] if rows > _ROWS else 0
    content[rows:] = 0
    content.tofile(table.path / name / "ts.d")
    files = PartitionFiles.of(table.path)
    assert files is not None
    (found,), others = damaged_partitions(table, files, "", Sources())
    assert (others, Choice.COPY in found.ways) == ([], taken)


def test_rows_that_a_repair_gave_up_hold_no_table_back(tmp_path: Path) -> None:
    """The log still names them, and the journal says why the table has them no more."""
    root, state = tmp_path.resolve() / "root", tmp_path / "state"
    database = sample_database("v1", root)
    (database.db / "tables.d.lock").touch()
    table = database.table("kinds")
    os.truncate(table.path / "2024-01-02.1" / "ts.d", 8 * 30)
    captured(root, state, "kinds")
    wanted, questdb = PartitionSettings(choice=Choice.WHOLE_ROWS.value), QuestDBSettings(db_root=str(root))
    engine = Engine(Settings(state_dir=str(state), questdb=questdb, partition=wanted, bare=True))
    plan = engine.plan("repair-partition", "kinds")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert diagnose_table(database, table).verdict is Verdict.AT_RISK
    found = next(each for each in engine.diagnosis().tables if each.table == "kinds")
    assert (found.verdict, found.next_step.action) == (Verdict.HEALTHY, None)
