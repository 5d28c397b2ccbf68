"""A segment's `_event.i` and the count in its `_event` made again from the records of `_event`, which say both."""

from collections.abc import Iterator

import numpy as np

from console.questdb.formats.segment import EVENT_HEADER
from console.questdb.layout import TableDirectory
from console.questdb.log_encoding import encode_event_index
from console.questdb.segment import Segment
from console.questdb.segment_chain import END_MARK
from console.recovery.model import Change, Stage
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.target import SequencerTarget
from console.recovery.steps.table_files import replace_files
from console.recovery.table_repair.new_files import NewFile, Part, specs_of
from console.text import plural


def event_files(table: TableOnDisk, target: SequencerTarget, mark: str) -> tuple[tuple[Stage, ...], dict[str, bytes]]:
    """Return the stage that writes the event files of `target`, and its attachments; none where it needs none."""
    anew = target.events_anew.items()
    files = [file for place, count in anew for file in _files(table.segments[place], count, table.directory)]
    if not files:
        return (), {}
    specs, attachments = specs_of(files, table.directory, "events")
    changes = tuple(
        Change("overwrite", f"{table.directory.directory}/{each.path}", after=each.told, size=each.size)
        for each in files
    )
    title = f"write what leads to the events of {plural(len(target.events_anew), 'segment')} anew"
    return (replace_files(0, table.directory.directory, mark, specs, title, changes),), attachments


def _files(segment: Segment, count: int, table: TableDirectory) -> Iterator[NewFile]:
    """Yield the index if it differs from the records, and the events with their header if that has another `count`."""
    records, folder = segment.writable[:count], f"wal{segment.wal_id}/{segment.segment_id}"
    if segment.copied or not np.array_equal(segment.stated[: len(records)], records["length"]):
        content, path = encode_event_index(records), f"{folder}/_event.i"
        old = NewFile(path, 0, (), "").old_size(table) or 0
        told = f"where {plural(len(records), 'transaction')} begin"
        yield NewFile(path, max(old, len(content)), (Part(0, content),), told)
    old = NewFile(f"{folder}/_event", 0, (), "").old_size(table) or 0
    last = EVENT_HEADER.pack(last_txn=len(records) - 1)[:4]
    if segment.copied:
        end = int(records["offset"][-1] + records["length"][-1])
        taken = last + segment.copied[len(last) : end]
        kept = Part(len(taken), length=max(0, end - len(taken)), old_at=len(taken))
        parts = tuple(part for part in (Part(0, taken), kept, Part(end, END_MARK)) if part.end > part.at)
        told = f"{plural(len(records), 'transaction')}, {len(taken):,} bytes of them from the guard's copy"
        yield NewFile(f"{folder}/_event", max(old, end + len(END_MARK)), parts, told)
    elif segment.max_txn != len(records) - 1:
        parts = (Part(0, last), Part(len(last), length=old - len(last), old_at=len(last)))
        yield NewFile(f"{folder}/_event", old, parts, f"header:  {plural(len(records), 'transaction')}")
