"""Zeros that a power loss may have left in WAL columns: rows that differ by them alone count as equal."""

import numpy as np

from console.questdb.column_files import column_path
from console.questdb.column_types import storage_size
from console.questdb.reading import DamageError, DbFile
from console.questdb.zero_pages import may_be_lost
from console.recovery.sequencer.compared_columns import ComparedColumns, joined_columns
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.event_rows import EventRows
from console.table.inventory import Index, Mask


def zeroed_columns(
    table: TableOnDisk, compared: ComparedColumns, events: Index, rows: EventRows, among: Mask
) -> dict[int, Index]:
    """Return the columns with sectors of zeros under the rows of those `events` that are `among`, by index.

    Each has the partitions (by start) of these rows. `rows` are those of all `events`.
    """
    found: dict[int, Index] = {}
    floors = compared.partitioning.floors(rows.stamps)
    for at in np.flatnonzero(among).tolist():
        event = table.inventory.events[events[at]]
        segment = table.segments[int(event["wal"]), int(event["segment"])]
        span, end = (int(event["start"]), int(event["end"])), int(segment.events["end_row"].max())
        mine = np.unique(floors[rows.event == at])
        for column in compared.columns:
            size = storage_size(column.type_code)
            if not size or column.index == table.metadata.timestamp_index:
                continue
            try:
                with DbFile(column_path(segment.path, column.raw_name, "d")) as file:
                    lost = may_be_lost(file, size, span, end)
            except (DamageError, OSError):
                continue  # a column that was added later
            if lost:
                found = joined_columns(found, {column.index: mine})
    return found
