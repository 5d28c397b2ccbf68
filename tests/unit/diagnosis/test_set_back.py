"""`_txn` against what on disk is of a later state: partition directories by their name, segments by their symbols."""

import shutil
import struct
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code, Harm, Severity, TableReport
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.table_txn import read_table_txn
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.settings import QuestDBSettings, Settings
from tests.data.samples import sample_database
from tests.unit.diagnosis.conftest import Diagnose, set_applied

DAY = "2024-01-01"


def _partition(table: TableDirectory, name: str) -> None:
    shutil.copytree(table.path / DAY, table.path / name)


def _txn(table: TableDirectory) -> int:
    area = read_table_txn(table.path).current
    assert area is not None
    return area.txn


def _behind(report: TableReport) -> bool:
    found = [each for each in report.findings if each.code is Code.TABLE_TXN_BEHIND]
    assert all(each.severity is Severity.DAMAGE and each.start is not Harm.NONE for each in found)
    return bool(found)


@pytest.mark.parametrize(
    ("name", "more", "behind"),
    [
        (DAY, 1, True),  # made in a transaction that _txn has not come to
        (DAY, 0, False),  # as a kill can leave it in the middle of the next transaction
        ("2024-01-03", 1, True),
        ("2024-01-03", -1, True),  # it would be part of the next transaction, and nothing waits
        ("2024-01-03", -2, False),  # dropped, and not purged yet
        ("2024-01-03T120000-000001", -1, False),  # a part of a day, squashed in the transaction that split it
        ("2024-01-03.detached", 5, False),
        ("2024-01", 5, False),  # no partition of a table by days
    ],
)
def test_a_partition_directory_of_a_later_transaction(
    altered: TableDirectory, diagnosed: Diagnose, name: str, more: int, behind: bool
) -> None:
    _partition(altered, f"{name}.{_txn(altered) + more}")
    assert _behind(diagnosed()) is behind


@pytest.mark.parametrize(("more", "behind"), [(1, False), (2, False), (3, True)])
def test_a_txn_that_is_no_further_behind_than_what_waits_is_not_damage(
    altered: TableDirectory, diagnosed: Diagnose, more: int, behind: bool
) -> None:
    """The log names two transactions above it, with their WAL: the server applies them again."""
    set_applied(altered, 7)
    _partition(altered, f"{DAY}.{_txn(altered) + more}")
    assert _behind(diagnosed()) is behind


def test_nothing_is_made_of_a_txn_whose_log_ends_before_too(
    altered: TableDirectory, database: DatabaseRoot, tmp_path: Path
) -> None:
    """As after an older copy that was laid over a newer table: what lay between is in no file."""
    _partition(altered, f"{DAY}.{_txn(altered) + 3}")
    (database.db / "tables.d.lock").touch()
    settings = Settings(
        state_dir=str(tmp_path / "state"), questdb=QuestDBSettings(db_root=str(database.root)), bare=True
    )
    plan = Engine(settings).plan("repair-table-state", "altered")
    assert RefusalCode.TXN_SET_BACK in {refusal.code for refusal in plan.refused}
    assert plan.rows_lost.kind == "unknown"
    assert plan.stages == ()


@pytest.mark.parametrize(("symbols", "behind"), [(5, False), (10, False), (11, True)])
def test_a_segment_that_was_begun_with_more_symbols_than_txn_and_wal_have(
    database: DatabaseRoot, symbols: int, behind: bool
) -> None:
    """`_txn` counts five, and the segment adds five: what it began with can be ten at most."""
    table = database.table("hourly")
    events = table.path / "wal1" / "0" / "_event"
    content = bytearray(events.read_bytes())
    at = content.index(struct.pack("<ii", 0, 5) + struct.pack("<ii", 0, 2))  # clean count, five symbols, the first "k1"
    content[at : at + 4] = struct.pack("<i", symbols)
    events.write_bytes(content)
    assert _behind(diagnose_table(database, table)) is behind


@pytest.mark.parametrize(
    ("older", "purged", "ahead"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_a_txn_that_is_ahead_of_the_directories(database: DatabaseRoot, older: bool, purged: bool, ahead: bool) -> None:
    """Its page was on the disk before the new directory was: the old one and the WAL are still there."""
    table = database.table("kinds")
    partition = next(table.path.glob("2024-*"))
    assert partition.name == f"{partition.name[:10]}.1"
    partition.rename(partition.with_name(partition.name[:10] if older else "gone"))
    if purged:
        shutil.rmtree(table.path / "wal1")
    report = diagnose_table(database, table)
    found = [each for each in report.findings if each.code is Code.TABLE_TXN_MISCOUNTED]
    assert [each.start for each in found] == ([Harm.DELETES_WAL] if ahead else [])
    assert report.next_step.action == ("repair-table-state" if ahead else "repair-partition")


def test_a_partition_that_is_there_in_a_later_version_alone(altered: TableDirectory, diagnosed: Diagnose) -> None:
    """The server deletes the version before only when the later one is in force."""
    set_applied(altered, 7)  # what waits explains a later version, and not that the one before is gone
    later = altered.path / f"{DAY}.{_txn(altered)}"
    _partition(altered, later.name)
    assert not _behind(diagnosed())
    shutil.rmtree(altered.path / DAY)
    assert _behind(diagnosed())


def test_with_the_state_of_another_table_no_server_is_started(tmp_path: Path) -> None:
    """Its partitions are others: the first writer deletes those that it does not name."""
    v1 = sample_database("v1", tmp_path / "root")
    table, other = v1.table("kinds"), v1.table("hourly")
    shutil.copyfile(other.path / "_txn", table.path / "_txn")
    found = {each.code: each for each in diagnose_table(v1, table).findings if each.severity is Severity.DAMAGE}
    assert found[Code.TABLE_FILES_DISAGREE].start is Harm.DELETES_DIRECTORY
    (v1.db / "tables.d.lock").touch()
    settings = Settings(questdb=QuestDBSettings(db_root=str(v1.root)), bare=True, state_dir=str(tmp_path / "state"))
    refused = Engine(settings).plan("start-server").refused
    assert RefusalCode.TABLE_FILES_DISAGREE in {each.code for each in refused}
