"""Whether the rows that `_txn` counts are those of the transactions that it counts as applied.

log   1: 5 rows   2: 5 rows   3: 5 rows       all three on disk, and nothing but rows
_txn  seqTxn 2, 15 rows                       the third one is in the table already: its rows would come twice
"""

import numpy as np

from console.questdb.layout import TableDirectory
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.txn_log import TxnLog
from console.table.belonging import created_with_table
from console.table.inventory import Inventory, is_plain
from console.table.log_scan import LogScan


def rows_too_many(
    table: TableDirectory, metadata: TableMetadata, area: TxnArea, inventory: Inventory, log: TxnLog, scan: LogScan
) -> int:
    """Return how many rows `_txn` counts more than its applied transactions brought; 0 also where nothing tells.

    It tells only if each of these transactions is on disk and adds rows or changes the structure, and if the log was
    created with the table, which then was never one without WAL. Fewer rows say nothing: a transaction that was skipped
    counts as applied.
    """
    applied = (scan.seq > 0) & (scan.seq <= area.applied_txn)
    whole = scan.named_below == area.applied_txn == int(applied.sum()) + scan.structure_below
    if not whole or metadata.has_dedup or not bool(is_plain(inventory.events[applied]).all()):
        return 0
    more = area.rows + area.lag_rows - int(inventory.rows[applied].sum())
    return max(0, more) if more > 0 and created_with_table(table, log) else 0


def rows_not_there(area: TxnArea, inventory: Inventory, scan: LogScan, newest: int | None) -> int:
    """Return the rows of applied transactions that are newer than all in the table, whose newest is `newest`.

    They were skipped (RESUME WAL FROM), or `_txn` counts too many. Only the last transactions tell, those behind
    anything that may have removed rows.
    """
    plain = is_plain(inventory.events) & (scan.seq > 0) & (scan.seq <= area.applied_txn)
    last = np.unique(scan.seq[plain])[::-1]
    run = int((last == area.applied_txn - np.arange(len(last))).sum())
    newer = plain & (scan.seq > area.applied_txn - run) & (inventory.rows > 0)
    if newest is not None:
        newer &= inventory.events["max_ts"] > newest
    return int(inventory.rows[newer].sum())
