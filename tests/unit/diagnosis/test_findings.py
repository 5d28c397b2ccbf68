"""Each damage gives its code, at its place, and nothing else that would frighten; whole files give nothing."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.findings.txn import txn_set_back
from console.diagnosis.model import Code, Finding, Severity, TableReport, Verdict
from console.diagnosis.table import judge
from console.diagnosis.table_facts import read_facts
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.table_txn import read_table_txn
from tests.txn_file import put_seq_txn
from tests.unit.diagnosis.conftest import Diagnose, put, record_place, set_applied, zero_record


def grave(report: TableReport) -> list[Finding]:
    """Return the findings that are more than a note."""
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE]


def only(report: TableReport, code: Code) -> Finding:
    """Return the one grave finding, which must have `code`."""
    assert [finding.code for finding in grave(report)] == [code], report.findings
    return grave(report)[0]


def test_whole_tables_have_no_finding_at_all(database: DatabaseRoot) -> None:
    report = diagnose(database)
    assert [table.verdict for table in report.tables] == [Verdict.HEALTHY] * 3
    assert not [finding for table in report.tables for finding in table.findings]
    assert report.healthy
    assert all(table.can_read and table.can_write and table.next_step.action is None for table in report.tables)


def test_unapplied_rows_alone_are_no_problem(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    report = diagnosed()
    assert (report.verdict, report.findings) == (Verdict.HEALTHY, ())
    assert (report.applied_txn, report.logged_txn) == (7, 9)
    assert (report.rows_unapplied, report.rows_at_risk) == (2, 0)
    (segment,) = report.waiting
    assert (segment.wal, segment.segment, segment.transactions, segment.whole) == (1, 2, 2, True)
    assert [(txn.seq_txn, txn.rows, txn.kind) for txn in segment.listed] == [(8, 1, "rows"), (9, 1, "rows")]


@pytest.mark.parametrize(
    ("damage", "code"),
    [("sequencer", Code.SEQUENCER_MISSING), ("log", Code.LOG_MISSING), ("empty", Code.LOG_EMPTY)],
)
def test_without_a_log_everything_hangs_on_the_next_step(
    altered: TableDirectory, diagnosed: Diagnose, damage: str, code: Code
) -> None:
    set_applied(altered, 7)
    log = altered.sequencer / "_txnlog"
    if damage == "sequencer":
        shutil.rmtree(altered.sequencer)
    elif damage == "log":
        log.unlink()
    else:
        log.write_bytes(b"")
    report = diagnosed()
    only(report, code)
    assert (report.verdict, report.can_read, report.can_write) == (Verdict.BROKEN, True, False)
    # One WAL, never purged: the number of applied transactions says where it is split.
    assert (report.rows_unapplied, report.rows_at_risk) == (2, 2)
    assert report.next_step.action == "rebuild-sequencer"
    assert {step.action for step in report.blocked_steps} >= {"drop-table", "fresh-log", "remove-wal", "convert-table"}


def test_a_copy_in_the_table_is_found_and_restored_from(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    backup = altered.path / "txn_seq.backup.20251110_032600"
    altered.sequencer.rename(backup)
    report = diagnosed()
    assert {f.code for f in grave(report)} == {Code.SEQUENCER_MISSING, Code.IN_TABLE_BACKUP_AT_RISK}
    assert report.has(Code.BACKUP_FOUND)
    assert (report.rows_unapplied, report.next_step.action) == (2, "restore-sequencer")
    assert backup.name in report.next_step.reason


def test_a_copy_below_the_applied_transaction_is_not_offered(altered: TableDirectory, diagnosed: Diagnose) -> None:
    backup = altered.path / "txn_seq.backup.1"
    altered.sequencer.rename(backup)
    put(backup / "_txnlog", 4, "<q", 4)
    for txn in range(5, 10):
        path, offset, size = _place(backup, txn)
        put(path, offset, f"<{size}b", *[0] * size)
    assert diagnosed().next_step.action == "rebuild-sequencer"


def _place(sequencer: Path, txn: int) -> tuple[Path, int, int]:
    if (sequencer / "_txn_parts").is_dir():
        return sequencer / "_txn_parts" / str((txn - 1) // 3), 60 * ((txn - 1) % 3), 60
    return sequencer / "_txnlog", 76 + 28 * (txn - 1), 28


def test_a_zeroed_record_that_waits_is_damage_and_its_rows_are_still_counted(
    altered: TableDirectory, diagnosed: Diagnose
) -> None:
    set_applied(altered, 7)
    file, offset = zero_record(altered, 8)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.LOG_RECORD_ZEROED)
    assert (found.file, found.offset, found.seq_txn, found.severity) == (file, offset, 8, Severity.DAMAGE)
    assert (report.rows_unapplied, report.rows_at_risk, report.next_step.action) == (2, 2, "repair-log")
    assert [txn.seq_txn for segment in report.waiting for txn in segment.listed] == [8, 9]


def test_a_zeroed_record_that_is_applied_is_harmless_filler(altered: TableDirectory, diagnosed: Diagnose) -> None:
    zero_record(altered, 5)
    report = diagnosed()
    assert grave(report) == []
    assert report.rows_unapplied == 0


def test_an_impossible_record_and_one_that_names_what_never_was(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    path, offset, _ = record_place(altered, 9)
    put(path, offset + 8, "<i", -77)
    report = diagnosed()
    assert any(f.code is Code.LOG_RECORD_INVALID and (f.offset, f.seq_txn) == (offset, 9) for f in report.findings)
    put(path, offset + 8, "<iii", 1, 2, 40)
    found = next(f for f in diagnosed().findings if f.code is Code.LOG_UNKNOWN_SEGMENT)
    assert (found.offset, found.seq_txn) == (offset, 9)
    put(path, offset + 8, "<iii", 55, 0, 0)
    assert diagnosed().has(Code.LOG_UNKNOWN_SEGMENT)


def test_a_record_named_twice_would_double_its_rows(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    path, offset, _ = record_place(altered, 9)
    put(path, offset + 8, "<iii", 1, 2, 0)
    found = next(f for f in diagnosed().findings if f.code is Code.LOG_RECORD_INVALID)
    assert (found.seq_txn, "twice" in found.message) == (9, True)


def test_a_segment_that_is_gone(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    shutil.rmtree(altered.path / "wal1" / "2")
    report = diagnosed()
    found = only(report, Code.SEGMENT_MISSING)
    assert (found.seq_txn, found.file) == (8, f"{altered.directory}/wal1/2")
    assert report.can_write is False


def test_a_purge_that_was_cut_off_leaves_the_lock_of_a_segment(altered: TableDirectory, diagnosed: Diagnose) -> None:
    """The log names a later one, so it has named all of this one. Of the last segment nothing says so."""
    last = max(int(path.name) for path in (altered.path / "wal1").iterdir() if path.is_dir())
    for number, alarm in ((0, False), (last, True)):
        shutil.rmtree(altered.path / "wal1" / str(number))
        (altered.path / "wal1" / f"{number}.lock").touch()
        assert diagnosed().has(Code.SEGMENT_MISSING) is alarm


def test_a_header_below_what_is_applied_loses_all_that_comes(altered: TableDirectory, diagnosed: Diagnose) -> None:
    put(altered.sequencer / "_txnlog", 4, "<q", 6)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.LOG_MAX_TXN_BELOW_APPLIED)
    assert (found.offset, found.seq_txn, found.severity) == (4, 6, Severity.DAMAGE)
    assert (report.can_read, report.can_write, report.next_step.action) == (True, False, "repair-log")


def test_a_header_that_is_too_low_sets_the_purge_clock_running(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    put(altered.sequencer / "_txnlog", 4, "<q", 7)
    report = diagnosed()
    assert {Code.LOG_TAIL_UNLOGGED, Code.WAL_AT_RISK_OF_PURGE} <= {f.code for f in report.findings}
    assert (report.rows_unapplied, report.rows_at_risk) == (2, 2)
    start = next(step for step in report.blocked_steps if step.action == "start-server")
    assert "wal1" in start.reason
    assert report.next_step.action == "repair-log"


def test_a_statement_that_no_record_names_may_cost_more_than_rows(altered: TableDirectory, diagnosed: Diagnose) -> None:
    """The UPDATE is the last event of its WAL, as where the log is of before it."""
    for number in range(5, 10):
        zero_record(altered, number)
    put(altered.sequencer / "_txnlog", 4, "<q", 4)
    shutil.rmtree(altered.path / "wal1" / "2")
    set_applied(altered, 4)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.LOG_TAIL_UNLOGGED and "wal1/1" in f.message)
    assert "transaction 1 (0 rows and 1 statement)" in found.message
    assert report.rows_at_risk is None


def test_a_zeroed_header(altered: TableDirectory, diagnosed: Diagnose) -> None:
    put(altered.sequencer / "_txnlog", 0, "<76b", *[0] * 76)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.LOG_HEADER_ZEROED)
    assert (found.offset, found.severity) == (0, Severity.DAMAGE)
    assert report.next_step.action == "repair-log"


def test_versions_that_the_server_refuses(altered: TableDirectory, diagnosed: Diagnose) -> None:
    put(altered.sequencer / "_txnlog", 0, "<i", 7)
    assert only(diagnosed(), Code.LOG_VERSION_UNKNOWN).offset == 0
    put(altered.sequencer / "_txnlog", 0, "<i", 1)
    put(altered.sequencer / "_txnlog", 20, "<i", 0)
    assert only(diagnosed(), Code.LOG_VERSION_UNKNOWN).offset == 20


def test_a_header_past_the_end_names_the_record_that_the_server_reads(
    database: DatabaseRoot, altered: TableDirectory, diagnosed: Diagnose
) -> None:
    log = altered.sequencer / "_txnlog"
    put(log, 4, "<q", 5000)
    report = diagnosed()
    if (altered.sequencer / "_txn_parts").is_dir():
        found = next(f for f in report.findings if f.code is Code.LOG_PART_MISSING)
        assert (found.seq_txn, found.severity) == (10, Severity.DAMAGE)
        return
    found = next(f for f in report.findings if f.code is Code.LOG_MAX_TXN_PAST_END)
    assert (found.offset, found.seq_txn) == (76 + 28 * 4999, 5000)
    assert (report.can_read, report.can_write) == (False, False)
    assert "start-server" in {step.action for step in report.blocked_steps}


def test_a_wild_structure_version_would_crash_the_start(altered: TableDirectory, diagnosed: Diagnose) -> None:
    path, offset, _ = record_place(altered, 9)
    put(path, offset, "<q", 1 << 24)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.LOG_RECORD_INVALID)
    assert (found.offset, found.seq_txn) == (offset, 9)
    assert report.can_write is False


def test_a_structure_version_that_goes_back(altered: TableDirectory, diagnosed: Diagnose) -> None:
    path, offset, _ = record_place(altered, 9)
    put(path, offset, "<q", 1)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.LOG_STRUCTURE_VERSION_REGRESS)
    assert (found.offset, found.seq_txn, found.severity) == (offset, 9, Severity.RISK)
    assert "every ALTER fails" in found.message
    assert report.can_write is True


def test_the_wal_index(altered: TableDirectory, diagnosed: Diagnose) -> None:
    index = altered.sequencer / "_wal_index.d"
    put(index, 0, "<q", 0)
    report = diagnosed()
    assert only(report, Code.WAL_INDEX_LOW).severity is Severity.RISK
    assert (report.verdict, report.next_step.action, report.can_write) == (Verdict.AT_RISK, "raise-wal-index", True)
    index.unlink()
    assert only(diagnosed(), Code.WAL_INDEX_MISSING).file == f"{altered.directory}/txn_seq/_wal_index.d"


def test_the_sequencer_s_metadata(altered: TableDirectory, diagnosed: Diagnose) -> None:
    metadata = altered.sequencer / "_meta"
    whole = metadata.read_bytes()
    put(metadata, 4, "<i", 3)
    report = diagnosed()
    assert only(report, Code.SEQUENCER_METADATA_INVALID).severity is Severity.DAMAGE
    assert (report.can_write, report.next_step.action) == (False, "rebuild-sequencer")
    metadata.write_bytes(whole)
    put(metadata, 8, "<q", 1)
    assert diagnosed().has(Code.SEQUENCER_METADATA_INVALID)
    metadata.write_bytes(whole)
    put(metadata, 24, "<i", 999)
    assert diagnosed().has(Code.SEQUENCER_METADATA_INVALID)
    metadata.unlink()
    only(diagnosed(), Code.SEQUENCER_METADATA_MISSING)


def test_events_that_are_cut(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    event = altered.path / "wal1" / "2" / "_event"
    os.truncate(event, 100)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.SEGMENT_EVENT_TRUNCATED)
    assert (found.file, found.severity) == (f"{altered.directory}/wal1/2/_event", Severity.DAMAGE)
    assert report.can_write is False


def test_columns_that_do_not_hold_what_the_events_say(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    put(altered.path / "wal1" / "2" / "ts.d", 16, "<q", 0)
    report = diagnosed()
    found = only(report, Code.SEGMENT_DATA_TORN)
    assert (found.file, found.offset) == (f"{altered.directory}/wal1/2/ts.d", 16)
    assert (report.verdict, report.rows_unapplied, report.rows_at_risk) == (Verdict.BROKEN, 2, 1)
    assert [txn.whole for segment in report.waiting for txn in segment.listed] == [True, False]


def test_a_damaged_txn_promises_nothing(altered: TableDirectory, diagnosed: Diagnose) -> None:
    os.truncate(altered.path / "_txn", 70)
    report = diagnosed()
    assert any(f.code is Code.TABLE_TXN_INVALID and f.severity is Severity.DAMAGE for f in report.findings)
    assert (report.can_read, report.rows_applied, report.rows_unapplied) == (False, None, None)
    assert (report.next_step.action, report.next_step.evidence) == ("repair-table-state", True)


def test_a_txn_that_is_set_back_is_distinguished_from_a_deleted_log(
    altered: TableDirectory, diagnosed: Diagnose
) -> None:
    """The version points at the older area, and WAL that only the newer one allows to be purged is gone."""
    txn = read_table_txn(altered.path)
    assert txn.current is not None
    assert txn.other is not None
    assert txn.header is not None
    put(altered.path / "_txn", 0, "<q", txn.other.txn)
    if txn.other.seq_txn == txn.current.seq_txn:
        put_seq_txn(altered.path, txn.current.seq_txn - 1, txn.other)
    # Nothing is purged: a server that died before it moved the version just applies it again.
    assert not diagnosed().has(Code.TABLE_TXN_BEHIND)
    shutil.rmtree(altered.path / "wal1" / "2")
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.TABLE_TXN_BEHIND)
    assert (found.severity, found.file) == (Severity.DAMAGE, f"{altered.directory}/_txn")
    assert (report.rows_unapplied, report.next_step.action, report.next_step.evidence) == (
        None,
        "repair-table-state",
        True,
    )


def test_a_txn_that_names_a_partition_of_before_is_set_back(altered: TableDirectory) -> None:
    """Only the newer state lets a partition's old directory be purged: the WAL may all be there still."""
    txn = read_table_txn(altered.path)
    assert txn.current is not None
    assert txn.other is not None
    put(altered.path / "_txn", 0, "<q", txn.other.txn)
    if txn.other.seq_txn == txn.current.seq_txn:
        put_seq_txn(altered.path, txn.current.seq_txn - 1, txn.other)
    assert not txn_set_back(read_facts(altered))
    first = min(altered.path.glob("20*"))
    first.rename(first.with_name(f"{first.name[:10]}.99"))
    assert txn_set_back(read_facts(altered))


