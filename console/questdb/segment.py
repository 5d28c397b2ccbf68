"""A WAL segment's transactions: `walN/M/_event` and its index `_event.i` (WalEventWriter, WalEventReader).

formats/segment.py has the fields. While a writer has the segment open both files are padded, so that lengths of files
say nothing; the header does.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import Fields
from console.questdb.formats.segment import EVENT_HEADER
from console.questdb.reading import (
    DbFile,
    FileStamp,
    Problem,
    ProblemKind,
    join_problems,
    later_looks,
    list_directory,
    opened,
    problem_of,
    read_small,
)
from console.questdb.segment_chain import (
    COMMON_SIZE,
    HEADER_SIZE,
    MAX_EVENT_FILE,
    MAX_EVENTS,
    count_indexed,
    end_marked,
    index_mismatch,
    is_blank,
    last_txn,
    locate,
    offsets_beyond,
    stated_lengths,
)
from console.questdb.segment_copy import put_before
from console.questdb.segment_events import (
    EVENT,
    DedupMode,
    EventType,
    add_named_rows,
    decode_events,
    is_data,
    row_problems,
)
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.questdb.zero_pages import PAGE

__all__ = ["EVENT", "DedupMode", "EventType", "Segment", "is_data", "read_segment"]

_FIRST_ROW: Final = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as found on disk.

    `max_txn` is the header's last segment transaction: -1 where there is none yet, None where there is none to believe.
    `events` has dtype EVENT and one row per transaction 0..max_txn, so far as the file can hold them, and then one for
    each of `beyond` further whole records, which the header does not count: written, and perhaps not committed. The row
    index is the segment transaction; a record that cannot be decoded has type UNREADABLE and its place in `problems`
    (at the end of the file the first 4,096 such). `opens` says of each whether a server can begin to read the segment
    there: `_event.i` leads to it and says how far to read. `stated` are the lengths of records that the index gives for
    transactions 0, 1, … (0: none). `uncounted` is how many more transactions header or index count behind the last
    record that can be decoded, unless the end mark and the other of the two say that there are none. `copied` are the
    first bytes of `_event` where a copy gave them: a server can begin nowhere, then.
    """

    path: Path
    wal_id: int
    segment_id: int
    metadata: SequencerMetadata | None
    max_txn: int | None
    format: int | None
    events: NDArray[np.void]
    opens: NDArray[np.bool_]
    stated: NDArray[np.int64]
    beyond: int
    uncounted: int
    closed: bool
    stamp: FileStamp | None
    problems: tuple[Problem, ...]
    copied: bytes = field(default=b"", repr=False)

    @property
    def data(self) -> NDArray[np.bool_]:
        """Mask over `events`: those that carry rows."""
        return is_data(self.events)

    @property
    def rows(self) -> int:
        """Rows of all data events together, an UNREADABLE one counting none."""
        events = self.events[self.data]
        return int((events["end_row"] - events["start_row"]).sum())

    @property
    def whole(self) -> bool:
        """Whether every transaction that the header counts can be decoded."""
        return (
            self.max_txn is not None
            and len(self.events) == self.max_txn + 1 + self.beyond
            and not (self.events["type"] == EventType.UNREADABLE).any()
        )

    @property
    def records(self) -> NDArray[np.void] | None:
        """The events from which header or index can be written anew: the whole chain with those `beyond`.

        None: not known. That is so, too, if the header counts more, and the index does not agree with the chain.
        """
        found, count = self.unbroken, int((self.events["type"] != EventType.UNREADABLE).sum())
        agreed = self.max_txn == count - 1 or self.beyond > 0 or len(self.stated) == count
        settled = self.max_txn is not None and agreed and not self.uncounted
        return found if settled and count and len(found) == count else None

    @property
    def writable(self) -> NDArray[np.void]:
        """The events that the files can be written anew with: `records`, or what a copy tells up to the first gap."""
        known = self.unbroken if self.copied else self.records
        return self.events[:0] if known is None else known

    @property
    def unbroken(self) -> NDArray[np.void]:
        """The events before the first one that cannot be decoded."""
        broken = self.events["type"] == EventType.UNREADABLE
        return self.events[: int(np.argmax(broken))] if broken.any() else self.events


def read_segment(directory: Path, copy: bytes = b"") -> Segment:
    """Return the segment in `directory` (`…/walN/M`), read again a little later where something is wrong with it.

    The records of `copy`, the first bytes of its `_event`, count in the place of those on disk.

    For a writer that rolls over makes the new segment's files one by one, and takes back an event whose rows it moves.

    What is missing or damaged is in `problems`; a segment without `_event` has max_txn None and no events. A segment
    that is just being made (or was, when its server was killed) is none of that: it has no events, and no problems.
    """
    result = _read_once(directory, copy)
    if result.problems and not result.closed and not copy:
        for _ in later_looks():
            result = _read_once(directory)
            if not result.problems:
                break
    return result


