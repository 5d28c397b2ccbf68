"""`_txnlog` and its parts, record by record: what each byte is, and whether zero is normal there.

A zero structure version is the normal value on a table that was never altered, and every record of it begins so; the
walId is what tells a whole record from a zeroed one (TableTransactionLogV1, docs/formats.md, the sequencer log).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from console.diagnosis.inspection.model import FileKind, RecordView
from console.diagnosis.inspection.values import FieldReader, Note
from console.questdb.formats.model import RecordFormat
from console.questdb.formats.sequencer import LOG_HEADER, LOG_RECORD, LOG_RECORD_V2
from console.questdb.reading import DbFile
from console.questdb.txn_log import (
    HEADER_SIZE,
    MAX_SEGMENT_ID,
    RECORD_SIZE,
    STRUCTURE_CHANGE,
    TABLE_DROPPED,
    LogHeader,
    parse_log_header,
)
from console.text import plural

_LOOK_BACK: Final = 4096


@dataclass(frozen=True, slots=True)
class LogShape:
    """Where records lie in one file: `base` offset of the first, `first_txn` its seqTxn, `max_txn` the header's."""

    kind: FileKind
    header: LogHeader | None
    base: int
    form: RecordFormat
    first_txn: int
    max_txn: int
    applied: int | None

    @property
    def record_size(self) -> int:
        return self.form.size

    def offset_of(self, txn: int) -> int:
        """Return where the record of `txn` begins, in this file or past its end."""
        return self.base + (txn - self.first_txn) * self.record_size

    def txn_at(self, offset: int) -> int:
        return self.first_txn + (offset - self.base) // self.record_size


def shape_of_log(file: DbFile, applied: int | None) -> LogShape:
    """Return the shape of a `_txnlog`; a V2 one has a header and no records."""
    header = parse_log_header(file.read(0, HEADER_SIZE))
    if header is None or header.version not in (0, 1):
        return LogShape(FileKind.LOG_DAMAGED, header, HEADER_SIZE, LOG_RECORD, 1, 0, applied)
    if header.version == 1:
        return LogShape(FileKind.LOG_V2, header, HEADER_SIZE, LOG_RECORD_V2, 1, header.max_txn, applied)
    return LogShape(FileKind.LOG_V1, header, HEADER_SIZE, LOG_RECORD, 1, header.max_txn, applied)


def shape_of_part(path: Path, applied: int | None) -> LogShape:
    """Return the shape of a V2 part, whose first seqTxn follows from the part size in the log's header.

    Raises OSError where the log beside `_txn_parts` cannot be read.
    """
    with DbFile(path.parent.parent / "_txnlog") as log:
        header = parse_log_header(log.read(0, HEADER_SIZE))
    part_size = header.part_size if header and header.part_size > 0 else 0
    first = int(path.name) * part_size + 1
    return LogShape(FileKind.LOG_PART, header, 0, LOG_RECORD_V2, first, header.max_txn if header else 0, applied)


def whole_records(shape: LogShape, size: int) -> int:
    """Return how many records of the shape the file of `size` bytes holds and the header promises."""
    if shape.kind in (FileKind.LOG_V2, FileKind.LOG_DAMAGED):
        return 0
    inside = max(0, size - shape.base) // shape.record_size
    return max(0, min(inside, shape.max_txn - shape.first_txn + 1))


def header_view(file: DbFile) -> RecordView:
    """Return the 76 bytes at the start of a `_txnlog`."""
    read = FieldReader(file)
    values = read.values(LOG_HEADER)
    version, max_txn, part_size = values["version"], values["max_txn"], values["part_size"]
    kind = {0: "V1: records follow in this file", 1: "V2: records are in _txn_parts"}.get(version or 0)
    known = version in (0, 1)
    notes = {"version": Note(kind if known else "9.1.0 knows only 0 and 1", known)}
    if max_txn is not None:
        wanted = HEADER_SIZE + RECORD_SIZE * max_txn
        fits = max_txn >= 0 and (version == 1 or wanted <= file.size)
        meaning = f"the log says it holds {plural(max_txn, 'transaction')}"
        if not fits and version != 1:
            meaning += f"; that takes {wanted:,} bytes and the file has {file.size:,}, so the server reads past its end"
        notes["max_txn"] = Note(meaning, fits)
    if part_size is not None:
        fine = part_size > 0 if version == 1 else part_size == 0
        what = "transactions per part file" if version == 1 else "zero is its normal value: V1 has no parts"
        notes["part_size"] = Note(what if fine else "not a value that the server writes here", fine)
    read.record(LOG_HEADER, 0, notes)
    return RecordView("header", 0, HEADER_SIZE, read.taken())


def record_view(file: DbFile, shape: LogShape, txn: int) -> RecordView:
    """Return the record of `txn`, also where the file ends before it (every field is then missing)."""
    at = shape.offset_of(txn)
    read = FieldReader(file)
    if at >= file.size:
        _past_end(read, file, shape, txn, at)
    elif txn > shape.max_txn:
        size = min(shape.record_size, file.size - at)
        read.zeros(
            f"unused tail, where seqTxn {txn:,} will be written",
            at,
            size,
            "zero is its normal value: the file grows by whole pages, and the header counts no transaction here",
            f"bytes after the last transaction that the header counts ({shape.max_txn:,}): maxTxn may be too low",
        )
    else:
        _record(read, file, shape, txn, at)
    return RecordView(f"record of seqTxn {txn:,}", at, shape.record_size, read.taken(), txn)


