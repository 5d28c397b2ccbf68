"""The symbols that `_txn` counts, against the columns of `_meta` and the keys that rows use."""

from console.diagnosis.model import Code, Severity, Verdict
from console.questdb.layout import TableDirectory
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import read_table_txn
from tests.unit.diagnosis.conftest import Diagnose, put
from tests.unit.diagnosis.test_findings import only


def test_symbol_columns_that_txn_does_not_count(altered: TableDirectory, diagnosed: Diagnose) -> None:
    """A `_meta` of the same version with a symbol column less: the counts of `_txn` are of other columns then."""
    metadata = read_table_metadata(altered.path)
    assert isinstance(metadata, TableMetadata)
    put(altered.path / "_meta", 128 + 32 * metadata.symbols[0].index, "<i", -metadata.symbols[0].type_code)
    found = next(finding for finding in diagnosed().findings if finding.code is Code.TABLE_FILES_DISAGREE)
    assert (found.severity, found.file) == (Severity.DAMAGE, f"{altered.directory}/_meta")


def test_a_symbol_that_txn_does_not_count_and_rows_use_is_damage(altered: TableDirectory, diagnosed: Diagnose) -> None:
    txn = read_table_txn(altered.path)
    area = txn.current
    assert area is not None
    count = int(area.symbols["count"][0])
    put(altered.path / "_txn", area.base + 132, "<i", count - 1)
    report = diagnosed()
    assert (only(report, Code.TABLE_TXN_MISCOUNTED).file or "").endswith("_txn")
    assert report.verdict is Verdict.BROKEN
