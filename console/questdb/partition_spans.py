"""The partitions that `_txn` names: their rows, their directories, and whether its own numbers agree."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from console.questdb.partitioning import Partitioning
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea

UNPARTITIONED: Final = "NONE"


@dataclass(frozen=True, slots=True)
class PartitionSpan:
    """A partition as `_txn` names it: `rows` with those of the lag; `end` is where the next one begins (None: last)."""

    name: str
    directory: str
    start: int
    end: int | None
    rows: int
    parquet_size: int | None  # bytes of data.parquet, None for a native partition

    @property
    def last(self) -> bool:
        """Return whether it is the last partition, to which the next rows in order go."""
        return self.end is None


def spans_of(area: TxnArea, metadata: TableMetadata) -> tuple[PartitionSpan, ...]:
    """Return the partitions that `_txn` names and that hold rows, in order of time."""
    partitioning = Partitioning.of(metadata)
    if partitioning.unit == UNPARTITIONED:
        count = area.transient_rows + area.lag_rows
        return (PartitionSpan("default", "default", 0, None, count, None),) if count else ()
    starts = area.partitions["timestamp"].astype(np.int64)
    rows = area.partitions["rows"].astype(np.int64).copy()
    if len(rows):
        rows[-1] += area.lag_rows
    return tuple(
        PartitionSpan(
            name=partitioning.name(int(starts[index])),
            directory=partitioning.directory(int(starts[index]), int(area.partitions["name_txn"][index])),
            start=int(starts[index]),
            end=int(starts[index + 1]) if index + 1 < len(starts) else None,
            rows=int(rows[index]),
            parquet_size=int(area.partitions["parquet_size"][index]) if area.partitions["parquet"][index] else None,
        )
        for index in np.flatnonzero(rows).tolist()
    )


def contradiction(area: TxnArea, metadata: TableMetadata) -> str:
    """Return how the partition table of `_txn` contradicts its own row counts, empty where it does not."""
    if Partitioning.of(metadata).unit == UNPARTITIONED:
        return ""
    starts, rows = area.partitions["timestamp"].astype(np.int64), area.partitions["rows"].astype(np.int64)
    unordered = np.flatnonzero(starts[1:] <= starts[:-1])
    if len(unordered):
        return f"partition {int(unordered[0]) + 2} of {len(starts)} does not begin after the one before it"
    if len(starts) and area.rows and not starts[0] and Partitioning.of(metadata).floors(np.array([area.min_ts]))[0] > 0:
        return "its first partition begins in 1970, and its oldest row is later: the partition table is lost"
    listed = int(rows[:-1].sum())
    if listed != area.fixed_rows:
        return f"its partitions but the last have {listed:,} rows, and it counts {area.fixed_rows:,}"
    if not len(rows) and area.transient_rows:
        return f"it counts {area.transient_rows:,} rows and names no partition"
    if len(rows) and area.rows and area.min_ts > area.max_ts:
        return f"it counts {area.rows:,} rows, whose oldest timestamp is newer than the newest"
    return ""
