"""What a table must hold once everything logged has been applied: known from disk before a server is started.

Count, min, max and the rows of each partition follow from `_txn` and from the timestamps in the WAL segments that the
log names. A count alone proves nothing: torn segments apply without complaint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DbFile
from console.questdb.segment import DedupMode, EventType, Segment, read_segment
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.time_to_live import outlived
from console.questdb.txn_log import STRUCTURE_CHANGE, read_log

_I64_MAX, _I64_MIN = (1 << 63) - 1, -(1 << 63)


class ExpectationError(WalmedicError):
    """A table whose future cannot be read from disk; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a table will hold. Timestamps in the unit of the designated column, None for an empty table.

    `exact` is False where an update, truncate, replace range, dedup or structure change is among what is not applied,
    or the TTL may remove partitions: then `rows` is an upper bound and `why` says so. `partitions` maps a partition's
    name to its rows, with those of the partitions split off it.
    """

    table: str
    directory: str
    rows: int
    min_ts: int | None
    max_ts: int | None
    partitions: Mapping[str, int]
    applied_txn: int
    logged_txn: int
    exact: bool
    why: str
    nanos: bool
    timestamp: str  # name of the designated column, empty where there is none
    suspended: bool = False  # on disk, as up to 8.2: a start applies what waits, and the table stays suspended


def applied_of(table: TableDirectory) -> int | None:
    """Return the last applied transaction: `_txn` seqTxn plus the lag's. None where it cannot be read."""
    current = read_table_txn(table.path).current
    return None if current is None else current.applied_txn


def expectation_of(table: TableDirectory, *, first: int | None = None, last: int | None = None) -> Expectation:
    """Return what `table` will hold after its log is applied. Raises ExpectationError where that cannot be known.

    `first` leaves out the transactions before it (they are skipped), `last` those after it (the server stops there).
    """
    area, metadata = read_table_txn(table.path).current, read_table_metadata(table.path)
    if area is None or not isinstance(metadata, TableMetadata):
        raise ExpectationError(f"{table.name}: _txn or _meta cannot be read, so what it will hold cannot be known")
    log = read_log(table.sequencer)
    logged = log.max_txn
    if logged is None:
        raise ExpectationError(f"{table.name}: its log has no header, so what it will hold cannot be known")
    applied = max(area.applied_txn, (first or 0) - 1)
    logged = logged if last is None else min(logged, last)
    records = log.records(applied + 1, logged) if logged > applied else log.records(1, 0)
    if len(records) < logged - applied:
        raise ExpectationError(f"{table.name}: its log ends before the {logged:,} transactions that its header names")
    partitioning = Partitioning.of(metadata)
    counts = rows_now(area, partitioning)
    low, high, rows, why = area.min_ts, area.max_ts, area.rows, ""
    if area.lag_rows:
        rows, why = (
            rows + area.lag_rows,
            "rows in the lag are not counted by partition, and appear with the next commit",
        )
        low, high = min(low, area.lag_min_ts), max(high, area.lag_max_ts)
    if metadata.has_dedup and len(records):
        why = "the table has dedup keys: what is not applied yet may replace rows"
    begun = set(partitioning.floors(area.partitions["timestamp"]).tolist())
    for note, segment, first_row, end_row in to_come(table, records, dedup=metadata.has_dedup):
        why = why or note
        if segment is not None and end_row > first_row:
            timestamps = segment_timestamps(segment, first_row, end_row, metadata)
            rows += len(timestamps)
            low, high = min(low, int(timestamps.min())), max(high, int(timestamps.max()))
            starts, many = np.unique(partitioning.floors(timestamps), return_counts=True)
            for start, count in zip(starts.tolist(), many.tolist(), strict=True):
                name = partitioning.name(start)
                counts[name] = counts.get(name, 0) + count
                begun.add(start)
    if len(records) and outlived(metadata, begun, high):
        why = why or "what is not applied yet makes partitions older than the TTL of the table allows"
    return Expectation(
        table=table.raw_name,
        directory=table.directory,
        rows=rows,
        min_ts=low if rows else None,
        max_ts=high if rows else None,
        partitions=counts,
        applied_txn=applied,
        # With nothing behind it a lag is committed by the next write only: a start leaves it as it is (measured).
        logged_txn=logged if logged > area.applied_txn or not area.lag_rows else min(logged, area.seq_txn),
        exact=not why,
        why=why,
        nanos=partitioning.nanos,
        timestamp=metadata.timestamp.raw_name if metadata.timestamp is not None else "",
    )


def rows_now(area: TxnArea, partitioning: Partitioning) -> dict[str, int]:
    """Return the rows of each partition, with those of the partitions split off it, by its name."""
    counts: dict[str, int] = {}
    for partition in area.partitions:
        if int(partition["rows"]):
            name = partitioning.unit_name(int(partition["timestamp"]))
            counts[name] = counts.get(name, 0) + int(partition["rows"])
    return counts


def to_come(
    table: TableDirectory, records: NDArray[np.void], *, dedup: bool
) -> Iterator[tuple[str, Segment | None, int, int]]:
    """Yield of each record why it does not simply add rows (empty: it does), and the segment, first row and end of its
    rows, if it has any. Raises ExpectationError for a transaction that is not on disk."""
    segments: dict[tuple[int, int], Segment] = {}
    for wal, number, txn in zip(*(records[n].tolist() for n in ("wal_id", "segment_id", "segment_txn")), strict=True):
        if wal == STRUCTURE_CHANGE:
            yield "a structure change is among what is not applied yet", None, 0, 0
            continue
        if (wal, number) not in segments:
            segments[wal, number] = read_segment(table.path / f"wal{wal}" / str(number))
        segment = segments[wal, number]
        if not 0 <= txn < len(segment.events):
            raise ExpectationError(f"{table.name}: wal{wal}/{number} has no transaction {txn}, which the log names")
        event = segment.events[txn]
        if int(event["type"]) not in (EventType.DATA, EventType.MAT_VIEW_DATA):
            yield "an update or truncate is among what is not applied yet", None, 0, 0
            continue
        mode = int(event["dedup_mode"])
        adds = mode == DedupMode.DEFAULT or (mode == DedupMode.NO_DEDUP and not dedup)
        why = "" if adds else "a replacement of rows is among what is not applied yet"
        yield why, segment, int(event["start_row"]), int(event["end_row"])


def segment_timestamps(segment: Segment, start: int, end: int, metadata: TableMetadata) -> NDArray[np.int64]:
    """Return the designated timestamps of rows start..end-1: 16 bytes each in a segment, timestamp and row id."""
    column = metadata.timestamp
    if segment.metadata is not None and 0 <= segment.metadata.timestamp_index < len(segment.metadata.columns):
        name = segment.metadata.columns[segment.metadata.timestamp_index].raw_name
    elif column is not None:
        name = column.raw_name
    else:
        return np.zeros(end - start, np.int64)
    path: Path = segment.path / f"{name}.d"
    try:
        with DbFile(path) as file:
            found = file.array(16 * start, "<i8", 2 * (end - start))
    except OSError as error:
        raise ExpectationError(
            f"{path} cannot be read ({error.strerror}), so what the table will hold cannot be known"
        ) from error
    if len(found) < 2 * (end - start):
        raise ExpectationError(f"{path} ends before row {end:,}, which its events say exists")
    return found[::2].astype(np.int64)
