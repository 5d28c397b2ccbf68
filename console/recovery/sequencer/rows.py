"""Whether the rows of segment transactions are in the table: every column compared by value, with multiplicity.

the table has            the WAL holds                          so
(22:00, BTC, 1)          0: (22:00, BTC, 1), 1: (22:00, SOL, 2) 0 is present, 1 absent: a timestamp alone says nothing
(22:00, BTC, 1) once     wal1: that row, wal2: that row         unknown: one of the two is applied
K=2, J=1, keys (ts, sym) 0: K=2.5, J=9, 1: K=2                  unknown: an equal row does not prove that 0 is applied
K=2, keys (ts, sym)      0: K=2                                 the same: applied or not, the table is as it must be
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError, said_of
from console.recovery.sequencer.applied_prefix import Seen
from console.recovery.sequencer.compared_columns import ComparedColumns
from console.recovery.sequencer.dedup_rows import crossed_keys
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.event_rows import read_event_rows
from console.recovery.sequencer.row_look import MAX_ROWS, Asked, looked
from console.table.inventory import Index, is_plain


class RowComparison:
    """Compares events of `table` with its partitions. `possible` is False where that can say nothing, `why_not` why."""

    def __init__(self, table: TableOnDisk) -> None:
        self._table = table
        self.why_not = ""
        if table.metadata.timestamp is None:
            self.why_not = "the table has no designated timestamp, so rows cannot be compared"
        elif table.directory.is_view:
            self.why_not = "a view replaces its rows, so rows cannot be compared"

    @property
    def possible(self) -> bool:
        """Whether `look` can say anything."""
        return not self.why_not

    def look(self, events: Index, applied: Index, waiting: Index) -> NDArray[Any]:
        """Return a `Seen` for each of `events`, beside those that are surely `applied` and those surely `waiting`."""
        unknown = np.full(len(events), Seen.UNKNOWN, np.int64)
        if not len(events):
            return unknown
        if int(self._table.inventory.rows[events].sum()) > MAX_ROWS:
            self.why_not = "the rows are too many to compare"
            return unknown
        try:
            rows = TableRows(self._table.path, lag=True, txn=self._table.txn)
            compared = ComparedColumns.of(rows.metadata, rows.versions)
            asked = Asked(self._table, rows, events, applied, waiting)
            found = looked(asked, compared)
            if found.doubts:
                # Zeros, in the table or in the WAL, may be lost pages: rows that differ only by them count as equal.
                doubts = [column.name for column in compared.columns if column.index in found.doubts]
                found = looked(asked, compared.doubting(found.doubts))
                found = replace(found, why=found.why or f"zeros in {', '.join(doubts[:5])} may be a lost page")
        except (DamageError, OSError) as error:
            self.why_not = said_of(error, self._table.path)
            return unknown
        self.why_not = found.why
        return found.seen

    def shared_keys(self, events: Index) -> bool:
        """Return whether rows of different WALs among `events` could replace one another; True if it is not known."""
        table = self._table
        rows = table.inventory.events[events]
        if len(np.unique(rows["wal"][rows["end"] > rows["start"]])) < 2:
            return False
        if int(table.inventory.rows[events].sum()) > MAX_ROWS:
            return True
        try:
            content = TableRows(table.path, txn=table.txn)
            compared = ComparedColumns.of(content.metadata, content.versions)
            found = read_event_rows(table, compared, events, is_plain(rows))
        except (DamageError, OSError):
            return True
        newer = bool((rows["structure"] > table.structure).any())
        if not found.read.all():
            return True
        return len(crossed_keys(rows["wal"][found.event], found.keys, found.values, equal_too=newer)) > 0
