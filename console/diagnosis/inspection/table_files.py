"""The table's own files: `_txn`, `_meta`, `_cv`, and the registry `tables.d.N` (TableUtils, TableNameRegistryStore)."""

from dataclasses import replace
from typing import Final

from console.diagnosis.inspection.model import RecordView
from console.diagnosis.inspection.values import FieldReader, Note, data_moment
from console.questdb.column_types import type_name
from console.questdb.fields import I32_MIN
from console.questdb.formats.table import TXN_HEADER, TXN_PARTITION, TXN_PARTITIONS, TXN_RECORD, TXN_SYMBOL
from console.questdb.reading import DbFile

_AREA: Final = ("offset", "symbol_bytes", "partition_bytes")
_META_COLUMNS: Final = 128
_META_COLUMN: Final = 32
_CV_HEADER: Final = 40
_CV_ENTRY: Final = 32
_MOST: Final = 100_000
_UNITS: Final = ("DAY", "MONTH", "YEAR", "NONE", "HOUR", "WEEK")
_KINDS: Final = {0: "not a WAL table", 1: "WAL table", 2: "materialised view"}


def table_txn_views(file: DbFile, nanos: bool = False) -> tuple[RecordView, ...]:
    """Return the header of `_txn` and its two records; an even version makes A the current one, an odd one B."""
    read = FieldReader(file)
    header = read.values(TXN_HEADER)
    version = header["version"]
    current = "A" if version is None or version % 2 == 0 else "B"
    read.record(TXN_HEADER, 0, {"version": Note(f"record {current} is the current one")})
    views = [RecordView("header", 0, TXN_HEADER.size, read.taken())]
    places = []
    for name in "AB":
        offset, symbols, partitions = (header[f"{name.lower()}_{each}"] for each in _AREA)
        if offset and offset >= TXN_HEADER.size and symbols is not None and partitions is not None:
            places.append((offset, name, symbols, partitions))
    for offset, name, symbols, partitions in sorted(places):
        view = _txn_record(FieldReader(file, nanos), offset, symbols, partitions, version if name == current else None)
        state = "current" if name == current else "the state before"
        views.append(replace(view, title=f"record {name}, {state}"))
    return tuple(views)


