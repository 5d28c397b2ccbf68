"""A WAL that a person moved to another name beside it: not taken for a purged one, and no log is made without it."""

import shutil
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code, Severity
from console.questdb.layout import TableDirectory
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.settings import Settings, for_db_root
from tests.data.samples import sample_database


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    database = sample_database("v1", tmp_path / "root")
    return Engine(for_db_root(Settings(state_dir=str(tmp_path / "state")), str(database.root)))


def _renamed(engine: Engine, name: str = "wal1.old") -> TableDirectory:
    table = engine.database.table("altered")
    (table.path / "wal1").rename(table.path / name)
    for lock in table.path.glob("wal1.lock"):
        lock.unlink()  # no later version makes them
    return table


@pytest.mark.parametrize("name", ["wal1.old", "wal1_backup", "wal1 (copy)"])
def test_no_log_is_made_without_it(engine: Engine, name: str) -> None:
    table = _renamed(engine, name)
    shutil.rmtree(table.sequencer)
    report = diagnose_table(engine.database, table)
    assert (Code.WAL_RENAMED, Severity.RISK) in {(each.code, each.severity) for each in report.findings}
    assert report.rows_unapplied is None
    assert report.next_step is not None
    assert report.next_step.action is None
    plan = engine.plan("rebuild-sequencer", "altered")
    assert RefusalCode.WAL_RENAMED in {each.code for each in plan.refused}
    assert plan.rows_lost.kind == "unknown"


def test_one_that_the_log_does_not_miss_says_nothing(engine: Engine) -> None:
    table = engine.database.table("altered")
    before = diagnose_table(engine.database, table)
    shutil.copytree(table.path / "wal1", table.path / "wal9.old")
    report = diagnose_table(engine.database, table)
    assert (report.findings, report.rows_unapplied, report.verdict) == (
        before.findings, before.rows_unapplied, before.verdict
    )  # fmt: skip