def test_a_lag_count_without_lag_rows_swallows_the_next_transaction(
    altered: TableDirectory, diagnosed: Diagnose
) -> None:
    current = read_table_txn(altered.path).current
    assert current is not None
    put(altered.path / "_txn", current.offset_lag_txns, "<i", -1)
    found = next(f for f in diagnosed().findings if f.code is Code.LAG_OVERFLOW)
    assert (found.offset, found.seq_txn, found.severity) == (current.offset_lag_txns, 10, Severity.DAMAGE)


def test_files_of_another_owner(altered: TableDirectory) -> None:
    """Owners are facts like others; only root could give a file away here."""
    facts = read_facts(altered)
    given = [replace(owner, uid=owner.uid + 1) if owner.path.name == "_txnlog" else owner for owner in facts.owners]
    report = judge(replace(facts, owners=tuple(given))).report()
    found = only(report, Code.OWNERSHIP_DIFFERS)
    assert (found.severity, found.file) == (Severity.RISK, f"{altered.directory}/txn_seq/_txnlog")


def test_files_that_their_owner_cannot_write(altered: TableDirectory, diagnosed: Diagnose) -> None:
    (altered.sequencer / "_txnlog").chmod(0o444)
    assert only(diagnosed(), Code.OWNERSHIP_DIFFERS).severity is Severity.RISK


def test_a_log_reached_through_a_link_is_not_followed(altered: TableDirectory, diagnosed: Diagnose) -> None:
    log = altered.sequencer / "_txnlog"
    log.rename(altered.path / "elsewhere")
    log.symlink_to(altered.path / "elsewhere")
    report = diagnosed()
    assert (report.verdict, report.has(Code.UNREADABLE)) == (Verdict.UNKNOWN, True)


def test_rows_whose_columns_are_not_known_are_not_called_at_risk(altered: TableDirectory, diagnosed: Diagnose) -> None:
    set_applied(altered, 7)
    for path in altered.path.glob("wal*/*/_meta"):
        path.unlink()
    report = diagnosed()
    assert (report.rows_unapplied, report.rows_at_risk) == (2, None)
    assert {(each.code, each.severity) for each in report.findings} == {(Code.SEGMENT_DATA_TORN, Severity.NOTE)}