def _read_once(directory: Path, copy: bytes = b"") -> Segment:
    metadata = read_sequencer_metadata(directory, of_segment=True)
    metadata_problem = metadata if isinstance(metadata, Problem) else None
    raw = _read_files(directory)
    put = put_before(copy, raw.event, raw.index) if copy else None
    if put is not None:
        raw = replace(raw, event=put[0], index=put[1])
    moved_to = not len(raw.event) and directory.name != "0"  # a roll-over moves rows there first
    if is_blank(raw.event, raw.index) and (moved_to or not _has_rows(directory)):
        return _unborn(directory, metadata, raw)
    events, beyond, problems = _decode(raw, directory / "_event", directory / "_event.i")
    head = Fields(raw.event[:HEADER_SIZE].tobytes())
    max_txn = last_txn(raw.event) if len(head) == HEADER_SIZE else None
    if max_txn is not None and max_txn < -1:
        max_txn = None
    uncounted = _uncounted(raw, max_txn, events)
    if uncounted and not problems:
        what = f"its index names {uncounted:,} transactions behind its last record"
        problems = (Problem(ProblemKind.SHORT, what, directory / "_event", None),)
    end = int(raw.index[max_txn + 1]) if max_txn is not None and -1 <= max_txn < len(raw.index) - 1 else -1
    return Segment(
        path=directory,
        wal_id=_number(directory.parent.name.removeprefix("wal")),
        segment_id=_number(directory.name),
        metadata=None if isinstance(metadata, Problem) else metadata,
        max_txn=max_txn,
        format=EVENT_HEADER.value("format", head) if len(head) == HEADER_SIZE else None,
        events=events,
        opens=_opens(raw.index, events, max_txn) if put is None else np.zeros(len(events), np.bool_),
        stated=stated_lengths(raw.index),
        beyond=beyond,
        uncounted=uncounted,
        closed=max_txn is not None and raw.event_size == end + 4 and raw.index_size == 8 * (max_txn + 2),
        stamp=raw.stamp,
        problems=join_problems(metadata_problem, raw.problems, problems),
        copied=copy if put is not None else b"",
    )


def _unborn(directory: Path, metadata: SequencerMetadata | Problem, raw: "_Files") -> Segment:
    return Segment(
        path=directory,
        wal_id=_number(directory.parent.name.removeprefix("wal")),
        segment_id=_number(directory.name),
        metadata=None if isinstance(metadata, Problem) else metadata,
        max_txn=-1,
        format=None,
        events=np.empty(0, EVENT),
        opens=np.empty(0, np.bool_),
        stated=np.empty(0, np.int64),
        beyond=0,
        uncounted=0,
        closed=False,
        stamp=raw.stamp,
        problems=tuple(each for each in raw.problems if each.kind is not ProblemKind.MISSING),
    )


def _has_rows(directory: Path) -> bool:
    """Return whether any column has a first row: values come only after the event file was made."""
    entries, _ = list_directory(directory)
    return any(
        any(read_small(entry.path, _FIRST_ROW).data) for entry in entries if entry.is_file and entry.name.endswith(".d")
    )


@dataclass(frozen=True, slots=True)
class _Files:
    event: NDArray[np.uint8]
    index: NDArray[np.int64]
    event_size: int
    index_size: int
    stamp: FileStamp | None
    problems: tuple[Problem, ...]


def _read_files(directory: Path) -> _Files:
    # The event file first: its header counts only what the index, read later, has too.
    event, event_size, stamp, event_problem = _read(directory / "_event", "u1", MAX_EVENT_FILE)
    index, index_size, _, index_problem = _read(directory / "_event.i", "<i8", 8 * (MAX_EVENTS + 2))
    head = event[:HEADER_SIZE].tobytes()
    if len(head) == HEADER_SIZE and read_small(directory / "_event", HEADER_SIZE).data != head:
        index = index[: last_txn(event) + 2]  # a writer went on between the two
    return _Files(event, index, event_size, index_size, stamp, join_problems(event_problem, index_problem))


def _read(path: Path, dtype: str, limit: int) -> tuple[NDArray[Any], int, FileStamp | None, Problem | None]:
    empty = np.empty(0, dtype)
    with opened(path) as file:
        if isinstance(file, Problem):
            return empty, 0, None, file
        try:
            return _array(file, dtype, limit), file.size, file.stamp, None
        except OSError as error:
            return empty, file.size, file.stamp, problem_of(error, path)


