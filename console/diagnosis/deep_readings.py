"""Columns read in threads, one for each core: numpy and `pread` hold no lock while they work on a block.

What a column shows is collected beside the reading and taken over in the order in which the columns were asked for.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from console.diagnosis.deep_findings import DeepFindings
from console.diagnosis.deep_record import DeepRecord, ReadColumn, mark_of
from console.questdb.layout import TableDirectory
from console.questdb.value_check import Advance

_MOST_THREADS: Final = 4
"""Each holds up to 50 MiB of a column."""
_EVERY: Final = 0.1
"""Seconds between two words on the bytes that are read."""
Read = Callable[[DeepFindings], float | None]
"""Reads a column, tells what it finds, and returns the share of zeros if that is counted."""


class _StoppedError(Exception):
    """Ends a reading whose result nobody waits for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A column that is being read, or that the record has: `findings` has what was found when `share` is there."""

    folder: str
    column: int
    mark: str
    paths: Sequence[Path]
    findings: DeepFindings
    share: "Future[float | None]"
    known: ReadColumn | None = None


class DeepReadings:
    """The readings of one table. `findings` gets what they find, `record` what is read, `advance` the bytes.

    A context manager; at its end no thread is left.
    """

    def __init__(self, table: TableDirectory, findings: DeepFindings, record: DeepRecord, advance: Advance) -> None:
        self._table, self._findings, self._record, self._advance = table, findings, record, advance
        self._lock, self._stopped, self._read = Lock(), False, 0
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, len(os.sched_getaffinity(0))), "deep")
        self._asked: list[Reading] = []

    def __enter__(self) -> "DeepReadings":
        return self

    def __exit__(self, *_: object) -> None:
        """End the readings that nobody took; what those had read that are at their end is kept."""
        self._stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        for reading in list(self._asked):
            if not reading.share.cancelled() and reading.share.exception() is None:
                self._keep(reading)

    def advance(self, count: int) -> None:
        """Take note in a thread that it has read `count` bytes."""
        if self._stopped:
            raise _StoppedError
        with self._lock:
            self._read += count

    def ask(self, folder: str, column: int, paths: Sequence[Path], judged_by: object, read: Read) -> Reading:
        """Begin to read a column, unless the record has it and its files are the same."""
        mark, findings = mark_of(paths, judged_by), DeepFindings(self._table)
        known = self._record.find(self._table.directory, folder, column, mark)
        if known is not None:
            share: Future[float | None] = Future()
            share.set_result(known.share)
        else:
            share = self._pool.submit(read, findings)
        reading = Reading(folder, column, mark, paths, findings, share, known)
        self._asked.append(reading)
        return reading

    def take(self, reading: Reading) -> float | None:
        """Return the share of zeros once the column is read, and take over what it shows. Raises what `advance` did."""
        while not reading.share.done():
            wait((reading.share,), _EVERY)
            self._tell()
        share = reading.share.result()
        self._tell()
        self._keep(reading)
        return share

    def _tell(self) -> None:
        with self._lock:
            count, self._read = self._read, 0
        if count:
            self._advance(count)

    def _keep(self, reading: Reading) -> None:
        self._asked.remove(reading)
        if reading.known is not None:
            self._findings.found += reading.known.findings
            return
        self._findings.found += reading.findings.found
        self._findings.left_out += reading.findings.left_out
        if reading.mark and not reading.findings.left_out:
            size = sum(path.lstat().st_size for path in reading.paths if path.exists())
            share, found = reading.share.result(), tuple(reading.findings.found)
            kept = ReadColumn(reading.column, reading.mark, size, share, found)
            self._record.keep(self._table.directory, reading.folder, kept)
