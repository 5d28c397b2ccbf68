"""One file open in the browser: its decoder, its findings, and whether it is still what it was when it was read."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from console.diagnosis.inspection import FileDescription, FileKind, Inspector, RecordView
from console.diagnosis.model import Finding
from console.errors import WalmedicError
from console.questdb.reading import DbFile
from console.questdb.zero_runs import zero_runs
from console.widgets import figures
from console.widgets.hex_line import HexFile, RowFacts
from screens.browser_column import ColumnFile
from screens.browser_parquet import ParquetRows
from screens.browser_tree import owner_name

_LABEL = 12  # cells for the seqTxn at the end of a record's first row


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another."""

    inode: int
    size: int
    mtime_ns: int
    uid: int = 0
    mode: int = 0

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        try:
            status = path.lstat()
        except OSError:
            return None
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_uid, status.st_mode)


class OpenFile:
    """A file, opened once. Opening blocks and may raise WalmedicError: from a thread only."""

    def __init__(self, path: Path, root: Path, findings: Iterable[Finding], now: float, row: int = 0) -> None:
        self.path = path
        self.read_at = now
        self.stamp = Stamp.of(path)
        self._inspector = Inspector(path, root)
        other = self._inspector.kind is FileKind.OTHER
        self.column = ColumnFile.of(canonical(path)) if other else None
        self.parquet = ParquetRows.of(canonical(path), row) if other and self.column is None else None
        self.findings = tuple(finding for finding in findings if finding.file and _same(root, finding.file, path))
        self.description = self._described()
        decoder = self.column or self.parquet or self._inspector
        self._records = functools.lru_cache(maxsize=512)(decoder.record_at)

    def learn(self, findings: Iterable[Finding]) -> None:
        """Take what a diagnosis of this very file found."""
        self.findings = tuple(dict.fromkeys((*self.findings, *findings)))
        self.description = self._described()

    def _described(self) -> FileDescription:
        about = self._inspector.describe(self.findings)
        stored = self.column or self.parquet
        return replace(about, kind=stored.kind, summary=stored.summary()) if stored else about

    def offset_of(self, row: int) -> int:
        """Return where a row of the partition is; of one in Parquet its values are read. Raises WalmedicError; blocks.

        Rows are in the files of columns, and in Parquet.
        """
        if self.parquet is not None:
            offset = self.parquet.load(row)
            self._records.cache_clear()
            return offset
        if self.column is None:
            raise WalmedicError("rows are in the column files of partitions: open one first")
        return self.column.offset_of(row)

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""
        return self._inspector.size

    def read(self, offset: int, count: int) -> bytes:
        return self._inspector.read(offset, count)

    def record_at(self, offset: int) -> RecordView | None:
        """Return the record or header that holds the byte at `offset`. Raises OSError where the device fails."""
        return self._records(offset)

    def record_of(self, txn: int) -> RecordView | None:
        return self._inspector.record_of(txn)

    def span(self, offset: int) -> tuple[int, int]:
        """Return the bytes of the field at `offset`, from and to; that byte alone where no field is known."""
        try:
            record = self.record_at(offset)
        except OSError:
            return offset, offset + 1
        found = record.field_at(offset) if record is not None else None
        return (found.offset, found.end) if found is not None else (offset, offset + 1)

    def field_beside(self, offset: int, steps: int) -> int | None:
        """Return where the field `steps` fields from that at `offset` begins, in this record or the one beside it."""
        record = self.record_at(offset)
        if record is None:
            return None
        here = record.field_at(offset)
        at = (record.fields.index(here) if here is not None else 0) + steps
        if 0 <= at < len(record.fields):
            return record.fields[at].offset
        return record.offset - 1 if at < 0 else record.offset + record.size

    def close(self) -> None:
        self._inspector.close()
        if self.column is not None:
            self.column.close()

    def hex_file(self) -> HexFile:
        description = self.description
        labelled = description.seq_txn_base is not None
        return HexFile(
            self,
            description.record_base,
            description.record_size,
            self._facts,
            self.span,
            self._tail(),
            _LABEL if labelled else 0,
            self._borders(),
        )

    def _borders(self) -> tuple[int, ...]:
        """Return the end of the records that are used: zeros before it mean another thing than zeros after it."""
        about = self.description
        if about.record_base is None or not about.record_size or about.record_count is None:
            return ()
        return (about.record_base, about.record_base + about.record_count * about.record_size)

    def owner(self) -> str:
        """Return owner and mode, e.g. `questdb 0644`."""
        status = self.stamp
        return f"{owner_name(status.uid)} {status.mode & 0o7777:04o}" if status is not None else ""

    def change(self, now: Stamp | None) -> str:
        """Return what has become of the file since it was opened, empty where nothing has."""
        then = self.stamp
        if then is None or now == then:
            return ""
        if now is None:
            return "the file is gone; what is shown was read before"
        if now.inode != then.inode:
            return "another file stands in its place"
        if now.size < then.size:
            return f"the file shrank from {figures.count(then.size)} to {figures.count(now.size)} bytes"
        if now.size > then.size:
            return f"the file grew from {figures.count(then.size)} to {figures.count(now.size)} bytes"
        if now.mtime_ns == then.mtime_ns:
            return "its owner or its mode was changed"
        return "the file was written to"

    def _facts(self, offset: int, count: int) -> RowFacts:
        """Return label and abnormal bytes of one row, by the record that its first byte belongs to."""
        try:
            record = self.record_at(offset)
        except OSError:
            return RowFacts()
        if record is None:
            return RowFacts()
        bad = tuple((f.offset, f.end) for f in record.fields if not f.is_normal or f.missing)
        first = record.offset == offset and record.seq_txn is not None
        return RowFacts(figures.count(record.seq_txn) if first else "", bad)

    def _tail(self) -> str:
        """Return what the header wants beyond the end of the file, from the finding that says so."""
        beyond = [finding for finding in self.findings if finding.offset is not None and finding.offset >= self.size]
        return beyond[0].message if beyond else ""


def _same(root: Path, relative: str, path: Path) -> bool:
    return any((base / relative) == path for base in (root, root / "db", root.parent))


def zeros_of(path: Path) -> NDArray[np.int64]:
    """Return the runs of zeros of a file, none where it cannot be read; blocks while it looks."""
    try:
        with DbFile(canonical(path)) as file:
            return zero_runs(file)
    except OSError:
        return np.empty((0, 2), np.int64)


def canonical(path: Path) -> Path:
    """Return the path as readers want it: the way to the file may hold links, the file itself may be none."""
    return path.parent.resolve() / path.name
