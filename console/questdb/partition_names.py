"""Names of partition directories, read back: which partition a directory is of, and its name txn.

`2024-01-01`, `2024-01-01T05`, `2024-01`, `2024`, `2024-W05`, `default`; a split partition has its time of day too
(`2024-01-01T120000-000001`, `2024-W05-3T12`). A suffix `.N` is the name txn (TableUtils.setPathForNativePartition).
"""

import datetime
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.partitioning import Partitioning

_NAME: Final = re.compile(
    r"(?P<year>\d{4})(?:-W(?P<week>\d\d)(?:-(?P<weekday>[1-7]))?|-(?P<month>\d\d)(?:-(?P<day>\d\d))?)?"
    r"(?:T(?P<hour>\d\d)(?:(?P<minute>\d\d)(?P<second>\d\d)(?:-(?P<fraction>\d{6}|\d{9}))?)?)?"
)
_SUFFIX: Final = re.compile(r"(?P<base>.+?)(?:\.(?P<txn>\d{1,19}))?")
_EPOCH: Final = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - partition names are UTC


def partition_of(partitioning: Partitioning, directory: str) -> tuple[int, int] | None:
    """Return where the partition of a directory begins, in the column's unit, and its name txn (-1: no suffix).

    None if the server gives no partition of such a table that name.
    """
    found = _SUFFIX.fullmatch(directory)
    if found is None:
        return None
    base, txn = found["base"], int(found["txn"] or -1)
    if partitioning.unit == "NONE":
        return (0, txn) if base == "default" else None
    start = _start(partitioning, base)
    if start is None or partitioning.name(start) != base or partitioning.directory(start, txn) != directory:
        return None
    return start, txn


def directories_of(partitioning: Partitioning, partitions: NDArray[np.void]) -> dict[str, tuple[int, int]]:
    """Return the directories that records of `_txn` name, with what `partition_of` tells of each."""
    starts, txns = partitions["timestamp"].astype(np.int64), partitions["name_txn"].tolist()
    names = partitioning.names(starts)
    return {
        name if txn < 0 else f"{name}.{txn}": (start, txn)
        for name, start, txn in zip(names, starts.tolist(), txns, strict=True)
    }


def _start(partitioning: Partitioning, base: str) -> int | None:
    found = _NAME.fullmatch(base)
    if found is None:
        return None
    number = {name: int(text) for name, text in found.groupdict().items() if text is not None}
    try:
        if "week" in number:
            day = datetime.datetime.fromisocalendar(number["year"], number["week"], number.get("weekday", 1))
        else:
            day = datetime.datetime(number["year"], number.get("month", 1), number.get("day", 1))  # noqa: DTZ001
    except ValueError:
        return None
    seconds = int((day - _EPOCH).total_seconds())
    seconds += 3600 * number.get("hour", 0) + 60 * number.get("minute", 0) + number.get("second", 0)
    fraction = found["fraction"] or ""
    if fraction and len(fraction) != (9 if partitioning.nanos else 6):
        return None
    return seconds * partitioning.per_second + number.get("fraction", 0)
