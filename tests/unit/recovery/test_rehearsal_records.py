"""Records of passed rehearsals: for exactly one plan of exactly one database; heap for what memory there is."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from console.errors import WalmedicError
from console.recovery.evidence.index import EvidenceIndex
from console.recovery.gate.rehearsed import Records
from console.recovery.model import ActionSpec, Danger, Fact, Plan, RowsLost, Stage
from console.recovery.plans import Target, make_plan
from console.recovery.rehearsal.proof import heap_bytes
from console.recovery.store.journal import Journal
from console.recovery.store.places import RootKey
from console.recovery.store.state import StateDir

SPEC = ActionSpec("rebuild-sequencer", "Rebuild", Danger.DATA, True, "", "", offline=True)
ROOT = RootKey(65024, 7)


def plan(digest: str = "aa", title: str = "build") -> Plan:
    return make_plan(SPEC, Target("s", "t"), why="", stages=[Stage("1", title, "step")], facts=[Fact("t~1", digest)])


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def test_a_plan_that_passed_is_known_until_anything_of_it_changes(state: StateDir) -> None:
    records = Records(state, ROOT)
    assert records.passed(plan()) is None
    records.add(plan(), "r1", "passed on a clone: 10 rows")
    found = records.passed(plan())
    assert found is not None
    assert (found.action, found.table, found.rehearsal, found.message) == (
        "rebuild-sequencer", "t", "r1", "passed on a clone: 10 rows",
    )  # fmt: skip
    assert records.passed(plan(digest="ab")) is None
    assert records.passed(plan(title="build it otherwise")) is None
    assert Records(state, RootKey(65024, 8)).passed(plan()) is None


def test_a_later_failure_takes_it_back(state: StateDir) -> None:
    records = Records(state, ROOT)
    records.add(plan(), "r1", "")
    records.drop(plan())
    assert records.passed(plan()) is None
    records.drop(plan())


def test_a_damaged_or_foreign_record_counts_for_nothing(state: StateDir) -> None:
    records = Records(state, ROOT)
    records.add(plan(), "r1", "")
    (path,) = (state.root / "rehearsed").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_text()
    for content in ("", "{}", "[]", whole.replace(plan().plan_id, plan("ab").plan_id), whole[:-20]):
        path.write_text(content)
        assert records.passed(plan()) is None


def test_tables_with_a_rehearsed_plan_of_unknown_loss_are_reported(state: StateDir) -> None:
    records = Records(state, ROOT)
    records.add(plan(), "r1", "")
    assert records.of_unknown_loss() == frozenset()
    unknown = replace(plan("cc"), rows_lost=RowsLost("unknown", None), directory="t~1")
    records.add(unknown, "r2", "")
    assert records.of_unknown_loss() == {"t~1"}
    assert Records(state, RootKey(65024, 8)).of_unknown_loss() == frozenset()
    records.drop(unknown)
    assert records.of_unknown_loss() == frozenset()


@pytest.mark.parametrize(
    ("listed", "skipped", "whole"),
    [([], [], True), ([["t~1/2024-01-01/px.d", 8, 0]], [], False), ([], ["t~1/2024-01-02"], False)],
)
def test_evidence_is_whole_where_every_file_was_copied(
    state: StateDir, listed: list[object], skipped: list[str], whole: bool
) -> None:
    folder = state.made(state.evidence / "e1")
    copied = state.made(folder / "db" / "t~1") / "_txn"
    copied.write_bytes(b"x")
    tables = {"t~1": {"name": "t", "stamp": "s", "listed": listed, "skipped": skipped}}
    manifest = {"device": 65024, "inode": 7, "at": "now", "stamps": {"t~1": "s"}, "bytes": 1, "live": False}
    files = [{"path": "db/t~1/_txn", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "tables": tables, "files": files}))
    index = EvidenceIndex(state, ROOT, Journal(state))
    assert index.fresh("t~1", "s") is not None
    assert (index.fresh("t~1", "s", whole=True) is not None) is whole
    assert index.fresh("t~1", "another", whole=True) is None
    copied.unlink()
    assert index.fresh("t~1", "s") is None


@pytest.mark.parametrize(
    ("available", "heap"), [(64 << 30, 2 << 30), (8 << 30, 2 << 30), (4 << 30, 1 << 30), (512 << 20, 128 << 20)]
)
def test_the_heap_is_a_quarter_of_free_memory_and_at_most_two_gib(available: int, heap: int) -> None:
    assert heap_bytes(available) == heap


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(WalmedicError, match="only 511 MiB of memory are free"):
        heap_bytes((512 << 20) - 1)