def _past_end(read: FieldReader, file: DbFile, shape: LogShape, txn: int, at: int) -> None:
    size = file.size
    if txn <= shape.max_txn:
        why = (
            f"past the end of the file ({size:,} bytes): the header counts {shape.max_txn:,} transactions and "
            f"the file ends before the record of seqTxn {txn:,}"
        )
    else:
        why = f"past the end of the file ({size:,} bytes), and past what its header counts ({shape.max_txn:,})"
    before = _version_before(file, shape, min(txn, shape.txn_at(size)))
    unaltered = before is None or before[1] == 0
    for field in shape.form.fields:
        zero = "zero is its normal value" if not field.offset and unaltered else ""
        of = f"{field.label} of seqTxn {txn:,}"
        read.missing(
            field.label, at + field.offset, field.size, f"{of}, {zero}; it lies {why}" if zero else f"{of}: {why}"
        )


def _record(read: FieldReader, file: DbFile, shape: LogShape, txn: int, at: int) -> None:
    values = read.values(shape.form, at)
    wal, committed = values["wal_id"], values["commit_us"]
    notes = {
        "structure_version": Note(*_structure_version(file, shape, txn, values["structure_version"], wal)),
        "wal_id": Note(*_wal_id(shape, txn, wal)),
        "commit_us": Note(normal=committed is None or committed > 0),
    }
    if committed == 0:
        meaning = "zero: never read when applying, but no server writes it"
        notes["commit_us"] = Note(meaning, _never_read(shape, txn))
    for name in ("segment_id", "segment_txn"):
        text, fine = _address(name, values[name], wal, values["segment_id"])
        label = LOG_RECORD[name].label
        notes[name] = Note(text if fine else f"not a value that a {label} has", fine)
    if shape.form is LOG_RECORD_V2:
        notes |= _statistics(values, wal or 0)
    read.record(shape.form, at, notes)


def _address(name: str, value: int | None, wal: int | None, segment: int | None) -> tuple[str, bool]:
    if wal == STRUCTURE_CHANGE:
        return "-1 in a structure change", value == -1
    if wal == TABLE_DROPPED:
        return "0 where the table was dropped", value == 0
    if name == "segment_id":
        text = f"directory wal{wal}/{segment}; zero is the first" if wal else "zero, like the whole record"
        return text, value is not None and 0 <= value <= MAX_SEGMENT_ID
    return "event of that segment; zero is its first", value is not None and value >= 0


def _statistics(values: dict[str, int | None], wal: int) -> dict[str, Note]:
    if wal == STRUCTURE_CHANGE:
        command = values["min_ts"]
        return {"min_ts": Note("which kind of structure change", shown=f"{command:,}", label="alter command")}
    names = ("min_ts", "max_ts")
    return {name: Note(shown=f"{values[name]:,}") for name in names if wal <= 0 or values[name] == -1}


def _never_read(shape: LogShape, txn: int) -> bool:
    return shape.applied is not None and txn <= shape.applied


def _wal_id(shape: LogShape, txn: int, wal: int | None) -> tuple[str, bool]:
    if wal is None:
        return "", False
    if wal == STRUCTURE_CHANGE:
        return "-1: a structure change, kept in _txnlog.meta.d", True
    if wal == TABLE_DROPPED:
        return "-2: the table was dropped here", txn == shape.max_txn
    if wal > 0:
        return f"the rows are in wal{wal}", True
    if wal < 0:
        return "not a walId", False
    if _never_read(shape, txn):
        return f"zero: no transaction, but it is never read again (applied up to {shape.applied:,})", True
    return "zero is never a walId: this record is damaged, and applying stops here", False


def _structure_version(file: DbFile, shape: LogShape, txn: int, value: int | None, wal: int | None) -> tuple[str, bool]:
    """Return the meaning of a structure version, judged by the nearest record before it that is not zeroed."""
    before = _version_before(file, shape, txn)
    of = f"structure version of seqTxn {txn:,}"
    if value is None:
        return of, False
    if value == 0:
        if before:
            earlier, version = before
            if version > 0 and wal == 0 and _never_read(shape, txn):
                return f"{of}: zero like the whole record, which is never read again", True
            if version > 0:
                return f"{of}: zero is not normal here, seqTxn {earlier:,} before it has {version:,}", False
        if wal == STRUCTURE_CHANGE:
            return f"{of}: zero is not normal for a structure change, the first makes it 1", False
        return f"{of}, zero is its normal value: the table's structure was not changed before it", True
    if value < 0:
        return f"{of}: never negative", False
    if before is None:
        return f"{of}: {plural(value, 'structure change')} up to here", True
    earlier, version = before
    expected = version + 1 if wal == STRUCTURE_CHANGE else version
    if value != expected and txn - earlier == 1:
        return f"{of}: {expected:,} would be normal, seqTxn {earlier:,} before it has {version:,}", False
    return f"{of}: {plural(value, 'structure change')} up to here", value >= version


def _version_before(file: DbFile, shape: LogShape, txn: int) -> tuple[int, int] | None:
    """Return (seqTxn, structure version) of the nearest record before `txn` with a walId; None at the log's start."""
    first = max(shape.first_txn, txn - _LOOK_BACK)
    for low, high in ((max(first, txn - 16), txn - 1), (first, txn - 17)):
        if high < low:
            continue
        records = file.array(shape.offset_of(low), shape.form.dtype, high - low + 1)
        whole = np.flatnonzero(records["wal_id"] != 0)
        if len(whole):
            at = int(whole[-1])
            return low + at, int(records["structure_version"][at])
    return None
