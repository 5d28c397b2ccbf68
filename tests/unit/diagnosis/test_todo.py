"""What `_todo_` has the next writer do, on the files of a real server, as a killed TRUNCATE or ALTER leaves it."""

import shutil
import struct

import pytest

from console.diagnosis.database import diagnose, diagnose_table
from console.diagnosis.model import Code, Harm, Part, Severity, Verdict
from console.questdb.formats.table import META_COLUMN, META_HEADER, TXN_RECORD
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import Problem
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import read_table_txn
from tests.unit.diagnosis.conftest import Diagnose, put

TRUNCATE, RESTORE = 1, 2
_HEALING = [(Code.TODO_PENDING, Severity.NOTE)]


def pend(table: TableDirectory, code: int, *, previous: int = 0, behind: int = 0, count: int = 1) -> None:
    """Write an entry of the version that `_txn` has, or of one `behind` it."""
    current = read_table_txn(table.path).current
    assert current is not None
    txn = current.txn - behind
    put(table.path / "_todo_", 0, "<7q", txn, 0, 0, txn, count, code, previous)


def older(table: TableDirectory, name: str = "_meta.prev", *, by: int = 0) -> None:
    """Put the table's `_meta` beside it as `name`, of a version `by` less."""
    shutil.copy2(table.path / "_meta", table.path / name)
    (version,) = struct.unpack_from("<q", (table.path / name).read_bytes(), 32)
    put(table.path / name, 32, "<q", version - by)


def test_a_truncate_that_was_cut_off_keeps_the_server_down(database: DatabaseRoot) -> None:
    for table in database.tables():
        pend(table, TRUNCATE)
        report = diagnose_table(database, table)
        (found,) = report.findings
        assert (found.code, found.severity, found.start) == (
            Code.TODO_PENDING, Severity.DAMAGE, Harm.DELETES_PARTITIONS,
        )  # fmt: skip
        assert (found.file, found.offset) == (f"{table.directory}/_todo_", 40)
        assert (report.verdict, report.can_read, report.can_write) == (Verdict.BROKEN, True, False)
        assert "start-server" in [step.action for step in report.blocked_steps]
        assert report.next_step.action is None
        assert "_todo_" in report.next_step.reason


@pytest.mark.parametrize("code", [TRUNCATE, RESTORE])
@pytest.mark.parametrize("stale", [{"behind": 1}, {"behind": -1}, {"count": 0}, {"count": -1}])
def test_an_entry_that_does_not_count_is_nothing(database: DatabaseRoot, code: int, stale: dict[str, int]) -> None:
    for table in database.tables():
        older(table, by=1)
        pend(table, code, **stale)
    assert {report.verdict for report in diagnose(database).tables} == {Verdict.HEALTHY}


def test_an_entry_whose_two_versions_differ_or_of_no_known_code_is_nothing(
    altered: TableDirectory, diagnosed: Diagnose
) -> None:
    pend(altered, TRUNCATE)
    put(altered.path / "_todo_", 24, "<q", 0)
    assert diagnosed().verdict is Verdict.HEALTHY
    pend(altered, 3)
    assert diagnosed().verdict is Verdict.HEALTHY


def test_an_older_metadata_that_would_be_put_back_is_damage(altered: TableDirectory, diagnosed: Diagnose) -> None:
    older(altered, by=1)
    older(altered, "_meta.prev.7", by=0)
    pend(altered, RESTORE)
    (found,) = diagnosed().findings
    assert (found.code, found.severity, found.start) == (Code.TODO_PENDING, Severity.DAMAGE, Harm.REWRITES_TABLE)
    pend(altered, RESTORE, previous=7)
    assert [(each.code, each.severity) for each in diagnosed().findings] == _HEALING
    (altered.path / "_meta.prev.7").write_bytes(bytes(300))
    (found,) = diagnosed().findings
    assert (found.code, found.severity, found.start) == (Code.TODO_PENDING, Severity.DAMAGE, Harm.REWRITES_TABLE)
    (altered.path / "_meta.prev.7").unlink()  # the server leaves _meta then
    report = diagnosed()
    assert (report.verdict, report.findings) == (Verdict.HEALTHY, ())


def newer(table: TableDirectory, by: int = 1) -> None:
    """Keep `_meta` as `_meta.prev`, and make it one of a later version with a column less: an ALTER wrote it."""
    older(table)
    metadata = read_table_metadata(table.path)
    assert not isinstance(metadata, Problem)
    put(table.path / "_meta", 32, "<q", metadata.metadata_version + by)
    last = max(each.index for each in metadata.columns if not each.dropped and each.index != metadata.timestamp_index)
    put(table.path / "_meta", META_HEADER.size + META_COLUMN.size * last, "<i", -metadata.columns[last].type_code)


def test_a_metadata_newer_than_txn_sets_txn_back(database: DatabaseRoot) -> None:
    for table in database.tables():
        newer(table)
        report = diagnose_table(database, table)
        assert report.has(Code.TABLE_TXN_BEHIND)
        assert not report.has(Code.WAL_FOREIGN)
        assert {each.code for each in report.findings} <= {
            Code.TABLE_TXN_BEHIND, Code.TABLE_FILES_DISAGREE, Code.SEQUENCER_METADATA_INVALID,
        }  # fmt: skip
        assert (report.verdict, report.can_read, report.can_write) == (Verdict.BROKEN, False, False)
        assert "start-server" in [step.action for step in report.blocked_steps]
        assert report.next_step.action == "repair-table-state"
        assert set(report.not_checked) >= {Part.PARTITION_FILES, Part.SYMBOL_FILES}


def test_an_alter_that_todo_takes_back_is_a_note(database: DatabaseRoot) -> None:
    """What a kill between `_meta` and `_txn` leaves: the next writer puts `_meta.prev` back."""
    for table in database.tables():
        newer(table)
        pend(table, RESTORE)
        report = diagnose_table(database, table)
        assert [(each.code, each.severity) for each in report.findings] == _HEALING
        assert (report.verdict, report.can_write) == (Verdict.HEALTHY, True)
        older(table, by=-1)
        report = diagnose_table(database, table)
        assert report.has(Code.TABLE_TXN_BEHIND)
        assert (report.verdict, report.next_step.action) == (Verdict.BROKEN, "repair-table-state")


def test_own_wal_is_not_compared_with_columns_of_another_version(altered: TableDirectory, diagnosed: Diagnose) -> None:
    """`_txn` of before all three ALTERs, whole in itself."""
    txn = read_table_txn(altered.path).current
    assert txn is not None
    put(altered.path / "_txn", txn.base + TXN_RECORD.at("metadata_version"), "<i", 0)
    put(altered.path / "_txn", txn.base + TXN_RECORD.at("structure_version"), "<i", 0)
    report = diagnosed()
    assert report.has(Code.TABLE_TXN_BEHIND)
    assert not report.has(Code.WAL_FOREIGN)
    assert (report.rows_unapplied, report.next_step.action) == (None, "repair-table-state")
