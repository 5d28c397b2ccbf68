"""Which partition a timestamp belongs to, and what the partition is called (PartitionBy.java), by numpy."""

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import is_nanos
from console.questdb.table_metadata import TableMetadata

_CALENDAR = {"HOUR": "h", "DAY": "D", "MONTH": "M", "YEAR": "Y"}
_MONDAY = np.int64(4)  # 1970-01-05, days after the epoch


@dataclass(frozen=True, slots=True)
class Partitioning:
    """Partition unit and timestamp unit of one table."""

    unit: str  # one of PARTITION_UNITS
    nanos: bool

    @classmethod
    def of(cls, metadata: TableMetadata) -> "Partitioning":
        """Return the partitioning that a table's `_meta` gives."""
        column = metadata.timestamp
        return cls(metadata.partition_unit or "NONE", column is not None and is_nanos(column.type_code))

    @property
    def per_second(self) -> int:
        """Units of the designated timestamp per second."""
        return 1_000_000_000 if self.nanos else 1_000_000

    def floors(self, timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the start of the partition of each timestamp, in the column's unit; 0 for an unpartitioned table."""
        if self.unit == "NONE":
            return np.zeros(len(timestamps), np.int64)
        resolution = "ns" if self.nanos else "us"
        times: NDArray[Any] = timestamps.astype(f"datetime64[{resolution}]")
        if self.unit == "WEEK":
            days = times.astype("datetime64[D]").astype(np.int64)
            weeks = (days - _MONDAY) // 7 * 7 + _MONDAY
            floored = weeks.astype("datetime64[D]")
        else:
            floored = times.astype(f"datetime64[{_CALENDAR[self.unit]}]")
        return floored.astype(f"datetime64[{resolution}]").astype(np.int64)

    def name(self, start: int) -> str:
        """Return the name of the partition that begins at `start`, as directory and SQL have it."""
        if self.unit == "NONE":
            return "default"
        at = np.datetime64(start // self.per_second, "s")
        if self.unit == "WEEK":
            day: datetime.datetime = at.item()
            year, week, _ = day.isocalendar()
            return f"{year:04d}-W{week:02d}"
        return str(at.astype(f"datetime64[{_CALENDAR[self.unit]}]"))
