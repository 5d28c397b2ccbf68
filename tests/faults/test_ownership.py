"""Whose files they are: what root repairs belongs to the table's owner; who may not write is told so, no more."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.diagnosis.database import diagnose_table
from console.errors import WalmedicError
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from tests.faults.broken_database import ACTIONS, captured, settings_of, tree_of

_OWNER, _STRANGER = 12_345, 12_346

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")


def _as_user(uid: int, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run `work` in a child process as `uid`; return what it returned, or its WalmedicError."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            try:
                answer = work()
            except WalmedicError as error:
                answer = {"error": str(error)}
            os.write(writing, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = json.loads(stream.read())
    os.waitpid(child, 0)
    return dict(answer)


def _own(root: Path, uid: int) -> None:
    for path in [root, *root.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)


@pytest.fixture
def owned(root: Path, tmp_path: Path) -> Path:
    """The copy, belonging to a user of its own, in a place that every user can reach."""
    for place in (tmp_path, *(p for p in tmp_path.parents if p.name.startswith(("pytest-", "popen-")))):
        place.chmod(0o755)
    _own(root, _OWNER)
    return root


@pytest.mark.parametrize("action", ACTIONS)
def test_what_root_repairs_belongs_to_the_owner(action: str, owned: Path, tmp_path: Path) -> None:
    engine = captured(owned, tmp_path / "state", ACTIONS[action])
    backup = engine.database.table(ACTIONS[action]).path / "txn_seq.backup.20251110_032600"
    if backup.exists():
        _own(backup, 0)  # made with sudo
    shutil.rmtree(tmp_path / "state")
    engine = captured(owned, tmp_path / "state", ACTIONS[action])
    plan = engine.plan(action, ACTIONS[action])
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    made = engine.database.table(ACTIONS[action]).sequencer
    assert {(p.stat().st_uid, p.stat().st_gid) for p in [made, *made.rglob("*")]} == {(_OWNER, _OWNER)}


def _repair(root: Path, state: Path) -> dict[str, Any]:
    engine = captured(root, state, "gone")
    plan = engine.plan("rebuild-sequencer", "gone")
    result = engine.run(plan, plan.confirmation)
    return {"outcome": result.outcome.value, "message": result.message, "codes": [r.code for r in plan.refused]}


def _capture(root: Path, state: Path) -> dict[str, Any]:
    engine = Engine(settings_of(root, state))
    plan = engine.plan("capture-evidence", "gone")
    result = engine.run(plan, plan.confirmation)
    return {"outcome": result.outcome.value, "message": result.message}


def _plan(root: Path, state: Path) -> dict[str, Any]:
    plan = Engine(settings_of(root, state)).plan("rebuild-sequencer", "gone")
    return {"codes": [r.code for r in plan.refused], "reasons": [r.reason for r in plan.refused]}


def test_the_owner_needs_no_root(owned: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", _OWNER, _OWNER)
    answer = _as_user(_OWNER, lambda: _repair(owned, tmp_path / "home" / "state"))
    assert answer == {"outcome": "done", "message": answer["message"], "codes": []}


def test_a_stranger_is_refused(owned: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", _STRANGER, _STRANGER)
    before = tree_of(owned)
    answer = _as_user(_STRANGER, lambda: _plan(owned, tmp_path / "home" / "state"))
    assert "not-owner" in answer["codes"]
    assert f"belongs to user id {_OWNER} and walmedic runs as {_STRANGER}" in " ".join(answer["reasons"])
    assert tree_of(owned) == before


def test_what_cannot_be_read_is_reported_in_one_sentence(owned: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", _OWNER, _OWNER)
    (owned / "db" / "tables.d.lock").chmod(0)
    os.chown(owned / "db" / "tables.d.lock", 0, 0)
    before = tree_of(owned)
    answer = _as_user(_OWNER, lambda: _plan(owned, tmp_path / "home" / "state"))
    assert "server-unknown" in answer["codes"]
    victim = Engine(settings_of(owned, tmp_path / "x")).database.table("gone").path / "_txn"
    os.chown(victim, 0, 0)
    victim.chmod(0)
    outcome_of = _as_user(_OWNER, lambda: _capture(owned, tmp_path / "home" / "state"))
    assert outcome_of["outcome"] == "rolled-back"
    assert "_txn: permission denied" in outcome_of["message"]
    victim.chmod(0o644)
    os.chown(victim, _OWNER, _OWNER)
    assert tree_of(owned) == before


def test_a_state_directory_that_others_may_write_is_refused(owned: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    before = tree_of(owned)
    answer = _as_user(_OWNER, lambda: _plan(owned, tmp_path / "shared"))
    assert "journal-unwritable" in answer["codes"]
    assert "chmod 700" in " ".join(answer["reasons"])
    assert tree_of(owned) == before


@pytest.mark.parametrize("hidden", ["_event", "_event.i", "_meta", "v.d", "."], ids=str)
def test_wal_that_may_not_be_read_is_not_taken_for_none(hidden: str, owned: Path, tmp_path: Path) -> None:
    """An event file, its index, the columns' names, a column, the whole segment: the repair waits, and check knows no
    number."""
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", _OWNER, _OWNER)
    table = Engine(settings_of(owned, tmp_path / "x")).database.table("gone")
    assert _looked(owned, tmp_path / "x")["lost"] == "0"  # and what the child needs of Python is loaded
    segment = max((p for p in table.path.glob("wal*/*") if p.is_dir()), key=lambda p: p.parent.name)
    os.chown(segment / hidden, 0, 0)
    (segment / hidden).chmod(0)
    before = tree_of(owned)
    answer = _as_user(_OWNER, lambda: _looked(owned, tmp_path / "home" / "state"))
    assert "permission" in answer["codes"], answer
    assert answer["lost"] == "unknown"
    assert answer["unapplied"] is None or hidden == "v.d", answer
    assert tree_of(owned) == before


def _looked(root: Path, state: Path) -> dict[str, Any]:
    engine = Engine(settings_of(root, state))
    plan = engine.plan("rebuild-sequencer", "gone")
    report = diagnose_table(engine.database, engine.database.table("gone"))
    codes = [refusal.code for refusal in plan.refused]
    return {"codes": codes, "lost": plan.rows_lost.phrase, "unapplied": report.rows_unapplied}


@pytest.mark.parametrize("hidden", ["_txn", "_meta", "wal1", "wal1/0/_event", ".", ".."], ids=str)
def test_a_plan_on_closed_files_says_so_and_counts_nothing(hidden: str, owned: Path, tmp_path: Path) -> None:
    """The salvage and the start of a table that is closed to the user are refused, without a traceback."""
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", _OWNER, _OWNER)
    table = Engine(settings_of(owned, tmp_path / "x")).database.table("outrun")
    assert _planned(owned, tmp_path / "x")["start-server"] == []  # and what the child needs of Python is loaded
    victim = (table.path / hidden).resolve()
    mode = victim.stat().st_mode
    os.chown(victim, 0, 0)
    victim.chmod(0)
    answer = _as_user(_OWNER, lambda: _planned(owned, tmp_path / "home" / "state"))
    assert "permission" in answer["start-server"], answer
    assert answer["salvage-wal"] in (["rows"], ["error"]) or "permission" in answer["salvage-wal"], answer
    assert answer["salvage-wal"] != ["rows"] or hidden not in (".", ".."), answer
    victim.chmod(mode)


def _planned(root: Path, state: Path) -> dict[str, Any]:
    """Return by action the codes of the refusals about permission; `rows` where none is, and rows are to be written."""
    engine = Engine(settings_of(root, state))
    found: dict[str, list[str]] = {}
    for action, table in (("start-server", None), ("salvage-wal", "outrun")):
        try:
            plan = engine.plan(action, table)
            found[action] = [r.code.value for r in plan.refused if r.code.value in ("permission", "wal-not-read")]
            if action == "salvage-wal" and plan.stages and not plan.refused:
                found[action] = ["rows"]
        except WalmedicError as error:
            found[action] = ["error"] if "cannot be listed" in str(error) else [str(error)]
    return found


def test_data_that_is_mounted_read_only_is_said_to_be_so(owned: Path, tmp_path: Path) -> None:
    """The kernel does so after errors of a disk, and no right to write helps."""
    words = f"{sys.executable} -m console {{}} --db-root {owned} --state-dir {tmp_path}/state; "
    script = (
        f"mount --bind {owned} {owned} && mount -o remount,ro,bind {owned} && "
        f"{words.format('plan repair-log outrun')}{words.format('doctor')}true"
    )
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=True)
    assert "refused [permission]: the file system of outrun is mounted read-only" in done.stdout, done
    assert "the file system of the data is mounted read-only" in done.stdout, done
    assert "may read and repair" not in done.stdout
