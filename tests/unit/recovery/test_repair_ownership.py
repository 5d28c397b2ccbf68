"""repair-ownership on a captured table: each file listed, given back, and what it had again after the undo."""

import os
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code
from console.recovery.actions import repair_ownership
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from tests.data.samples import sample_database
from tests.faults.broken_database import settings_of, tree_of

_TABLE = "altered"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine on a table with a file and a directory closed to their owner; as root also with files of another."""
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    table = database.table(_TABLE)
    (table.path / "_cv").chmod(0o400)
    backup = table.path / "txn_seq.backup"
    backup.mkdir()
    (backup / "_txnlog").touch(mode=0o400)
    if os.geteuid() == 0:
        os.chown(table.sequencer / "_meta", 4711, 4712)
        table.sequencer.chmod(0o500)
    return Engine(settings_of(database.root, tmp_path.resolve() / "state"))


def _done(engine: Engine, action: str) -> Plan:
    plan = engine.plan(action, _TABLE)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    return plan


def test_files_are_given_back_and_the_undo_takes_it_back(engine: Engine) -> None:
    table = engine.database.table(_TABLE)
    before = diagnose(engine.database, [_TABLE]).tables[0]
    assert before.has(Code.OWNERSHIP_DIFFERS)
    assert before.next_step.action == "repair-ownership"
    _done(engine, "capture-evidence")
    original = tree_of(table.path)
    plan = _done(engine, "repair-ownership")
    assert plan.confirmation == f"{_TABLE} lose 0"
    named = {change.target for stage in plan.stages for change in stage.changes}
    expected = {f"{table.directory}/_cv"}
    if os.geteuid() == 0:
        expected |= {f"{table.directory}/txn_seq", f"{table.directory}/txn_seq/_meta"}
    assert named == expected  # and no file of the backup
    assert not diagnose(engine.database, [_TABLE]).tables[0].has(Code.OWNERSHIP_DIFFERS)
    assert not engine.plan("repair-ownership", _TABLE).stages
    changed = {path for path, told in tree_of(table.path).items() if original[path][0] != told[0]}
    assert not changed
    entry = engine.journal.entries()[-1]
    assert [claim["key"] for claim in (entry.outcome or {})["verification"]] == [ClaimKey.OWNER]
    assert engine.undo(entry.id, engine.plan_undo(entry.id).confirmation).outcome is Outcome.DONE
    assert tree_of(table.path) == original


def test_without_the_right_it_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("only root can make a file of another user")
    monkeypatch.setattr(os, "geteuid", lambda: 4713)
    refused = engine.plan("repair-ownership", _TABLE).refused
    said = next(refusal for refusal in refused if refusal.code is RefusalCode.PERMISSION)
    assert "txn_seq/_meta" in said.reason
    assert said.instead == "run walmedic as root"


def test_a_changed_txn_is_known_by_what_is_around_it(engine: Engine) -> None:
    if os.geteuid():
        pytest.skip("only root can make a file of another user")
    table = engine.database.table(_TABLE)
    os.chown(table.path / "_txn", 4711, 4712)
    wrong = {each.path: each.wanted[:2] for each in repair_ownership.wrong_owners(table)}
    assert wrong[f"{table.directory}/_txn"] == (0, 0)
    os.chown(table.path, 4711, 4712)
    assert repair_ownership.owner_to_have(table) == (4711, 4712)
