"""The rows of a table at given times, where there are none or a partition has the rows of the lag."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from console.questdb.partition_rows import TableRows
from console.questdb.table_txn import read_table_txn
from console.recovery.sequencer.compared_columns import ComparedColumns
from console.recovery.sequencer.table_content import read_content
from tests.data.samples import sample_database


def test_no_time_has_no_row_though_the_table_has_a_lag(tmp_path: Path) -> None:
    table = sample_database("v1", tmp_path).table("kinds")
    area = read_table_txn(table.path).current
    assert area is not None
    lagging = replace(area, lag_rows=2, transient_rows=area.transient_rows - 2)
    rows = TableRows(table.path, lag=True, txn=lagging)
    found = read_content(rows, ComparedColumns.of(rows.metadata, rows.versions), np.empty(0, np.int64))
    assert (len(found.stamps), found.why) == (0, "")
