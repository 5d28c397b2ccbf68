"""The rows of segment transactions as timestamps and hashes, read segment by segment."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from console.questdb.column_files import segment_timestamps
from console.questdb.partition_rows import absent_values
from console.questdb.reading import DamageError, said_of
from console.questdb.row_hashes import Hashes
from console.questdb.segment import Segment
from console.questdb.segment_rows import SegmentRows, Span
from console.recovery.sequencer.compared_columns import ComparedColumns, Hashed
from console.recovery.sequencer.disk import TableOnDisk
from console.table.inventory import Index, Mask


@dataclass(frozen=True, slots=True)
class EventRows:
    """Rows of events: `event` is the position of each one's event in what was asked for, ascending.

    `read` tells which events were read whole. Of the others there are no rows but, if they can be had, their timestamps
    (`bare_stamps`, parallel to `bare_event`); `why` says why the first of them was not read.
    """

    event: Index
    stamps: Index
    values: Hashes
    sure: Hashes
    keys: Hashes
    read: Mask
    bare_event: Index
    bare_stamps: Index
    why: str


@dataclass(frozen=True, slots=True)
class _Part:
    event: Index
    stamps: Index
    hashed: Hashed


def read_event_rows(table: TableOnDisk, compared: ComparedColumns, events: Index, wanted: Mask) -> EventRows:
    """Return the rows of those `events` (ascending indices of `table`'s inventory) that are `wanted`.

    It never raises: what cannot be read is in the result.
    """
    parts: list[_Part] = []
    bare: list[tuple[Index, Index]] = []
    read = np.ones(len(events), np.bool_)
    why = ""
    for segment, places in _by_segment(table, events, wanted):
        rows = table.inventory.events[events[places]]
        spans = list(zip(rows["start"].tolist(), rows["end"].tolist(), strict=True))
        try:
            parts.append(_part(table, compared, segment, places, spans))
            continue
        except (DamageError, OSError):
            pass  # then one by one, so that the others are not lost with it
        for place, span in zip(places.tolist(), spans, strict=True):
            try:
                parts.append(_part(table, compared, segment, np.array([place]), [span]))
            except (DamageError, OSError) as error:
                read[place] = False
                why = why or f"wal{segment.wal_id}/{segment.segment_id}: {said_of(error, table.path)}"
                with contextlib.suppress(DamageError, OSError):
                    stamps = _stamps(segment, *span)
                    bare.append((np.full(len(stamps), place, np.int64), stamps))
    return _joined(parts, bare, compared, read, why)


def _by_segment(table: TableOnDisk, events: Index, wanted: Mask) -> Iterator[tuple[Segment, Index]]:
    rows = table.inventory.events[events]
    use = np.flatnonzero(wanted & (rows["end"] > rows["start"]))
    keys = np.stack((rows["wal"][use], rows["segment"][use])).astype(np.int64)
    breaks = np.flatnonzero((np.diff(keys, axis=1) != 0).any(axis=0)) + 1
    for places in np.split(use, breaks):
        if len(places):
            yield table.segments[int(rows["wal"][places[0]]), int(rows["segment"][places[0]])], places


def _part(
    table: TableOnDisk, compared: ComparedColumns, segment: Segment, places: Index, spans: Sequence[Span]
) -> _Part:
    compared.refuse_other(segment)
    lengths = [end - first for first, end in spans]
    stamps = np.concatenate([_stamps(segment, *span) for span in spans])
    floors = compared.partitioning.floors(stamps)
    hashed = compared.begin(len(stamps))
    for columns in compared.batches():
        with SegmentRows(segment, table.path, only={column.index for column in columns}) as reader:
            if reader.problems:
                raise DamageError(f"{reader.problems[0].file.name}: {reader.problems[0].what}")
            first = 0
            for chunk in reader.chunks(_merged(spans)):
                values = {each.index: value for each, value in zip(reader.columns, chunk.values, strict=True)}
                for column in columns:
                    found = values.get(column.index)
                    found = absent_values(column.type_code, len(chunk)) if found is None else found
                    compared.add(hashed, first, column, found, floors[first : first + len(chunk)])
                first += len(chunk)
            if reader.unresolved:
                raise DamageError(f"column {next(iter(reader.unresolved))} has symbols that nothing names")
    return _Part(np.repeat(places, lengths), stamps, hashed)


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Return spans that follow one another as one, so that they are read together."""
    merged: list[Span] = []
    for first, end in spans:
        if merged and merged[-1][1] == first:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((first, end))
    return merged


def _stamps(segment: Segment, first: int, end: int) -> Index:
    chunks = [values["timestamp"] for _, values in segment_timestamps(segment, first, end)]
    stamps: Index = np.concatenate([np.empty(0, np.int64), *chunks])
    if len(stamps) < end - first:
        raise DamageError(f"its timestamps end before row {end:,}")
    return stamps


def _joined(
    parts: list[_Part], bare: list[tuple[Index, Index]], compared: ComparedColumns, read: Mask, why: str
) -> EventRows:
    none = compared.begin(0)
    no_index = np.empty(0, np.int64)
    values = np.concatenate([none.values, *(part.hashed.values for part in parts)])
    return EventRows(
        event=np.concatenate([no_index, *(part.event for part in parts)]),
        stamps=np.concatenate([no_index, *(part.stamps for part in parts)]),
        values=values,
        sure=np.concatenate([none.sure, *(part.hashed.sure for part in parts)]) if compared.rewritten else values,
        keys=np.concatenate([none.keys, *(part.hashed.keys for part in parts)]),
        read=read,
        bare_event=np.concatenate([no_index, *(event for event, _ in bare)]),
        bare_stamps=np.concatenate([no_index, *(stamps for _, stamps in bare)]),
        why=why,
    )
