"""Which partition a timestamp belongs to, and what its directory is called (PartitionBy, MicrosTimestampDriver).

Timestamps are microseconds or nanoseconds since the epoch, UTC, as the designated column has them.
"""

import datetime
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import is_nanos
from console.questdb.table_metadata import TableMetadata

_CALENDAR: Final = {"HOUR": "h", "DAY": "D", "MONTH": "M", "YEAR": "Y"}
_LONGEST: Final = {"HOUR": 1 / 24, "DAY": 1, "WEEK": 7, "MONTH": 31, "YEAR": 366}
"""Days of the longest unit of each kind."""
_I64_MAX: Final = (1 << 63) - 1
_MONDAY: Final = np.int64(4)  # 1970-01-05, days after the epoch
_LATEST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59


@dataclass(frozen=True, slots=True)
class Partitioning:
    """Partition unit (one of PARTITION_UNITS) and timestamp unit of one table."""

    unit: str
    nanos: bool

    @classmethod
    def of(cls, metadata: TableMetadata) -> "Partitioning":
        column = metadata.timestamp
        return cls(metadata.partition_unit or "NONE", column is not None and is_nanos(column.type_code))

    @property
    def per_second(self) -> int:
        """Units of the designated timestamp per second."""
        return 1_000_000_000 if self.nanos else 1_000_000

    def floors(self, timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the start of the partition of each timestamp, in the column's unit; 0 for an unpartitioned table.

        Negative timestamps count as 0, as for the server: a designated timestamp cannot be negative.
        """
        if self.unit == "NONE":
            return np.zeros(len(timestamps), np.int64)
        resolution = "ns" if self.nanos else "us"
        times: NDArray[Any] = np.maximum(timestamps, 0).astype(f"datetime64[{resolution}]")
        if self.unit == "WEEK":
            days = times.astype("datetime64[D]").astype(np.int64)
            floored = ((days - _MONDAY) // 7 * 7 + _MONDAY).astype("datetime64[D]")
        else:
            floored = times.astype(f"datetime64[{_CALENDAR[self.unit]}]")
        return floored.astype(f"datetime64[{resolution}]").astype(np.int64)

    def unit_end(self, start: int) -> int | None:
        """Return where the unit after that of `start` begins; None without partitions, or past the last time."""
        days = _LONGEST.get(self.unit)
        if days is None:
            return None
        floor = int(self.floors(np.array([start], np.int64))[0])
        behind = floor + int(days * 86_400 * self.per_second)
        return int(self.floors(np.array([behind], np.int64))[0]) if behind <= _I64_MAX else None

    def name(self, start: int) -> str:
        """Return the name of the partition that begins at `start`: of its directory, and in SQL.

        A split partition begins inside its unit; its name has the time too, e.g. `2024-01-01T120000-000001`.
        """
        if self.unit == "NONE":
            return "default"
        second = start // self.per_second
        if not 0 <= second <= _LATEST_SECOND:
            return str(start)
        at = np.datetime64(second, "s")
        floor = int(self.floors(np.array([start], np.int64))[0])
        if self.unit == "WEEK":
            day: datetime.datetime = np.datetime64(floor // self.per_second, "s").item()
            year, week, _ = day.isocalendar()
            name = f"{year:04d}-W{week:02d}"
            days, left = divmod(start - floor, 86_400 * self.per_second)
            return name if start == floor else f"{name}-{days + 1}{self._time(left)}"
        if start == floor:
            return str(at.astype(f"datetime64[{_CALENDAR[self.unit]}]"))
        return f"{at.astype('datetime64[D]')}{self._time(start % (86_400 * self.per_second))}"

    def names(self, starts: NDArray[np.int64]) -> list[str]:
        unit = _CALENDAR.get(self.unit)
        seconds = starts // self.per_second
        plain = (starts == self.floors(starts)) & (seconds >= 0) & (seconds <= _LATEST_SECOND)
        if unit is None or not plain.all():
            return [self.name(start) for start in starts.tolist()]
        return [str(each) for each in np.datetime_as_string(seconds.astype("datetime64[s]"), unit=unit)]  # type: ignore[call-overload]

    def unit_name(self, start: int) -> str:
        """Return the name of the whole unit that `start` is in: a partition and those split off it share it."""
        return self.name(int(self.floors(np.array([start], np.int64))[0]))

    def directory(self, start: int, name_txn: int) -> str:
        """Return the directory of the partition that begins at `start`; `name_txn` -1 means no suffix."""
        return self.name(start) + (f".{name_txn}" if name_txn > -1 else "")

    def _time(self, units: int) -> str:
        """Return the time of day in a split partition's name: as short as it can be known."""
        second, fraction = divmod(units, self.per_second)
        hour, rest = divmod(second, 3600)
        text = f"T{hour:02d}"
        if rest or fraction:
            text += f"{rest // 60:02d}{rest % 60:02d}"
        if fraction:
            text += f"-{fraction:0{9 if self.nanos else 6}d}"
        return "" if units == 0 else text
