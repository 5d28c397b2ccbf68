"""Rows of a table as SELECT shows them, where its own files contradict each other."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.questdb.column_types import ColumnTag
from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError
from tests.data.samples import sample_database
from tests.property.readers import ALTERED


def test_a_symbol_column_that_txn_does_not_count(tmp_path: Path) -> None:
    """`_meta` of a later structure version than `_txn`: the column's dictionary cannot be known."""
    sample_database("v2", tmp_path)
    table = TableRows(tmp_path / "db" / ALTERED)
    symbol = next(column for column in table.columns if column.tag is ColumnTag.SYMBOL)
    assert [len(values) for _, values in table.chunks(table.partitions[0], symbol)] == [table.partitions[0].rows]
    behind = TableRows(tmp_path / "db" / ALTERED)
    behind.txn = replace(behind.txn, symbols=behind.txn.symbols[:0])
    with pytest.raises(DamageError, match="_txn counts 0 symbol columns, and column sym is one more"):
        list(behind.chunks(behind.partitions[0], symbol))
