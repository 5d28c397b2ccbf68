"""Partitions that a transaction of the log removed, and whose directories are on disk all the same.

QuestDB deletes a dropped partition once no reader uses it. A crash before that leaves its directory, which `_txn` does
not name any more; a `_txn` that is made again from the directories takes it in.

    transaction  1 rows of 01, 02    2 DROP PARTITION LIST '01'    3 rows of 02
    on disk      01  02                                            so the rows of 01 are in the table again
"""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from console.questdb.partition_spans import UNPARTITIONED
from console.questdb.segment import EventType
from console.recovery.sequencer.disk import TableOnDisk, own_names
from console.recovery.table_repair.applied import statement_of
from console.recovery.table_repair.disk import Disk
from console.table.inventory import carries_rows
from console.text import clean_line, plural

_DROP: Final = re.compile(
    r"ALTER\s+TABLE\s+.+\sDROP\s+PARTITION\s+(LIST\s+(?P<names>.*?)|WHERE\s.*);?", re.I | re.DOTALL
)
_NAME: Final = re.compile(r"'([^']*)'")


def removed_and_there(disk: Disk, table: TableOnDisk, seq_txn: int) -> Iterator[str]:
    """Yield how many rows are there that a transaction up to `seq_txn` with WAL on disk may have removed.

    The rows that later transactions with WAL on disk brought into the same unit of time are not among them. `WHERE` is
    not carried out: it can have removed any partition.
    """
    naming, inventory = disk.found.partitioning, table.inventory
    if naming.unit == UNPARTITIONED or not disk.metadata.wal:
        return
    names = own_names(table)
    events, seq = inventory.events, names.seq
    applied = (seq > 0) & (seq <= seq_txn)
    starts = np.array([each.start for each in disk.found.partitions], np.int64)
    units = [naming.unit_name(int(start)) for start in starts.tolist()]
    floors = naming.floors(events["min_ts"].astype(np.int64))
    for at in np.flatnonzero(applied & np.isin(events["type"], (EventType.SQL, EventType.TRUNCATE))).tolist():
        text = "TRUNCATE TABLE" if events["type"][at] == EventType.TRUNCATE else statement_of(table, at)
        drop = _DROP.fullmatch(text)
        if drop is None and events["type"][at] != EventType.TRUNCATE:
            continue
        listed = None if drop is None or drop["names"] is None else set(_NAME.findall(drop["names"]))
        there = [p for p, unit in zip(disk.found.partitions, units, strict=True) if listed is None or unit in listed]
        later = applied & carries_rows(events) & (seq > seq[at])
        later &= np.isin(floors, naming.floors(np.array([each.start for each in there], np.int64)))
        rows = sum(each.rows for each in there) - int(inventory.rows[later].sum())
        if rows > 0:
            count = f"up to {plural(rows, 'row')}" if listed is None else plural(rows, "row")
            yield (
                f"{count} on disk may be what transaction {int(seq[at]):,} removed ({clean_line(text, 80)}), or came "
                "later: they will be in the table"
            )
