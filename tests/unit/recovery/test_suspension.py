"""What waits, what stops it and what a skip would lose: decided on a captured table, broken record by record."""

import shutil
from pathlib import Path

import pytest

from console.diagnosis.table import examine_table
from console.questdb.layout import TableDirectory
from console.questdb.table_txn import read_table_txn
from console.recovery.actions.resume_wal.blockage import Blockage, Queue, queue_of, skipped_lines
from console.recovery.actions.resume_wal.refusals import resume_refusals
from console.recovery.actions.resume_wal.steps import statement
from console.recovery.model import RowsLost
from tests.data.samples import KINDS, sample_database
from tests.unit.diagnosis.conftest import put, set_applied, zero_record


@pytest.fixture(params=KINDS)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> TableDirectory:
    """A table with nine transactions, the third, sixth and seventh structure changes, the last two of a row each."""
    return sample_database(request.param, tmp_path.resolve() / "sample").table("altered")


def _queue(table: TableDirectory) -> Queue:
    queue = queue_of(examine_table(table))
    assert queue is not None
    return queue


def _blockage(table: TableDirectory) -> Blockage:
    found = _queue(table).blockage
    assert found is not None
    return found


def _codes(table: TableDirectory, stuck: int | None = None) -> list[str]:
    return [refusal.code for refusal in resume_refusals(table, _queue(table), stuck, "could not open")]


def test_whole_records_stop_nothing(table: TableDirectory) -> None:
    set_applied(table, 7)
    assert _queue(table) == Queue(7, 9, 0, 0, None)
    set_applied(table, 9)
    assert _queue(table).blockage is None


def test_a_zero_record_costs_the_rows_that_no_other_names(table: TableDirectory) -> None:
    set_applied(table, 7)
    zero_record(table, 8)
    found = _blockage(table)
    assert (found.first, found.last, found.resume_from, found.good_before) == (8, 8, 9, 0)
    assert (found.rows, found.gone, found.ahead, found.on_disk) == (RowsLost.exact(1), 0, False, True)
    (line,) = skipped_lines(found, str)
    assert line.startswith("skipped: seqTxn 8 (wal1/2 transaction 0): 1 row, ")
    assert _codes(table) == []


def test_what_comes_before_is_applied_first(table: TableDirectory) -> None:
    set_applied(table, 7)
    zero_record(table, 9)
    found = _blockage(table)
    assert (found.first, found.good_before, found.rows_before) == (9, 1, 1)
    assert _codes(table) == []


def test_a_run_is_one(table: TableDirectory) -> None:
    set_applied(table, 7)
    zero_record(table, 8)
    zero_record(table, 9)
    found = _blockage(table)
    assert (found.run, found.rows, len(found.skipped)) == ("seqTxn 8 to 9", RowsLost.exact(2), 2)
    assert found.next_first is None


def test_a_segment_that_is_gone_is_reported_as_gone(table: TableDirectory) -> None:
    set_applied(table, 7)
    shutil.rmtree(table.path / "wal1" / "2")
    found = _blockage(table)
    assert (found.first, found.last, found.rows, found.gone) == (8, 9, RowsLost.exact(0), 2)
    assert found.ahead
    assert "nothing is on disk any more" in list(skipped_lines(found, str))[-1]


def test_good_ones_before_a_missing_segment_are_not_skipped_with_it(table: TableDirectory) -> None:
    set_applied(table, 4)
    shutil.rmtree(table.path / "wal1" / "2")
    assert _blockage(table).good_before == 3
    assert _codes(table) == ["good-behind-bad"]


def test_a_change_of_the_structure_is_not_skipped(table: TableDirectory) -> None:
    set_applied(table, 5)
    current = read_table_txn(table.path).current
    assert current is not None
    put(table.path / "_txn", current.base + 44, "<i", 1)  # the structure version at the fifth transaction
    zero_record(table, 6)
    zero_record(table, 7)
    assert "change of the table's structure" in _blockage(table).structure
    assert _codes(table) == ["structure-change-lost"]


def test_nothing_is_skipped_over_a_lag(table: TableDirectory) -> None:
    set_applied(table, 6)
    current = read_table_txn(table.path).current
    assert current is not None
    put(table.path / "_txn", current.offset_lag_txns, "<ii", 1, 3)
    zero_record(table, 8)
    assert (_queue(table).applied, _queue(table).lag_txns, _queue(table).lag_rows) == (7, 1, 3)
    assert _codes(table) == ["lag-not-zero"]


def test_what_the_server_refused_without_a_reason_on_disk_is_not_skipped(table: TableDirectory) -> None:
    set_applied(table, 7)
    assert _codes(table, stuck=8) == ["stopped-again"]
    assert _codes(table, stuck=7) == []  # that was before; it has gone on since


def test_the_statement_quotes_any_name() -> None:
    assert statement("t", None) == 'ALTER TABLE "t" RESUME WAL'
    assert statement('a"b', 5) == 'ALTER TABLE "a""b" RESUME WAL FROM TXN 5'
