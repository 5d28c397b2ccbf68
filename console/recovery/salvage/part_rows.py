"""Rows of one directory of a partition, in chunks of bounded size: all columns, with what could not be read noted."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from console.questdb.column_types import ColumnTag
from console.questdb.fields import I64_MAX
from console.questdb.partition_spans import UNPARTITIONED
from console.questdb.partitioning import Partitioning
from console.questdb.row_values import FixedValues, Numbers
from console.questdb.segment_rows import Column, Rows
from console.questdb.table_metadata import TableColumn
from console.recovery.salvage.part_values import Hole, PartColumn
from console.recovery.salvage.symbol_names import SymbolNames
from console.recovery.salvage.table_picture import Part, TablePicture

CHUNK: Final = 1 << 15
"""Most rows of a chunk."""
LEAST: Final = 1 << 10
CHUNK_BYTES: Final = 24 << 20
"""About how many bytes a chunk holds at most, unless it has the least rows."""
_MOST_DOUBTS: Final = 1000


@dataclass(slots=True)
class Found:
    """What was found while the rows of a part were read. `doubts` are timestamps that are out of order or place."""

    rows: int = 0
    min_ts: int | None = None
    max_ts: int | None = None
    holes: list[Hole] = field(default_factory=list)
    doubts: list[Hole] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Reader(Protocol):
    """Rows of a part; what is noted of them as they are read goes into a `Found`."""

    columns: tuple[Column, ...]

    def chunks(self, found: Found) -> Iterator[Rows]:
        """Yield the rows in order. Raises OSError if the disk fails."""


def live_columns(picture: TablePicture) -> tuple[TableColumn, ...]:
    return tuple(column for column in picture.metadata.columns if not column.dropped)


def shown_columns(picture: TablePicture) -> tuple[Column, ...]:
    """Return the columns that a SELECT shows, as files of rows have them."""
    return tuple(
        Column(column.index, column.name, column.raw_name, column.type_code, column.type_name)
        for column in live_columns(picture)
    )


class NativeRows:
    """Rows of a native partition."""

    def __init__(self, picture: TablePicture, part: Part, names: Mapping[int, SymbolNames]) -> None:
        self.columns = shown_columns(picture)
        self._picture, self._part, self._names = picture, part, names

    def chunks(self, found: Found) -> Iterator[Rows]:
        """Yield the rows in order. Raises OSError if the disk fails."""
        picture, span = self._picture, self._part.span
        folder = picture.table / span.directory
        with ExitStack() as stack:
            readers = [
                stack.enter_context(PartColumn(folder, span, column, picture.versions, self._names.get(column.index)))
                for column in live_columns(picture)
            ]
            watch = TimeWatch(picture, self._part, found)
            at = 0
            while at < span.rows:
                end = _bounded(readers, at, min(at + CHUNK, span.rows))
                rows = Rows(at, end, tuple(reader.values(at, end) for reader in readers))
                watch.see(rows)
                yield rows
                at = end
            found.holes += [hole for reader in readers for hole in reader.holes]
            found.notes += [note for reader in readers for note in reader.notes]


def _bounded(readers: list[PartColumn], first: int, end: int) -> int:
    width = sum(reader.width for reader in readers)
    while end - first > LEAST:
        if width * (end - first) + sum(reader.bytes_of(first, end) for reader in readers) <= CHUNK_BYTES:
            break
        end = first + max(LEAST, (end - first) // 2)
    return end


class TimeWatch:
    """Notes the extent of the designated timestamps, and those that are out of order or outside of their partition."""

    def __init__(self, picture: TablePicture, part: Part, found: Found) -> None:
        timestamp = picture.metadata.timestamp
        if timestamp is not None and timestamp.tag is not ColumnTag.TIMESTAMP:
            timestamp = None  # what damage in _meta made of it tells no times
        self._found, self._name = found, timestamp.name if timestamp is not None else ""
        live = live_columns(picture)
        self._at = None if timestamp is None else [column.index for column in live].index(timestamp.index)
        partitioning = Partitioning.of(picture.metadata)
        self._last = self._low = 0 if partitioning.unit == UNPARTITIONED else part.span.start
        end = partitioning.unit_end(part.span.start) or I64_MAX
        self._high = end if part.span.end is None else min(end, part.span.end)

    def see(self, rows: Rows) -> None:
        self._found.rows += len(rows)
        if self._at is None:
            return
        column = rows.values[self._at]
        assert isinstance(column, FixedValues)  # noqa: S101 (a timestamp has fixed width)
        known = column.values[~column.null]
        if not len(known):
            return
        low, high = int(known.min()), int(known.max())
        found = self._found
        found.min_ts = low if found.min_ts is None else min(found.min_ts, low)
        found.max_ts = high if found.max_ts is None else max(found.max_ts, high)
        values = np.where(column.null, self._low, column.values)
        inside = (values >= self._low) & (values < self._high)
        reached = np.maximum.accumulate(np.concatenate([[self._last], np.where(inside, values, self._low)]))
        wrong = ~column.null & (~inside | (values < reached[:-1]))
        if wrong.any():
            self._note(np.flatnonzero(wrong) + rows.first)
        self._last = int(reached[-1])

    def _note(self, places: Numbers) -> None:
        runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
        for run in runs[: _MOST_DOUBTS - len(self._found.doubts)]:
            why = "timestamps out of order or outside of the partition"
            self._found.doubts.append(Hole(self._name, int(run[0]), len(run), why))


def symbol_names(picture: TablePicture) -> dict[int, SymbolNames]:
    counts = picture.area.symbols["count"].tolist() if picture.area is not None else []
    if len(counts) != len(picture.metadata.symbols):
        counts = [None] * len(picture.metadata.symbols)
    found = {}
    for column, count in zip(picture.metadata.symbols, counts, strict=True):
        name_txn = picture.versions.symbol_name_txn(column.index)
        if picture.versions.version is None:
            name_txn = _newest_map(picture, column)
        found[column.index] = SymbolNames(picture.table, column.raw_name, name_txn, count)
    return found


def _newest_map(picture: TablePicture, column: TableColumn) -> int:
    """Return the highest suffix of the files of a symbol map, -1 for none."""
    stem = f"{column.raw_name}.c."
    found = [path.name.removeprefix(stem) for path in picture.table.glob("*") if path.name.startswith(stem)]
    return max((int(each) for each in found if each.isascii() and each.isdigit()), default=-1)
