"""What the partitions that unapplied rows touch hold, value by value, as sums over hashes: predicted, and on disk.

A sum over the hashes of a column's values changes with every value that is lost, doubled, zeroed or changed, and not
with their order. It can be known before a server starts: of the rows in the table now, and of those that the log names.

    table now      BTC 1, ETH 2          predicted          h(BTC) + h(ETH) + h(SOL)
    log, to come   SOL 3                 found, one zeroed  h(BTC) + h(ETH) + h("")
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from console.questdb.column_files import partition_path
from console.questdb.layout import TableDirectory
from console.questdb.partition_rows import CHUNK, Partition, TableRows
from console.questdb.reading import DamageError
from console.questdb.row_values import FixedValues, nulls
from console.questdb.segment import Segment
from console.questdb.segment_rows import SegmentRows
from console.questdb.time_to_live import outlived
from console.questdb.txn_log import read_log
from console.recovery.server.expectation import segment_timestamps, to_come
from console.recovery.server.value_sums import Collected, TableSums

MOST_BYTES: Final = 256 << 20
"""Bytes of partitions and segments that are read at most for one table: the rest is named, and not compared."""
_ABOUT: Final = 16  # bytes of a value in a segment
_MOST_TURNS: Final = 2_000


def predicted_sums(
    table: TableDirectory,
    *,
    first: int | None = None,
    last: int | None = None,
    also: frozenset[str] | None = frozenset(),
) -> TableSums:
    """Return what the partitions that unapplied transactions touch will hold, before a server applies them.

    `first` and `last` bound the transactions, as for `expectation_of`. The last partition is among them in any case,
    and so are the directories of partitions that `also` names; None: all of them.
    Raises DamageError, OSError where the table cannot be read, ExpectationError where its log does not say what comes.
    """
    rows = TableRows(table.path)
    changes, why = _changes(table, rows, first, last)
    touched: dict[int, int] = {}  # bytes to be read, by start
    for change in changes:
        for start, share in change.shares(rows).items():
            touched[start] = touched.get(start, 0) + share
    if rows.partitions:
        touched.setdefault(rows.partitions[-1].start, 0)
    for partition in rows.partitions:
        folders = {partition_path(rows.table, rows.partitioning, part.record).name for part in partition.parts}
        if also is None or folders & also:
            touched.setdefault(partition.start, 0)
    base = {partition.start: partition for partition in rows.partitions}
    open_ = dict.fromkeys(touched, why) if why else _too_large(rows, base, touched)
    if changes:
        newest = max(rows.partitioning.unit_end(start) or start for start in touched)
        for start in outlived(rows.metadata, touched, newest):
            open_.setdefault(start, "the TTL of the table may remove it")
    collected = {start: Collected(rows.columns) for start in touched if start not in open_}
    keyed = rows.metadata.has_dedup and bool(changes)
    try:
        for keys_only in (True, False) if keyed else (False,):
            open_.update(_collect(rows, changes, collected, keys_only=keys_only))
    except DamageError as damage:
        open_.update(dict.fromkeys(collected, damage.what))
        collected = {}
    partitions = tuple(
        collected[start].sums(start, rows.partitioning.name(start), rows.columns) for start in sorted(collected)
    )
    return TableSums(table.directory, _types(rows), partitions, open_)


def _collect(
    rows: TableRows, changes: Sequence["_Change"], collected: dict[int, Collected], *, keys_only: bool
) -> dict[int, str]:
    """Add all rows. Return the partitions that are left open, and why; they are taken out of `collected`."""
    open_: dict[int, str] = {}
    for partition in rows.partitions:
        if partition.start in collected:
            try:
                _collect_partition(rows, partition, collected[partition.start], keys_only=keys_only)
            except DamageError as damage:
                open_[partition.start] = damage.what
    for change in changes:
        change.collect(rows, collected, keys_only=keys_only)
    for start, each in collected.items() if keys_only else ():
        if doubled := each.decide():
            open_.setdefault(start, doubled)
    for start in open_:
        del collected[start]
    return open_


def sums_now(table: TableDirectory, starts: Sequence[int]) -> TableSums:
    """Return what partitions hold now, as their files say. Raises DamageError, OSError."""
    rows = TableRows(table.path)
    found = []
    for partition in rows.partitions:
        if partition.start in starts and not partition.parquet:
            collected = Collected(rows.columns)
            _collect_partition(rows, partition, collected, keys_only=False)
            found.append(collected.sums(partition.start, rows.partitioning.name(partition.start), rows.columns))
    return TableSums(table.directory, _types(rows), tuple(found), {})


def _types(rows: TableRows) -> dict[str, int]:
    return {column.raw_name: column.type_code for column in rows.columns}


def _too_large(rows: TableRows, base: Mapping[int, Partition], touched: Mapping[int, int]) -> dict[int, str]:
    """Return which partitions are not compared, and why: the smallest come first until the bound is reached."""
    found: dict[int, str] = {}
    sizes = {start: share + _size(rows, base.get(start)) for start, share in touched.items()}
    left = MOST_BYTES
    for start in sorted(sizes, key=lambda each: sizes[each]):
        if start in base and base[start].parquet:
            found[start] = "it is in Parquet"
        elif sizes[start] > left:
            found[start] = f"it has {sizes[start]:,} bytes, more than is compared"
        else:
            left -= sizes[start]
    return found


def _size(rows: TableRows, partition: Partition | None) -> int:
    total = 0
    for part in partition.parts if partition is not None else ():
        with contextlib.suppress(OSError):
            folder = partition_path(rows.table, rows.partitioning, part.record)
            total += sum(file.lstat().st_size for file in folder.iterdir())
    return total


def _collect_partition(rows: TableRows, partition: Partition, into: Collected, *, keys_only: bool) -> None:
    wanted = [column for column in rows.columns if column.dedup_key or not keys_only]
    for at in range(0, partition.rows, CHUNK):
        end = min(at + CHUNK, partition.rows)
        values = {column.raw_name: rows.values(partition, column, at, end) for column in wanted}
        into.take(values, end - at, None, keys_only=keys_only, old=True)


@dataclass(frozen=True, slots=True)
class _Change:
    """Rows of transactions that follow one another: spans of one segment."""

    segment: Segment
    table: TableDirectory
    spans: tuple[tuple[int, int], ...]

    def shares(self, rows: TableRows) -> dict[int, int]:
        """Return about how many bytes of it go to which partition."""
        found: dict[int, int] = {}
        for low, high in self.spans:
            stamps = segment_timestamps(self.segment, low, high, rows.metadata)
            starts, many = np.unique(rows.partitioning.floors(stamps), return_counts=True)
            for start, count in zip(starts.tolist(), many.tolist(), strict=True):
                found[start] = found.get(start, 0) + count * _ABOUT * len(rows.columns)
        return found

    def collect(self, rows: TableRows, collected: Mapping[int, Collected], *, keys_only: bool) -> None:
        with SegmentRows(self.segment, self.table.path) as source:
            for chunk in source.chunks(self.spans):
                stamps, count = chunk.values[source.designated], len(chunk)
                assert isinstance(stamps, FixedValues)  # noqa: S101 (a timestamp has fixed width)
                here = {column.raw_name: v for column, v in zip(source.columns, chunk.values, strict=True)}
                full = {c.raw_name: here.get(c.raw_name, nulls(c.type_code, count)) for c in rows.columns}
                floors = rows.partitioning.floors(stamps.values.astype(np.int64))
                for start in np.unique(floors).tolist():
                    if start in collected:
                        collected[start].take(full, count, floors == start, keys_only=keys_only, old=False)
            if source.problems or source.unresolved:
                raise DamageError(f"columns of {self.segment.path.parent.name}/{self.segment.path.name} cannot be read")


def _changes(table: TableDirectory, rows: TableRows, first: int | None, last: int | None) -> tuple[list[_Change], str]:
    """Return the transactions to come, those of the lag first, and why they do not simply add up (empty: they do).

    Under dedup they are in order. Else the order means nothing, and each segment comes once.
    """
    log = read_log(table.sequencer)
    logged = log.max_txn or 0
    applied = max(rows.txn.applied_txn, (first or 0) - 1)
    logged = logged if last is None else min(logged, last)
    if logged <= applied:
        return [], ""  # with nothing behind it the lag stays as it is
    begin = rows.txn.seq_txn if rows.txn.lag_rows and first is None else applied
    records = log.records(begin + 1, logged)
    reasons = [] if len(records) == logged - begin else ["the log does not name all of them"]
    spans = _Spans(in_order=rows.metadata.has_dedup)
    for why, segment, low, high in to_come(table, records, dedup=rows.metadata.has_dedup):
        reasons += [why] if why else []
        if segment is not None:
            spans.add(segment, low, high)
    if len(spans.turns) > _MOST_TURNS:
        reasons.append("writers take turns too often for their rows to be followed one by one")
    return [_Change(segment, table, tuple(each)) for segment, each in spans.turns], next(iter(reasons), "")


@dataclass(slots=True)
class _Spans:
    """Rows of segments to come, spans that touch put together: a turn for each change of segment if `in_order`, else
    one for each segment."""

    in_order: bool
    turns: list[tuple[Segment, list[tuple[int, int]]]] = field(default_factory=list)

    def add(self, segment: Segment, low: int, high: int) -> None:
        """Add rows `low` (inclusive) to `high` (exclusive) of a segment; none if there are none."""
        if low >= high:
            return
        turns = self.turns[-1:] if self.in_order else self.turns
        spans = next((spans for one, spans in turns if one is segment), None)
        if spans is None:
            self.turns.append((segment, [(low, high)]))
        elif spans[-1][1] == low:
            spans[-1] = (spans[-1][0], high)
        else:
            spans.append((low, high))
