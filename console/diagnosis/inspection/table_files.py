"""The table's own files: `_txn`, `_meta`, `_cv`, and the registry `tables.d.N` (TableUtils, TableNameRegistryStore)."""

from dataclasses import replace
from typing import Final

from console.diagnosis.inspection.model import RecordView
from console.diagnosis.inspection.values import FieldReader, Note
from console.questdb.column_types import type_name
from console.questdb.column_versions import DEFAULT_PARTITION, SYMBOL_PARTITION
from console.questdb.fields import I32_MIN
from console.questdb.formats.database import REGISTRY_ENTRY, REGISTRY_HEADER, REGISTRY_REST
from console.questdb.formats.table import (
    CV_ENTRY,
    CV_HEADER,
    META_COLUMN,
    META_HEADER,
    TXN_HEADER,
    TXN_PARTITION,
    TXN_PARTITIONS,
    TXN_RECORD,
    TXN_SYMBOL,
)
from console.questdb.reading import DbFile
from console.questdb.registry import RESERVED_AFTER_ADD
from console.questdb.table_metadata import VERSION

_AREA: Final = ("offset", "symbol_bytes", "partition_bytes")
_MOST: Final = 100_000
_NO_PARTITION: Final = {DEFAULT_PARTITION: "every partition", SYMBOL_PARTITION: "dictionary of a symbol column"}


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
    values = read.values(META_HEADER)
    notes = {"version": Note("426 is the one that 9.1.0 accepts", values["version"] == VERSION)}
    notes["wal"] = Note(normal=values["wal"] in (0, 1))
    read.record(META_HEADER, 0, notes)
    views = [RecordView("header", 0, META_HEADER.size, read.taken())]
    count = min(values["columns"] or 0, _MOST)
    for index in range(count):
        at = META_HEADER.size + META_COLUMN.size * index
        if at >= file.size:
            break
        each = FieldReader(file)
        code = each.values(META_COLUMN, at)["type"] or 0
        shown = f"dropped (was {type_name(-code)})" if code < 0 else type_name(code)
        each.record(META_COLUMN, at, {"type": Note("the column's type", code != 0, shown)})
        views.append(RecordView(f"column {index}", at, META_COLUMN.size, each.taken()))
    at = META_HEADER.size + META_COLUMN.size * count
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
    header = read.values(CV_HEADER)
    version = header["version"]
    current = "A" if version is None or version % 2 == 0 else "B"
    read.record(CV_HEADER, 0, {"version": Note(f"area {current} is the current one")})
    views = [RecordView("header", 0, CV_HEADER.size, read.taken())]
    areas = ((header[f"{name.lower()}_offset"] or 0, header[f"{name.lower()}_size"] or 0, name) for name in "AB")
    for offset, size, name in sorted(areas):
        if offset < CV_HEADER.size or not 0 < size <= CV_ENTRY.size * _MOST:
            continue
        for index in range(size // CV_ENTRY.size):
            at = offset + CV_ENTRY.size * index
            if at >= file.size:
                break
            each = FieldReader(file)
            value = each.values(CV_ENTRY, at)["partition"]
            known = _NO_PARTITION.get(value if value is not None else 0)
            each.record(CV_ENTRY, at, {"partition": Note("timestamp of the partition", shown=known)})
            views.append(RecordView(f"area {name}, entry {index}", at, CV_ENTRY.size, each.taken()))
    return tuple(views)


def registry_views(file: DbFile) -> tuple[RecordView, ...]:
    """Return the entries of `tables.d.N`: each adds or removes a WAL table; an add is followed by 64 zero bytes."""
    read = FieldReader(file)
    end = min(read.record(REGISTRY_HEADER)["end"] or 0, file.size)
    views = [RecordView("header", 0, REGISTRY_HEADER.size, read.taken())]
    at = REGISTRY_HEADER.size
    while at < end and len(views) < _MOST:
        each = FieldReader(file)
        op = each.record(REGISTRY_ENTRY, at)["operation"]
        name, after = each.text("table name", at + REGISTRY_ENTRY.size, limit=10_000)
        _, after = each.text("directory", after, limit=10_000)
        each.record(REGISTRY_REST, after)
        after += REGISTRY_REST.size
        if op == 0:
            each.zeros("reserved", after, RESERVED_AFTER_ADD, "zero is its normal value", "should be zero")
            after += RESERVED_AFTER_ADD
        title = f"{'add' if op == 0 else 'remove'} {name or ''}".rstrip()
        views.append(RecordView(title, at, after - at, each.taken()))
        if op not in (0, -1):
            break
        at = after
    return tuple(views)


def text_view(file: DbFile, label: str) -> RecordView:
    """Return the one text of a `_name` (a zero byte follows) or of what names the instance of a checkpoint."""
    read = FieldReader(file)
    _, end = read.text(label, 0, "an i32 count of UTF-16 units, and the units", limit=4096)
    read.zeros("end", end, 1, "a zero byte ends it", "a zero byte should end it")
    return RecordView(label, 0, max(1, read.taken()[-1].end), read.taken())
