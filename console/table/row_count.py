"""Whether the rows that `_txn` counts are those of the transactions that it counts as applied.

log   1: 5 rows   2: 5 rows   3: 5 rows       all three on disk, and nothing but rows
_txn  seqTxn 2, 15 rows                       the third one is in the table already: its rows would come twice
"""

from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_versions import read_column_versions
from console.questdb.layout import TableDirectory
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.txn_log import TxnLog
from console.table.belonging import created_with_table
from console.table.inventory import Inventory, Mask, is_plain
from console.table.log_scan import LogScan

_MOST: Final = 4096
"""Transactions whose timestamps are looked up, if the last ones are not there."""
_RECENT: Final = 512
"""Of the last ones each is looked up, also behind one that is there: a single one may have been skipped."""


_WIDTH = 8


class HeldTimes:
    """The timestamps of the rows that `area` counts, those of the lag left out."""

    def __init__(self, table: Path, area: TxnArea, metadata: TableMetadata) -> None:
        self._files = PartitionFiles(table, area, metadata, read_column_versions(table))
        self._lag = area.lag_rows

    def holds(self, time: int) -> bool | None:
        """Return whether a row has the timestamp `time` (units of the column); None if a file does not tell."""
        span = next((each for each in reversed(self._files.spans) if each.start <= time), None)
        if span is None or (span.end is not None and time >= span.end):
            return False
        if span.parquet_size is not None:
            return None
        try:
            return self._found(span, time)
        except (DamageError, OSError):
            return None

    def _found(self, span: PartitionSpan, time: int) -> bool | None:
        column = self._files.timestamp(span)
        if column is None:
            return None
        low = 0
        high = rows = span.rows - (self._lag if span.last else 0)
        with DbFile(column.data) as file:
            least, most = _at(file, 0), _at(file, rows - 1)
            if least < span.start or most < least:
                return None  # timestamps are lost: the file tells nothing
            while low < high:
                middle = (low + high) // 2
                value = _at(file, middle)
                if not least <= value <= most:
                    return None
                if value < time:
                    low, least = middle + 1, value
                else:
                    high, most = middle, value
            return low < rows and _at(file, low) == time


def _at(file: DbFile, row: int) -> int:
    value = file.array(row * _WIDTH, "<i8", 1)
    if not len(value):
        raise DamageError("it ends before its rows", row * _WIDTH)
    return int(value[0])


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


def rows_not_there(
    table: TableDirectory,
    metadata: TableMetadata,
    area: TxnArea,
    inventory: Inventory,
    scan: LogScan,
    newest: int | None,
) -> Mask:
    """Return which applied transactions have no row in the table, whose newest timestamp is `newest`.

    They were skipped (RESUME WAL FROM), or `_txn` counts too many. Only the last transactions tell, those behind
    anything that may have removed rows. They are newer than all in the table, or it has none of their timestamps. A log
    with records that are lost, or that names transactions twice, says too little: its WAL may have been made anew.
    """
    if scan.zeroed or scan.below_missing or scan.repeated.count or bool(scan.replayed.any()):
        return np.zeros(len(inventory), np.bool_)
    plain = is_plain(inventory.events) & (scan.seq > 0) & (scan.seq <= area.applied_txn)
    last = np.unique(scan.seq[plain])[::-1]
    run = int((last == area.applied_txn - np.arange(len(last))).sum())
    lasting = plain & (scan.seq > area.applied_txn - run) & (inventory.rows > 0)
    newer = lasting & (inventory.events["max_ts"] > newest) if newest is not None else lasting
    if newest is not None and not metadata.ttl:
        newer |= _without_times(HeldTimes(table.path, area, metadata), inventory, scan, lasting & ~newer, area)
    return np.asarray(newer)


def skipped(area: TxnArea, other: TxnArea | None, inventory: Inventory, scan: LogScan, absent: Mask) -> bool:
    """Return whether the server itself went past the transactions `absent`, as RESUME WAL FROM TXN has it do.

    It did if rows of a later one are there. The area before says so too: the first of them was the next to be applied,
    and every row there is was there.
    """
    here = (scan.seq > 0) & (scan.seq <= area.seq_txn) & (inventory.rows > 0) & ~absent
    if scan.seq[here].max(initial=0) > scan.seq[absent].max():
        return True
    first = int(scan.seq[absent].min())
    if other is None or other.applied_txn + 1 != first or other.txn + 1 != area.txn:
        return False
    return (other.rows, other.lag_rows) == (area.rows, area.lag_rows)


def _without_times(held: HeldTimes, inventory: Inventory, scan: LogScan, among: Mask, area: TxnArea) -> Mask:
    """Return which of the events the table has no row of the time of: the recent ones, and from the last one back.

    What is in the lag is in no partition yet.
    """
    absent = np.zeros(len(inventory), np.bool_)
    places = np.flatnonzero(among & (scan.seq <= area.seq_txn))
    most = _MOST
    for number, place in enumerate(places[np.argsort(-scan.seq[places])].tolist()):
        if number >= most:
            break
        event = inventory.events[place]
        if all(held.holds(int(event[name])) is not False for name in ("min_ts", "max_ts")):
            most = _RECENT if not area.truncate_version else 0  # FORCE DROP PARTITION leaves no transaction
        else:
            absent[place] = True
    return absent


def structure_behind(area: TxnArea, scan: LogScan) -> bool:
    """Return whether more structure changes have records among the applied transactions than the table has made.

    A record of rows can have a later version than that: of an ALTER that was cut off before its own record counted.
    """
    return scan.max_txn >= area.applied_txn and scan.structure_below > area.structure_version
