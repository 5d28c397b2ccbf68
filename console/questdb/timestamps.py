"""How many rows a partition has, by its designated timestamps: the leading ones that rise and lie in the partition.

A file is longer than its rows: whole pages of zeros behind them, or what an earlier write left, such as rows of the lag
that went to other partitions. Its length is never the count.

    in the partition   08:00 08:05 09:10 09:10 | 0 0 0              4 rows
                       08:00 08:05 09:10       | 07:30 next day     3 rows: the server keeps no such order
                       08:00 08:05             | 0 0 09:10 09:30    not known: a page is torn
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from console.questdb.reading import DbFile

_CHUNK: Final = 1 << 18
_WIDTH: Final = 8


@dataclass(frozen=True, slots=True)
class TimestampRun:
    """`rows` timestamps from `first` to `last`; both are None without rows.

    `clean`: only zeros are behind them. `proven`: nothing behind them can be a row, nor the last one be left over.
    `continued` counts the timestamps behind that still rise but lie at or behind the end that was given.
    """

    rows: int
    first: int | None
    last: int | None
    clean: bool
    proven: bool
    continued: int


def timestamp_run(file: DbFile, start: int, end: int, unit_end: int) -> TimestampRun:
    """Return the run of timestamps in `start` … `end` - 1 (units of the column) at the beginning of a column file.

    `unit_end` is where the whole unit ends: a partition that was split keeps the rows behind the split in its file.
    Raises OSError if the file cannot be read.
    """
    rows, first, last = _run(file, 0, start, end, start)
    behind, _, _ = _run(file, rows, end, unit_end, end) if end < unit_end else (0, None, None)
    clean, later = _behind(file, rows + behind, end if last is None else last, end)
    twice = rows > 1 and len(set(file.array(_WIDTH * (rows - 2), "<i8", 2).tolist())) == 1
    # What the lag left behind can be taken for a row only if it has the very time of the last one.
    return TimestampRun(rows, first, last, clean, clean or not (later or twice), behind)


def rising_rows(file: DbFile, at: int, least: int, end: int) -> int:
    """Return how many values from row `at` on rise from `least` and lie below `end`. Raises OSError."""
    following = file.array(at * _WIDTH, "<i8", 1).tolist()  # mostly a zero, with pages of them behind it
    return _run(file, at, least, end, least)[0] if any(least <= value < end for value in following) else 0


def _run(file: DbFile, at: int, low: int, high: int, least: int) -> tuple[int, int | None, int | None]:
    """Return how many values from row `at` on rise from `least` and lie in `low` … `high` - 1, the first and last."""
    first = last = None
    count = 0
    while True:
        values = file.array((at + count) * _WIDTH, "<i8", _CHUNK)
        if not len(values):
            break
        before = np.concatenate(([least if last is None else last], values[:-1]))
        wrong = np.flatnonzero((values < before) | (values < low) | (values >= high))
        good = int(wrong[0]) if len(wrong) else len(values)
        if good:
            first = int(values[0]) if first is None else first
            last = int(values[good - 1])
            count += good
        if good < len(values):
            break
    if low <= 0 and last == 0:  # zeros of a partition of 1970 and zeros that nobody wrote look the same
        return 0, None, None
    return count, first, last


def _behind(file: DbFile, row: int, last: int, end: int) -> tuple[bool, bool]:
    """Return whether only zeros follow from `row` on, and whether a time between `last` and `end` does."""
    clean, later, at = True, False, row * _WIDTH
    while at < file.size and not later:
        at = max(at, file.next_data(at)) // _WIDTH * _WIDTH
        values = file.array(at, "<i8", _CHUNK)
        if not len(values):
            break
        clean &= not values.any()
        later = bool(((values > last) & (values < end)).any())
        at += len(values) * _WIDTH
    return clean, later
