"""The frame of the repairs of a table's own files: files replaced together, there and back, and what proves them."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from console.diagnosis.model import Code
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.actions.start_server.action import repaired_partitions
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.gate.registry import spec_of
from console.recovery.model import Outcome, Plan, Stage
from console.recovery.plans import Target, make_plan, mark_of
from console.recovery.steps.steps import RunContext
from console.recovery.steps.table_files import ReplaceFiles, replace_files
from console.recovery.store.journal import Journal
from console.recovery.store.state import StateDir
from console.recovery.table_repair.new_files import NewFile, Part, specs_of
from console.recovery.table_repair.planning import whole_claims, written_claims
from console.recovery.tree.tree import Tree
from console.settings import Settings
from tests.data.samples import sample_database
from tests.faults.broken_database import captured


@pytest.fixture
def table(tmp_path: Path) -> TableDirectory:
    """A table of the sample, with two files that a repair replaces; one has another hard link, as symbol maps have."""
    found = sample_database("v1", tmp_path / "root").table("altered")
    (found.path / "one.o").write_bytes(b"0123456789")
    os.link(found.path / "one.o", found.path / "linked")
    return found


def _plan(table: TableDirectory, *files: NewFile) -> tuple[Plan, Stage]:
    specs, attachments = specs_of(files, table, "files")
    stage = replace_files(0, table.directory, mark_of(()), specs, "write them", ())
    plan = make_plan(
        spec_of("raise-wal-index"), Target.of("here", table), why="", stages=(stage,), attachments=attachments,
    )  # fmt: skip
    return plan, stage


def _run(table: TableDirectory, plan: Plan, place: Path) -> RunContext:
    folder = place / "entry"
    (folder / "attachments").mkdir(parents=True)
    for name, content in plan.attachments.items():
        (folder / "attachments" / name).write_bytes(content)
    state, database = StateDir(place / "state"), DatabaseRoot.locate(table.path.parent.parent)
    return RunContext(
        settings=Settings(), database=database, plan=plan, entry="entry", folder=folder, tree=Tree(database.db),
        report=lambda message, done, total: None, state=state, journal=Journal(state),
    )  # fmt: skip


def test_files_are_replaced_and_put_back_byte_for_byte(table: TableDirectory, tmp_path: Path) -> None:
    grown = NewFile("one.o", 16, (Part(0, b"AB"), Part(4, length=6, old_at=2), Part(12, b"XY")), "")
    plan, stage = _plan(table, grown, NewFile.of("two.k", b"new", ""))
    run, old = _run(table, plan, tmp_path), (table.path / "one.o").stat()
    for _ in range(2):  # done again after a kill it ends the same, though the file is another by then
        ReplaceFiles().perform(stage, run)
        assert (table.path / "one.o").read_bytes() == b"AB\0\x00234567\0\0XY\0\0"
        assert (table.path / "two.k").read_bytes() == b"new"
        assert (table.path / "linked").read_bytes() == b"0123456789"
    assert all(claim.ok for claim in written_claims(plan, run))
    for _ in range(2):
        ReplaceFiles().reverse(stage, run)
        status = (table.path / "one.o").stat()
        assert (table.path / "one.o").read_bytes() == b"0123456789"
        assert (status.st_mtime_ns, status.st_mode, status.st_uid) == (old.st_mtime_ns, old.st_mode, old.st_uid)
        assert not (table.path / "two.k").exists()
    assert not [path for path in table.path.iterdir() if ".walmedic-" in path.name]


def test_a_digest_is_of_the_file_as_it_will_be(table: TableDirectory) -> None:
    file = NewFile("one.o", 8, (Part(2, length=3, old_at=5),), "")
    (spec,), _ = specs_of((file,), table, "files")
    assert spec["sha256"] == hashlib.sha256(b"\0\x00567\0\0\0").hexdigest()


def test_a_file_that_is_not_as_planned_fails_its_claim(table: TableDirectory, tmp_path: Path) -> None:
    plan, stage = _plan(table, NewFile.of("one.o", b"new", ""))
    run = _run(table, plan, tmp_path)
    ReplaceFiles().perform(stage, run)
    (table.path / "one.o").write_bytes(b"old")
    (claim,) = written_claims(plan, run)
    assert (claim.key, claim.ok) == (ClaimKey.FILES_WRITTEN, False)


def test_a_finding_that_is_left_fails_its_claim(table: TableDirectory, tmp_path: Path) -> None:
    plan, _ = _plan(table)
    run = _run(table, replace(plan, table=table.name), tmp_path)
    (claim,) = whole_claims(plan, run, (Code.COLUMN_VERSIONS_INVALID,))
    assert (claim.key, claim.ok) == (ClaimKey.FILES_WHOLE, True)
    (table.path / "_cv").write_bytes(b"\xff" * 40)
    (claim,) = whole_claims(plan, run, (Code.COLUMN_VERSIONS_INVALID,))
    assert (claim.key, claim.ok) == (ClaimKey.FILES_WHOLE, False)


def test_a_start_reads_the_partitions_that_were_repaired(tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    table = database.table("altered")
    (table.path / "sym.o").unlink()
    engine = captured(database.root, tmp_path.resolve() / "state")
    plan = engine.plan("repair-symbols", "altered")
    done = engine.run(plan, plan.confirmation)
    assert done.outcome is Outcome.DONE
    assert repaired_partitions(engine._context()) == {table.directory: None}
    assert engine.undo(done.entry, engine.plan_undo(done.entry).confirmation).outcome is Outcome.DONE
    assert repaired_partitions(engine._context()) == {}


def test_symbol_keys_that_txn_does_not_count_are_refused(tmp_path: Path) -> None:
    """With a count too low the next new name would be given to rows of another."""
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    table = database.table("altered")
    (table.path / "sym.o").unlink()
    column = next(table.path.glob("2024-*/sym.d*"))
    column.write_bytes((99).to_bytes(4, "little") + column.read_bytes()[4:])
    plan = captured(database.root, tmp_path.resolve() / "state").plan("repair-symbols", "altered")
    (refusal,) = plan.refused
    assert (refusal.code, refusal.action) == (RefusalCode.TABLE_FILES_DISAGREE, "repair-table-state")
    assert not plan.stages


@pytest.mark.parametrize("source", ["links", "evidence", "nothing"])
def test_names_of_a_lost_map_come_from_links_and_evidence(source: str, tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    table, state = database.table("altered"), tmp_path.resolve() / "state"
    files = [table.path / f"sym.{suffix}" for suffix in "ockv"]
    for link in table.path.glob("wal*/sym.*"):
        link.unlink()
    if source == "links":
        for file in files:
            os.link(file, table.path / "wal1" / file.name)
    if source == "evidence":
        captured(database.root, state)
    old = [file.read_bytes() for file in files[:2]]
    for file in files:
        file.unlink()
    engine = captured(database.root, state)
    plan = engine.plan("repair-symbols", "altered")
    assert [(lost.kind, lost.column) for lost in plan.values_lost] == (
        [("names", "sym")] if source == "nothing" else []
    )
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    new = [file.read_bytes() for file in files[:2]]
    same = all(before[: len(after)] == after for before, after in zip(old, new, strict=True))
    assert same == (source != "nothing")
    assert not engine.plan("repair-symbols", "altered").stages