def _array(file: DbFile, dtype: str, limit: int) -> NDArray[Any]:
    return file.array(0, dtype, min(file.size, limit) // np.dtype(dtype).itemsize)


def _opens(index: NDArray[np.int64], events: NDArray[Any], max_txn: int | None) -> NDArray[np.bool_]:
    """Return which events the server can begin to read at (WalEventReader of 9.1.0, and measured).

    It takes the entry of the event, and as the end the entry behind the header's last transaction. If that is no offset
    it takes the entry behind the event, so that a cut index closes the event before the cut too. Where the header is so
    high that this entry lies behind the mapping of `_event.i`, the read is a fault.
    """
    if max_txn is None or 8 * (max_txn + 2) > -(-8 * len(index) // PAGE) * PAGE:
        return np.zeros(len(events), np.bool_)
    entries = np.zeros(len(events) + 1, np.int64)
    known = index[: len(entries)]
    entries[: len(known)] = known
    least = HEADER_SIZE + 4
    last = int(index[max_txn + 1]) if max_txn + 1 < len(index) else 0
    ends = np.full(len(events), last) if last >= least else entries[1:]
    offsets = events["offset"]
    return np.asarray((entries[:-1] == offsets) & (ends >= least) & (offsets < ends))


def _uncounted(raw: _Files, max_txn: int | None, events: NDArray[Any]) -> int:
    """Return how many transactions there are behind the last of `events` that can be decoded, as far as is known."""
    decoded = np.flatnonzero(events["type"] != EventType.UNREADABLE)
    last = events[decoded[-1]] if len(decoded) else None
    known = int(last["txn"]) + 1 if last is not None else 0
    header, index = -1 if max_txn is None else max_txn + 1, count_indexed(raw.index)
    at, length = (int(last["offset"]), int(last["length"])) if last is not None else (HEADER_SIZE, 0)
    if end_marked(raw.event, at, length) and (index <= known or (header <= known and _taken_back(raw, at + length))):
        return 0
    return max(header, index) - known if max(header, index) > known else 0


def _taken_back(raw: _Files, end: int) -> bool:
    """Return whether the record that the index names at `end` was there, and was taken back.

    WalEventWriter.rollback writes the end mark over the length of the last record, and leaves its bytes and its entry.
    Where nothing stands behind the mark, the file is older than its index.
    """
    entry = np.flatnonzero(raw.index == end)
    txn = Fields(raw.event[end + 4 : end + 12].tobytes())
    return (
        len(entry) == 1 and len(txn) == 8 and txn.i64(0) == int(entry[0]) and count_indexed(raw.index) <= entry[0] + 1
    )


def _decode(raw: _Files, file: Path, index_file: Path) -> tuple[NDArray[Any], int, tuple[Problem, ...]]:
    none = np.empty(0, EVENT)
    if raw.stamp is None and not len(raw.event):
        return none, 0, ()
    if len(raw.event) < HEADER_SIZE:
        what = f"it is {raw.event_size} bytes long, shorter than its header"
        return none, 0, (Problem(ProblemKind.SHORT, what, file, 0),)
    last = last_txn(raw.event)
    if last < -1:
        return (
            none,
            0,
            (Problem(ProblemKind.INVALID, f"its header says that transaction {last:,} is the last", file, 0),),
        )
    problems: list[Problem] = []
    form = EVENT_HEADER.value("format", Fields(raw.event[:HEADER_SIZE].tobytes()))
    if form not in (0, 1):
        problems.append(
            Problem(ProblemKind.INVALID, f"format {form}, where 0 or 1 belongs", file, EVENT_HEADER.at("format"))
        )
    fitting = min((len(raw.event) - HEADER_SIZE) // COMMON_SIZE, MAX_EVENTS)
    if last + 1 > fitting:
        what = f"its header counts {last + 1:,} transactions, its {raw.event_size:,} bytes hold at most {fitting:,}"
        problems.append(Problem(ProblemKind.SHORT, what, file, 0))
    count = min(last + 1, fitting)
    offsets, end, broken = locate(raw.event, raw.index, count)
    problems += [
        Problem(ProblemKind.SHORT, f"the record of segment transaction {at:,} cannot be decoded{upto}", file, offset)
        for at, upto, offset in broken
    ]
    mismatched = index_mismatch(raw.index, offsets, end)
    if mismatched is not None and not any(each.file == index_file for each in raw.problems):
        what = f"its entry {mismatched:,} does not say where that transaction is"
        problems.append(Problem(ProblemKind.INVALID, what, index_file, 8 * mismatched))
    later = offsets_beyond(raw.event, end, last + 1)
    events = decode_events(raw.event, np.concatenate((offsets, later)))
    other = (events["type"][: len(offsets)] == EventType.UNREADABLE) & (offsets >= 0)
    for at in np.flatnonzero(other)[:1].tolist():
        what = f"the record of segment transaction {at:,} cannot be decoded: it is of another type than it says"
        problems.append(Problem(ProblemKind.INVALID, what, file, int(offsets[at])))
    add_named_rows(raw.event, raw.index, events)
    problems += row_problems(events, file)
    return events, len(later), tuple(problems)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else -1
