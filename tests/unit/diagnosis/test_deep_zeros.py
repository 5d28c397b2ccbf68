"""Columns that are zeros throughout a partition: zero is a symbol like any other, and the first of each map."""

from pathlib import Path

import pytest

from console.diagnosis.deep_zeros import Share, zero_columns
from console.questdb.column_types import ColumnTag
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_spans import PartitionSpan
from console.questdb.table_metadata import TableColumn


def _shares(tag: ColumnTag, *shares: float) -> list[Share]:
    column = TableColumn(1, "s", "s", int(tag), False, False, True, False, 256, None)
    spans = [PartitionSpan(str(day), str(day), day, day + 1, 200, None) for day in range(len(shares))]
    stored = [StoredColumn(span, column, Path("s.d"), Path("s.i"), 200, -1) for span in spans]
    return [Share(each, share) for each, share in zip(stored, shares, strict=True)]


@pytest.mark.parametrize(
    ("tag", "shares", "suspect"),
    [
        (ColumnTag.SYMBOL, (0.2, 1.0, 0.2), ["1"]),
        (ColumnTag.SYMBOL, (0.2, 1.0, 0.9), []),  # the first symbol is common
        (ColumnTag.SYMBOL, (1.0, 1.0, 0.0), []),  # it came first, and left
        (ColumnTag.SYMBOL, (1.0, 1.0, 0.2), []),  # more rows have nothing else
        (ColumnTag.LONG, (0.2, 1.0, 0.2), []),
        (ColumnTag.LONG, (0.0, 1.0, 0.0), ["1"]),
    ],
)
def test_zeros_are_suspect_where_the_other_partitions_have_few(
    tag: ColumnTag, shares: tuple[float, ...], suspect: list[str]
) -> None:
    assert [each.span.name for each in zero_columns({1: _shares(tag, *shares)})] == suspect
