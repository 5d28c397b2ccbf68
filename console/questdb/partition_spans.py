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

    def name_txn(self, directory: str | None = None) -> int:
        """Return the suffix of its directory, or of another one of the same partition; -1 for none."""
        suffix = (directory or self.directory).removeprefix(self.name).removeprefix(".")
        return int(suffix) if suffix.isdecimal() else -1


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
    held = np.flatnonzero(rows)
    ends = [*starts[1:].tolist(), None]
    parquet, sizes = area.partitions["parquet"].tolist(), area.partitions["parquet_size"].tolist()
    suffixes = area.partitions["name_txn"].tolist()
    return tuple(
        PartitionSpan(
            name=name,
            directory=name if suffixes[index] < 0 else f"{name}.{suffixes[index]}",
            start=start,
            end=ends[index],
            rows=count,
            parquet_size=sizes[index] if parquet[index] else None,
        )
        for index, name, start, count in zip(
            held.tolist(), partitioning.names(starts[held]), starts[held].tolist(), rows[held].tolist(), strict=True
        )
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
