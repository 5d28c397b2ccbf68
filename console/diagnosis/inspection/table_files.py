"""The table's own files: `_txn`, `_meta`, `_cv`, and the registry `tables.d.N` (TableUtils, TableNameRegistryStore)."""

from typing import Final

from console.diagnosis.inspection.model import RecordView
from console.diagnosis.inspection.values import FieldReader, data_moment
from console.questdb.column_types import type_name
from console.questdb.reading import DbFile

_TXN_HEADER: Final = 64
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
    version = read.peek(0, 8)
    current = "A" if version is None or version % 2 == 0 else "B"
    read.number("version", 0, 8, f"record {current} is the current one")
    places: list[tuple[str, int, int, int]] = []
    for name, at in (("A", 8), ("B", 32)):
        offset = read.number(f"{name}: offset", at, 4, f"where record {name} begins; zero where there is none yet")
        symbols = read.number(f"{name}: symbol bytes", at + 4, 4, "8 per symbol column; zero without symbols")
        partitions = read.number(f"{name}: partition bytes", at + 8, 4, "32 per partition; zero in an empty table")
        if offset and offset >= _TXN_HEADER and symbols is not None and partitions is not None:
            places.append((name, offset, symbols, partitions))
    read.zeros("reserved", 20, 12, "zero is its normal value", "should be zero")
    read.zeros("reserved", 44, 20, "zero is its normal value", "should be zero")
    views = [RecordView("header", 0, _TXN_HEADER, read.taken())]
    for name, at, symbols, partitions in sorted(places, key=lambda place: place[1]):
        state = "current" if name == current else "the state before"
        views.append(
            _txn_record(file, f"record {name}, {state}", at, symbols, partitions, version, name == current, nanos)
        )
    return tuple(views)


def _txn_record(
    file: DbFile, title: str, at: int, symbols: int, partitions: int, version: int | None, current: bool, nanos: bool
) -> RecordView:
    read = FieldReader(file)
    same = read.peek(at, 8) == version
    meaning = "the same as the version at the start" if same else "differs from the version at the start"
    read.number("txn", at, 8, meaning if current else "the state before the current one", normal=same or not current)
    read.number("rows in the last partition", at + 8, 8, "total rows are this and the next number")
    read.number("rows in all other partitions", at + 16, 8, "zero with one partition")
    for name, offset in (("min timestamp", 24), ("max timestamp", 32)):
        value = read.peek(at + offset, 8)
        read.number(name, at + offset, 8, "of all rows", shown=data_moment(value, nanos) if value is not None else "")
    read.number("metadata version", at + 40, 4, "the same as in the table's _meta")
    code = read.peek(at + 44, 4)
    meaning = "zero is its normal value: the same as the metadata version"
    if code:
        meaning = "the structure version to compare with the sequencer's"
    shown = "0 (stored as i32 min)" if code == -(1 << 31) else None
    read.number("column structure version", at + 44, 4, meaning, shown=shown)
    for name, offset in (("data version", 48), ("partition table version", 56), ("column version", 64)):
        read.number(name, at + offset, 8, "counts changes; zero before the first")
    read.number("truncate version", at + 72, 8, "counts TRUNCATEs; zero before the first")
    read.number("seqTxn", at + 80, 8, "the last transaction of the log that is wholly applied")
    read.number("lag checksum", at + 88, 4, "written, not checked by 9.1.0")
    lag, rows = read.peek(at + 92, 4), read.peek(at + 96, 4)
    fine = not (lag and rows == 0)
    read.number("lag transactions", at + 92, 4, "zero is its normal value; counted as applied on top of seqTxn" if fine
                else "not zero without lag rows: the next transaction is skipped in silence", normal=fine)  # fmt: skip
    read.number("lag rows", at + 96, 4, "zero is its normal value")
    for name, offset in (("lag min timestamp", 100), ("lag max timestamp", 108)):
        value = read.peek(at + offset, 8)
        read.number(
            name, at + offset, 8, "of the lag rows", shown=data_moment(value, nanos) if value is not None else ""
        )
    rest = file.read(at + 116, 12)
    read.add(
        "reserved",
        at + 116,
        12,
        rest.hex(" ") if any(rest) else "zeros",
        "not written: an older record's bytes may stay",
    )
    count = read.number("symbol columns", at + 128, 4, "zero without symbols") or 0
    for index in range(min(count, symbols // 8, _MOST)):
        read.number(f"symbol column {index}: values", at + 132 + 8 * index, 4, "distinct values")
        read.number(f"symbol column {index}: uncommitted", at + 136 + 8 * index, 4, "zero between transactions")
    section = at + 132 + 8 * max(0, min(symbols // 8, _MOST))
    read.number("partition bytes", section, 4, "32 per partition")
    for index in range(min(partitions // 32, _MOST)):
        place = section + 4 + 32 * index
        value = read.peek(place, 8)
        if value is None:
            read.missing(f"partition {index}: timestamp", place, 8)
            break
        read.number(f"partition {index}: timestamp", place, 8, "where it begins", shown=data_moment(value, nanos))
        masked = read.peek(place + 8, 8)
        rows_shown = f"{masked & ((1 << 44) - 1):,} rows" if masked is not None else ""
        read.number(f"partition {index}: rows", place + 8, 8, "stale in the last one; high bits are flags",
                    shown=rows_shown)  # fmt: skip
        read.number(f"partition {index}: name txn", place + 16, 8, "-1: its directory has no suffix")
        read.number(f"partition {index}: parquet size", place + 24, 8, "-1: not parquet")
    return RecordView(title, at, section + 4 + max(0, partitions) - at, read.taken())


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
