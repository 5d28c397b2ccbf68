"""`txn_seq/_txnlog`, the sequencer's log, in both its formats (TableTransactionLogV1, TableTransactionLogV2).

V1: a 76-byte header, then 28-byte records in the same file, which grows by whole pages. V2: the header alone, and
60-byte records in `_txn_parts/0`, `1`, …, each `part_size` records long. Transaction ids count from 1. All integers are
little-endian.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import Fields
from console.questdb.formats.sequencer import LOG_HEADER, LOG_RECORD, LOG_RECORD_V2
from console.questdb.reading import (
    DbFile,
    FileStamp,
    Problem,
    ProblemKind,
    join_problems,
    list_directory,
    opened,
    problem_of,
)

HEADER_SIZE: Final = LOG_HEADER.size
RECORD_SIZE: Final = LOG_RECORD.size
RECORD_V2_SIZE: Final = LOG_RECORD_V2.size
PAGE: Final = 4096

STRUCTURE_CHANGE: Final = -1
"""walId of a structure change; its segmentId and segmentTxn are -1 too."""
TABLE_DROPPED: Final = -2
"""walId of the record that ends the log of a dropped table."""
MAX_SEGMENT_ID: Final = 0x1FFFFFFE

RECORD: Final = LOG_RECORD.dtype
RECORD_V2: Final = LOG_RECORD_V2.dtype

_PART: Final = re.compile(r"0|[1-9]\d{0,11}")
_CHUNK: Final = 1 << 14


class LogState(StrEnum):
    """What there is of a `_txnlog`."""

    PRESENT = "present"  # there is a header; what a file shorter than 76 bytes lacks counts as zeros, as for the server
    NO_SEQUENCER = "no-sequencer"  # the directory txn_seq does not exist
    MISSING = "missing"  # the directory has no _txnlog
    EMPTY = "empty"  # fewer than the 12 bytes of version and maxTxn, mostly 0
    UNREADABLE = "unreadable"  # permission, I/O error, symlink


@dataclass(frozen=True, slots=True)
class LogHeader:
    """The 76 bytes at the start. `part_size`: records per part, 0 in V1; `reserved_zero`: bytes 24..75 are zero."""

    version: int
    max_txn: int
    created_us: int
    part_size: int
    reserved_zero: bool
    all_zero: bool

    @property
    def known(self) -> bool:
        """Whether 9.1.0 can open a log with this header: version 0, or 1 with a positive part size."""
        return self.version == 0 or (self.version == 1 and self.part_size > 0)


@dataclass(frozen=True, slots=True)
class LogPart:
    """One file of `_txn_parts`."""

    index: int
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class TxnLog:
    """A sequencer's log as found; reading records opens the files again, each call on its own.

    `file_size` is that of `_txnlog`; `header` is None unless `state` is PRESENT. `parts` is empty in V1.
    """

    path: Path
    state: LogState
    header: LogHeader | None
    file_size: int
    stamp: FileStamp | None
    parts: tuple[LogPart, ...]
    problems: tuple[Problem, ...]

    @property
    def max_txn(self) -> int | None:
        return self.header.max_txn if self.header else None

    @property
    def v2(self) -> bool:
        """Whether records lie in parts, and carry min_ts, max_ts and row_count."""
        return self.header is not None and self.header.version == 1

    @property
    def readable(self) -> bool:
        """Whether records can be located: a header of a known version."""
        return self.header is not None and self.header.known

    @property
    def record_size(self) -> int:
        return RECORD_V2_SIZE if self.v2 else RECORD_SIZE

    @property
    def part_size(self) -> int:
        """Records per part; 0 in V1 and where the header is unknown."""
        return self.header.part_size if self.header and self.v2 and self.header.part_size > 0 else 0

    @property
    def whole_records(self) -> int:
        """The highest txn id that the files have whole bytes for, whatever those bytes are and whatever maxTxn says."""
        if not self.readable:
            return 0
        if not self.v2:
            return max(0, self.file_size - HEADER_SIZE) // RECORD_SIZE
        return max(
            (p.index * self.part_size + min(self.part_size, p.size // RECORD_V2_SIZE) for p in self.parts), default=0
        )

    def expected_size(self) -> int:
        """Return the length of a healthy `_txnlog` for the header's maxTxn: pages in V1, 76 in V2."""
        return HEADER_SIZE if self.v2 else expected_v1_size(self.max_txn or 0)

    def offset_of(self, txn: int) -> tuple[Path, int]:
        """Return the file and the byte offset at which the record of `txn` begins, there or not."""
        if self.part_size:
            part, index = divmod(txn - 1, self.part_size)
            return self.path.parent / "_txn_parts" / str(part), index * RECORD_V2_SIZE
        return self.path, HEADER_SIZE + (txn - 1) * RECORD_SIZE

    def missing_parts(self, first: int, last: int) -> tuple[tuple[int, int], ...]:
        """Return the (first, last) ranges of txn ids within `first`..`last` that no part has bytes for, ascending.

        In V1 this is the one range past the end of the file, if any. Costs O(parts present), whatever `last` claims.
        """
        gaps: list[tuple[int, int]] = []
        at = max(1, first)
        for low, high in self._present():
            if low > last:
                break
            if high < at:
                continue
            if low > at:
                gaps.append((at, low - 1))
            at = high + 1
        if at <= last:
            gaps.append((at, last))
        return tuple(gaps)

    def whole_from(self, first: int, last: int) -> int:
        """Return from which txn id on, at least `first`, all records up to `last` are there: older parts are purged."""
        gaps = self.missing_parts(first, last)
        return gaps[-1][1] + 1 if gaps else max(1, first)

    def records(self, first: int, last: int) -> NDArray[np.void]:
        """Return the records `first`..`last` (1-based, inclusive) as RECORD_V2; of V1 the last four fields are 0.

        Short where the files end or a part is missing. Raises OSError where a file cannot be read.
        """
        found: list[NDArray[np.void]] = []
        expected = max(1, first)
        for at, chunk in self.chunks(first=first, last=last):
            if at != expected:
                break
            expected += len(chunk)
            found.append(as_v2(chunk))
        return np.concatenate(found) if found else np.empty(0, RECORD_V2)

    def chunks(
        self, size: int = _CHUNK, *, first: int = 1, last: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.void]]]:
        """Yield (txn id of the first record, records) in order up to `last` (default: maxTxn) or the end of the files.

        Records have dtype RECORD or RECORD_V2, at most `size` of them, and are overwritten by the next step: copy what
        you keep. Memory is `size` records whatever the file holds. Missing parts are stepped over. Raises OSError.
        """
        if not self.readable or self.header is None:
            return
        last = self.header.max_txn if last is None else last
        dtype = RECORD_V2 if self.v2 else RECORD
        buffer = np.empty(max(1, size), dtype)
        raw = buffer.view(np.uint8)
        view = raw.data
        for path, low, high in self._files():
            start, stop = max(low, first, 1), min(high, last)
            if start > stop:
                continue
            base = self.offset_of(low)[1]
            with DbFile(path) as file:
                for at in range(start, stop + 1, len(buffer)):
                    wanted = min(len(buffer), stop + 1 - at)
                    offset = base + (at - low) * dtype.itemsize
                    end = offset + wanted * dtype.itemsize
                    if end <= file.next_data(offset):
                        # A hole: to read one costs ten times as much as data, and a wild header makes gigabytes of it.
                        raw[: wanted * dtype.itemsize] = 0
                        got = wanted
                    else:
                        got = file.read_into(offset, view[: wanted * dtype.itemsize]) // dtype.itemsize
                    if got:
                        yield at, buffer[:got]
                    if got < wanted:
                        break

    def _files(self) -> Iterator[tuple[Path, int, int]]:
        """Yield (file, first txn, last txn) with whole records, ascending."""
        if not self.v2:
            yield self.path, 1, self.whole_records
            return
        for part in self.parts:
            low = part.index * self.part_size + 1
            yield part.path, low, low - 1 + min(self.part_size, part.size // RECORD_V2_SIZE)

    def _present(self) -> Iterator[tuple[int, int]]:
        if self.readable:
            yield from ((low, high) for _, low, high in self._files() if high >= low)


def expected_v1_size(max_txn: int, page: int = PAGE) -> int:
    """Return the length of a V1 `_txnlog` with `max_txn` records: whole pages (measured for every count up to 899)."""
    return -(-(HEADER_SIZE + RECORD_SIZE * max(0, max_txn)) // page) * page


def parse_log_header(data: bytes) -> LogHeader | None:
    """Return the header at the start of a `_txnlog`; None where fewer than the 12 bytes up to maxTxn are there.

    A file of 12 to 75 bytes is taken as the server takes it: the rest of its page reads as zeros.
    """
    if len(data) < LOG_HEADER.at("created_us"):
        return None
    header = data[:HEADER_SIZE].ljust(HEADER_SIZE, b"\0")
    values = LOG_HEADER.read(Fields(header))
    return LogHeader(reserved_zero=not any(values.pop("reserved")), all_zero=not any(header), **values)


def read_log(sequencer: Path) -> TxnLog:
    """Return the log in the directory `sequencer` (`txn_seq` or a copy of it); `state` tells what is not there."""
    path = sequencer / "_txnlog"
    with opened(path) as file:
        if isinstance(file, Problem):
            state = LogState.UNREADABLE
            if file.kind is ProblemKind.MISSING:
                state = LogState.MISSING if sequencer.is_dir() else LogState.NO_SEQUENCER
            return TxnLog(path, state, None, 0, None, (), (file,))
        try:
            head = file.read(0, HEADER_SIZE)
        except OSError as error:
            return TxnLog(path, LogState.UNREADABLE, None, file.size, file.stamp, (), (problem_of(error, path),))
        stamp = file.stamp
    header = parse_log_header(head)
    if header is None:
        return TxnLog(path, LogState.EMPTY, None, stamp.size, stamp, (), ())
    parts, problems = _list_parts(sequencer / "_txn_parts") if header.version == 1 else ((), ())
    return TxnLog(path, LogState.PRESENT, header, stamp.size, stamp, parts, problems)


def _list_parts(directory: Path) -> tuple[tuple[LogPart, ...], tuple[Problem, ...]]:
    entries, problem = list_directory(directory)
    parts: list[LogPart] = []
    problems = [problem]
    for entry in entries:
        if not entry.is_file or not _PART.fullmatch(entry.name):
            continue
        try:
            parts.append(LogPart(int(entry.name), entry.path, entry.path.lstat().st_size))
        except OSError as error:
            problems.append(problem_of(error, entry.path))
    return tuple(sorted(parts, key=lambda part: part.index)), join_problems(problems)


def as_v2(records: NDArray[np.void]) -> NDArray[Any]:
    """Return a copy of `records` (RECORD or RECORD_V2) as RECORD_V2; of V1 the last four fields are 0."""
    if records.dtype == RECORD_V2:
        return records.copy()
    wide = np.zeros(len(records), RECORD_V2)
    for name in RECORD.names or ():
        wide[name] = records[name]
    return wide


def record_kinds(
    wal: NDArray[Any], segment: NDArray[Any], txn: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which addresses are of rows, of a structure change, of the table's drop; the rest is none of these."""
    rows = (wal >= 1) & (segment >= 0) & (segment <= MAX_SEGMENT_ID) & (txn >= 0)
    change = (wal == STRUCTURE_CHANGE) & (segment == -1) & (txn == -1)
    dropped = (wal == TABLE_DROPPED) & (segment == 0) & (txn == 0)
    return np.asarray(rows), np.asarray(change), np.asarray(dropped)


def valid_records(records: NDArray[Any]) -> NDArray[np.bool_]:
    rows, change, dropped = record_kinds(records["wal_id"], records["segment_id"], records["segment_txn"])
    return np.asarray((rows | change) & (records["structure_version"] >= 0) | dropped)


def ends_with_drop(sequencer: Path) -> bool | None:
    """Return whether the last record of the log in `sequencer` is the drop of its table; None if none can be read."""
    log = read_log(sequencer)
    last = log.max_txn or 0
    try:
        records = log.records(last, last) if last > 0 else None
    except OSError:
        return None
    if records is None or not len(records) or not valid_records(records).all():
        return None
    return bool((records["wal_id"] == TABLE_DROPPED).all())