def _txn_record(read: FieldReader, at: int, symbols: int, partitions: int, version: int | None) -> RecordView:
    """Return the record at `at`; `version` is the header's for the current record, None for the other."""
    values = read.values(TXN_RECORD, at)
    same = values["txn"] == version
    notes = {"txn": Note(f"{'the same as' if same else 'differs from'} the version at the start", same)}
    if version is None:
        notes = {"txn": Note("the state before the current one")}
    code = values["structure_version"]
    notes["structure_version"] = Note(
        "the structure version to compare with the sequencer's"
        if code
        else "zero is its normal value: the same as the metadata version",
        shown="0 (stored as i32 min)" if code == I32_MIN else None,
    )
    fine = not (values["lag_txn_raw"] and values["lag_rows"] == 0)
    notes["lag_txn_raw"] = Note(
        "zero is its normal value; counted as applied on top of seqTxn"
        if fine
        else "not zero without lag rows: the next transaction is skipped in silence",
        fine,
    )
    read.record(TXN_RECORD, at, notes)
    place, listed = at + TXN_RECORD.size, symbols // TXN_SYMBOL.size
    for index in range(min(values["symbol_columns"] or 0, listed, _MOST)):
        read.record(TXN_SYMBOL, place + TXN_SYMBOL.size * index, prefix=f"symbol column {index}: ")
    place += TXN_SYMBOL.size * max(0, min(listed, _MOST))
    read.record(TXN_PARTITIONS, place)
    place += TXN_PARTITIONS.size
    for index in range(min(partitions // TXN_PARTITION.size, _MOST)):
        first = read.record(TXN_PARTITION, place + TXN_PARTITION.size * index, prefix=f"partition {index}: ")
        if first["timestamp"] is None:
            break
    return RecordView("", at, place + max(0, partitions) - at, read.taken())


def table_metadata_views(file: DbFile) -> tuple[RecordView, ...]:
    """Return the header of a table `_meta`, one view per column entry and one for the names."""
    read = FieldReader(file)
    count = read.number("column count", 0, 4, "columns, dropped ones included") or 0
    unit = read.peek(4, 4)
    known = unit is not None and 0 <= unit < len(_UNITS)
    read.number("partition by", 4, 4, "zero is DAY", normal=known,
                shown=_UNITS[unit] if known and unit is not None else f"{unit}")  # fmt: skip
    read.number("timestamp index", 8, 4, "the designated timestamp's column; zero is the first, -1 none")
    version = read.peek(12, 4)
    read.number("version", 12, 4, "426 is the one that 9.1.0 accepts", normal=version == 426)
    read.number("table id", 16, 4, "the same in every file of the table")
    read.number("max uncommitted rows", 20, 4)
    read.number("out-of-order lag", 24, 8, "microseconds")
    read.number("metadata version", 32, 8, "zero is its normal value until a first ALTER")
    read.number("WAL", 40, 1, "1: a WAL table, 0: none", normal=read.peek(40, 1) in (0, 1))
    read.number("minor version", 41, 4, "checksum of metadata version and column count, and 1")
    read.number("TTL", 45, 4, "zero: none")
    views = [RecordView("header", 0, _META_COLUMNS, read.taken())]
    count = min(count, _MOST)
    for index in range(count):
        at = _META_COLUMNS + _META_COLUMN * index
        if at >= file.size:
            break
        each = FieldReader(file)
        code = each.peek(at, 4) or 0
        each.number("type", at, 4, "the column's type", normal=code != 0,
                    shown=f"dropped (was {type_name(-code)})" if code < 0 else type_name(code))  # fmt: skip
        each.number("flags", at + 4, 8, "1 indexed, 4 symbol cache, 8 deduplication key")
        each.number("index block capacity", at + 12, 4)
        each.number("symbol capacity", at + 16, 4, "zero where it is no symbol")
        each.number("replaces", at + 24, 4, "zero: none; else a column's index and 1")
        views.append(RecordView(f"column {index}", at, _META_COLUMN, each.taken()))
    at = _META_COLUMNS + _META_COLUMN * count
    for index in range(count):
        if at >= file.size:
            break
        each = FieldReader(file)
        name, after = each.text("name", at, "the column's name", limit=10_000)
        views.append(RecordView(f"name of column {index} {name or ''}".rstrip(), at, after - at, each.taken()))
        at = after
    return tuple(views)


def column_version_views(file: DbFile) -> tuple[RecordView, ...]:
    """Return the header of `_cv` and the entries of both its areas; an even version makes A the current one."""
    read = FieldReader(file)
    version = read.peek(0, 8)
    read.number("version", 0, 8, f"area {'A' if version is None or version % 2 == 0 else 'B'} is the current one")
    places = []
    for name, at in (("A", 8), ("B", 24)):
        offset = read.number(f"{name}: offset", at, 8, "where the area begins; zero where there is none yet")
        size = read.number(f"{name}: size", at + 8, 8, "bytes; zero where no column differs")
        if offset and size and 0 < size <= _CV_ENTRY * _MOST and offset >= _CV_HEADER:
            places.append((name, offset, size))
    views = [RecordView("header", 0, _CV_HEADER, read.taken())]
    for name, offset, size in sorted(places, key=lambda place: place[1]):
        for index in range(size // _CV_ENTRY):
            at = offset + _CV_ENTRY * index
            if at >= file.size:
                break
            each = FieldReader(file)
            value = each.peek(at, 8)
            shown = "every partition" if value == -(1 << 63) else data_moment(value) if value is not None else ""
            each.number("partition", at, 8, "timestamp of the partition", shown=shown)
            each.number("column index", at + 8, 8)
            each.number("name txn", at + 16, 8, "suffix of the column's files; -1: none")
            each.number("column top", at + 24, 8, "rows before the column was added")
            views.append(RecordView(f"area {name}, entry {index}", at, _CV_ENTRY, each.taken()))
    return tuple(views)


def registry_views(file: DbFile) -> tuple[RecordView, ...]:
    """Return the entries of `tables.d.N`: each adds or removes a WAL table; an add is followed by 64 zero bytes."""
    read = FieldReader(file)
    end = read.number("append offset", 0, 8, "where the next entry will be; zero in a fresh file") or 0
    views = [RecordView("header", 0, 8, read.taken())]
    at, end = 8, min(end, file.size)
    while at < end and len(views) < _MOST:
        each = FieldReader(file)
        op = each.peek(at, 4)
        add = op == 0
        each.number("operation", at, 4, "0 adds a table, -1 removes one", normal=op in (0, -1),
                    shown={0: "add", -1: "remove"}.get(op if op is not None else 1, f"{op}"))  # fmt: skip
        name, after = each.text("table name", at + 4, limit=10_000)
        _, after = each.text("directory", after, limit=10_000)
        each.number("table id", after, 4)
        kind = each.peek(after + 4, 4)
        each.number("type", after + 4, 4, "", shown=_KINDS.get(kind if kind is not None else -1, f"{kind}"))
        after += 8
        if add:
            each.zeros("reserved", after, 64, "zero is its normal value", "should be zero")
            after += 64
        views.append(RecordView(f"{'add' if add else 'remove'} {name or ''}".rstrip(), at, after - at, each.taken()))
        if op not in (0, -1):
            break
        at = after
    return tuple(views)
