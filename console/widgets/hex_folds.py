"""Runs of zeros folded to one line: which row of bytes stands on which line of the screen. Pure arithmetic."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from console.widgets.hex_rows import HexRows

_LEAST = 4  # rows that are worth a fold


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows `first` to `end` (exclusive), all zeros, on one line."""

    first: int
    end: int


class Folds:
    """Folds over rows. A line is what the screen shows: one row, or one fold.

    `runs` are (n, 2) offsets of zeros, ascending and apart; `kept` are offsets at which no fold may begin or go over,
    such as the end of the records that a header counts.
    """

    def __init__(self, rows: HexRows, runs: NDArray[np.int64] | None = None, kept: tuple[int, ...] = ()) -> None:
        self._rows = rows
        spans = np.empty((0, 2), np.int64) if runs is None else _rows_of(rows, _split(runs, kept))
        spans = spans[spans[:, 1] - spans[:, 0] >= _LEAST]
        self._first = spans[:, 0]
        self._end = spans[:, 1]
        self._hidden = np.cumsum(self._end - self._first - 1)  # rows hidden up to and with each fold
        self._line = self._first - np.concatenate([[0], self._hidden[:-1]]) if len(spans) else self._first

    @property
    def lines(self) -> int:
        return self._rows.count - (int(self._hidden[-1]) if len(self._hidden) else 0)

    def fold_at(self, row: int) -> Fold | None:
        at = int(np.searchsorted(self._first, row, "right")) - 1
        if at < 0 or row >= self._end[at]:
            return None
        return Fold(int(self._first[at]), int(self._end[at]))

    def line_of(self, row: int) -> int:
        at = int(np.searchsorted(self._first, row, "right")) - 1
        if at < 0:
            return row
        return int(self._line[at]) if row < self._end[at] else row - int(self._hidden[at])

    def row_of(self, line: int) -> int:
        at = int(np.searchsorted(self._line, line, "right")) - 1
        if at < 0:
            return line
        return int(self._first[at]) if line == self._line[at] else line + int(self._hidden[at])


def _split(runs: NDArray[np.int64], kept: tuple[int, ...]) -> NDArray[np.int64]:
    for offset in kept:
        at = int(np.searchsorted(runs[:, 0], offset, "left")) - 1
        if at >= 0 and runs[at, 0] < offset < runs[at, 1]:
            cut = np.array([[runs[at, 0], offset], [offset, runs[at, 1]]], np.int64)
            runs = np.concatenate([runs[:at], cut, runs[at + 1 :]])
    return runs


def _rows_of(rows: HexRows, runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows, whole records where there are any, that lie in each run as a whole; never of the header."""
    step = max(rows.per_row, rows.record)
    a_row = step // rows.per_row
    base = min(rows.base, rows.size)
    first = rows.header_rows + np.maximum(0, -(-(runs[:, 0] - base) // step)) * a_row
    end = rows.header_rows + np.maximum(0, (runs[:, 1] - base) // step) * a_row
    end = np.where(runs[:, 1] >= rows.size, rows.count, end)
    return np.stack([first, np.maximum(first, end)], axis=1)
