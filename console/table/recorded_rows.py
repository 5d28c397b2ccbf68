"""Segments whose transactions are not those that the records of a V2 log describe: rows, and their timestamps.

record of wal2/0 transaction 1: 15 rows, 10:00 to 10:05      event: 15 rows, 10:00 to 10:05     may be the table's
                                                             event: 15 rows, 11:40 to 11:45     is not
"""

from typing import Final

import numpy as np

from console.questdb.segment import EventType
from console.table.inventory import Inventory
from console.table.log_scan import LogScan
from console.table.segment_times import Address
from console.text import plural

_CHUNK: Final = 1 << 14


def contradicted(inventory: Inventory, scan: LogScan) -> dict[Address, str]:
    """Return why segments, by (wal, segment), are not what unapplied records of a log name; empty for a V1 log.

    Raises OSError if the log cannot be read.
    """
    found: dict[Address, str] = {}
    named = scan.named.at(scan.believed)
    if not scan.log.v2 or not len(named):
        return found
    first, last = int(named.number.min()), int(named.number.max())
    for at, records in scan.log.chunks(_CHUNK, first=first, last=last):
        mine = (named.number >= at) & (named.number < at + len(records))
        record, event = records[named.number[mine] - at], inventory.events[named.event[mine]]
        told = (event["type"] == EventType.DATA) & (record["row_count"] > 0)
        same = record["row_count"] == event["end"] - event["start"]
        same &= (record["min_ts"] == event["min_ts"]) & (record["max_ts"] == event["max_ts"])
        for place in np.flatnonzero(told & ~same).tolist():
            rows, counted = int(event["end"][place] - event["start"][place]), int(record["row_count"][place])
            why = f"has {plural(rows, 'row')} in transaction {int(event['txn'][place]):,}, its record {counted:,}"
            if rows == counted:
                why += ", of other timestamps"
            found.setdefault((int(event["wal"][place]), int(event["segment"][place])), why)
    return found
