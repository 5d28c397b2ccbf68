"""A `_txn` whose own checksum contradicts its seqTxn."""

import pytest

from console.diagnosis.model import Code, Harm, Severity
from console.questdb.layout import TableDirectory
from console.questdb.table_txn import read_table_txn
from tests.txn_file import put_seq_txn
from tests.unit.diagnosis.conftest import Diagnose, put


@pytest.mark.parametrize("seq_txn", [0, 5, 8])
def test_a_seq_txn_that_its_checksum_contradicts(altered: TableDirectory, diagnosed: Diagnose, seq_txn: int) -> None:
    current = read_table_txn(altered.path).current
    assert current is not None
    put(altered.path / "_txn", current.offset_seq_txn, "<q", seq_txn)
    report = diagnosed()
    found = next(f for f in report.findings if f.code is Code.TABLE_TXN_MISCOUNTED)
    assert (found.severity, found.offset, found.start) == (Severity.DAMAGE, current.offset_seq_txn, Harm.MISAPPLIES)
    assert f"it fits seqTxn {current.seq_txn}" in found.message
    assert (report.rows_unapplied, report.next_step.action, report.can_read) == (None, "repair-table-state", True)
    put_seq_txn(altered.path, seq_txn)
    assert not diagnosed().has(Code.TABLE_TXN_MISCOUNTED)
