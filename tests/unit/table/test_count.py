"""What check makes of the number of applied transactions alone, where no log is left."""

import pytest

from console.table.unapplied import decide
from tests.unit.sequencer.made import inventory

ONE_WAL = inventory(*((1, 0, txn) for txn in range(3)))  # rows at 0, 1000 and 2000


@pytest.mark.parametrize(("applied", "rows"), [(0, 30), (2, 10), (3, 0)])
def test_the_count_splits_the_one_wal_there_is(applied: int, rows: int) -> None:
    newest = 1000 * (applied - 1) if applied else None
    assert decide(ONE_WAL, applied, (), 0, newest).rows(ONE_WAL) == rows


@pytest.mark.parametrize(("applied", "newest"), [(3, 500), (2, None)])
def test_rows_newer_than_the_table_were_not_applied(applied: int, newest: int | None) -> None:
    """The applied ones were of a later WAL, which is purged: nothing is known, and that is not zero."""
    assert decide(ONE_WAL, applied, (), 0, newest).rows(ONE_WAL) is None
