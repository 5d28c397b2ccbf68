"""The body of one segment transaction, decoded when asked for: symbols, SQL with its variables, view fields.

Source: WalEventCursor and WalEventWriter. All integers are little-endian.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.column_types import ColumnTag, tag_of, type_name
from console.questdb.fields import I64_MIN, Fields, Walk
from console.questdb.formats.segment import EVENT, EVENT_ROWS, EVENT_SYMBOLS, EVENT_VIEW_ROWS
from console.questdb.reading import DamageError, DbFile, Problem, ProblemKind, problem_of
from console.questdb.segment import EventType, Segment
from console.text import clean

_MAX_TEXT: Final = 1 << 24
_MAX_RECORD: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class SymbolDiff:
    """What a data event adds to one symbol column: values by key, above the `clean_count` that the table had."""

    column: int
    has_null: bool
    clean_count: int
    keys: tuple[int, ...]
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class DataDetails:
    """Symbols of a data event (raw values)."""

    symbols: tuple[SymbolDiff, ...]


@dataclass(frozen=True, slots=True)
class SqlVariable:
    """A bind variable: `name` None for an indexed one; `value` in words."""

    name: str | None
    type_name: str
    value: str


@dataclass(frozen=True, slots=True)
class SqlDetails:
    """A statement that is carried out when it is applied; `raw_sql` as stored. `seeds` feed its random functions."""

    command: int
    sql: str
    raw_sql: str
    seeds: tuple[int, int]
    variables: tuple[SqlVariable, ...]


@dataclass(frozen=True, slots=True)
class TruncateDetails:
    """TRUNCATE TABLE: removes every row applied before it."""


@dataclass(frozen=True, slots=True)
class InvalidateDetails:
    """A change of a view's state: `period_high` None where not set, `intervals_base_txn` -1 where there are none."""

    base_txn: int
    refresh_us: int
    invalid: bool
    reason: str
    period_high: int | None
    intervals_base_txn: int
    intervals: tuple[int, ...]


Details = DataDetails | SqlDetails | TruncateDetails | InvalidateDetails


def read_details(segment: Segment, txn: int) -> Details | Problem:
    """Return the body of the segment's transaction `txn`, or the problem where it cannot be read or decoded."""
    path = segment.path / "_event"
    if not 0 <= txn < len(segment.events):
        return Problem(ProblemKind.SHORT, f"it has no segment transaction {txn:,}", path)
    event = segment.events[txn]
    offset, length, kind = int(event["offset"]), int(event["length"]), int(event["type"])
    if kind == EventType.UNREADABLE:
        return Problem(ProblemKind.INVALID, f"segment transaction {txn:,} cannot be decoded", path, offset)
    if length > _MAX_RECORD:
        return Problem(ProblemKind.INVALID, f"a record of {length:,} bytes", path, offset)
    try:
        with DbFile(path) as file:
            return parse_details(file.read(offset, length), kind, offset)
    except (OSError, DamageError) as error:
        return problem_of(error, path)


def parse_details(record: bytes, kind: int, offset: int = 0) -> Details:
    """Return the body in the bytes of a whole record that lies at `offset`. Raises DamageError where it is cut."""
    fields = Fields(record, offset)
    match kind:
        case EventType.DATA:
            return DataDetails(_symbols(Walk(fields, EVENT_ROWS.size)))
        case EventType.MAT_VIEW_DATA:
            return DataDetails(_symbols(Walk(fields, EVENT_VIEW_ROWS.size)))
        case EventType.SQL:
            return _sql(Walk(fields, EVENT.size))
        case EventType.MAT_VIEW_INVALIDATE:
            return _invalidate(Walk(fields, EVENT.size))
        case _:
            return TruncateDetails()


def read_symbols(segment: Segment, path: Path | None = None) -> dict[int, tuple[SymbolDiff, ...]] | Problem:
    """Return the symbol diffs of every data event, by segment transaction; the file is read once.

    Events without diffs are left out. A problem where the file cannot be read or a section is damaged.
    """
    path = path or segment.path / "_event"
    found: dict[int, tuple[SymbolDiff, ...]] = {}
    if not segment.data.any():
        return found
    try:
        with DbFile(path) as file:
            for event in segment.events[segment.data]:
                offset, length, kind = int(event["offset"]), int(event["length"]), int(event["type"])
                record = file.read(offset, min(length, _MAX_RECORD))
                body = (EVENT_VIEW_ROWS if kind == EventType.MAT_VIEW_DATA else EVENT_ROWS).size
                if diffs := _symbols(Walk(Fields(record, offset), body)):
                    found[int(event["txn"])] = diffs
    except (OSError, DamageError) as error:
        return problem_of(error, path)
    return found


def _symbols(walk: Walk) -> tuple[SymbolDiff, ...]:
    diffs: list[SymbolDiff] = []
    while (column := walk.i32()) != -1:
        at = walk.at - EVENT_SYMBOLS["column"].size
        if column < 0:
            raise DamageError(f"symbols for column {column}", walk.fields.base + at)
        head = EVENT_SYMBOLS.read(walk.fields, at)
        walk.at = at + EVENT_SYMBOLS.at("count")
        count = walk.count("symbol", 8)
        keys: list[int] = []
        values: list[str | None] = []
        for _ in range(count):
            keys.append(walk.i32())
            values.append(walk.string(_MAX_TEXT))
        if walk.i32() != -1:
            raise DamageError(f"symbols of column {column} are not closed", walk.fields.base + walk.at - 4)
        diffs.append(SymbolDiff(column, head["has_null"] != 0, head["clean_count"], tuple(keys), tuple(values)))
    return tuple(diffs)


def _sql(walk: Walk) -> SqlDetails:
    command = walk.i32()
    raw = walk.string(_MAX_TEXT) or ""
    seeds = (walk.i64(), walk.i64())
    variables = [_variable(walk, None) for _ in range(walk.count("variable", 4))]
    variables += [_variable(walk, walk.string(_MAX_TEXT)) for _ in range(walk.count("variable", 8))]
    return SqlDetails(command, clean(raw), raw, seeds, tuple(variables))


def _variable(walk: Walk, name: str | None) -> SqlVariable:
    code = walk.i32()
    return SqlVariable(None if name is None else clean(name), type_name(code), _value(walk, code))


def _value(walk: Walk, code: int) -> str:
    """Return the next bind value in words (WalEventWriter.appendFunctionValue)."""
    match tag_of(code):
        case ColumnTag.BOOLEAN:
            return "true" if walk.i8() else "false"
        case ColumnTag.BYTE | ColumnTag.GEOBYTE:
            return str(walk.i8())
        case ColumnTag.SHORT | ColumnTag.GEOSHORT:
            return str(walk.i16())
        case ColumnTag.CHAR:
            return clean(chr(walk.i16() & 0xFFFF))
        case ColumnTag.INT | ColumnTag.GEOINT:
            return str(walk.i32())
        case ColumnTag.IPV4:
            return ".".join(str(part) for part in struct.pack(">i", walk.i32()))
        case ColumnTag.LONG | ColumnTag.GEOLONG | ColumnTag.DATE | ColumnTag.TIMESTAMP:
            value = walk.i64()
            return "null" if value == I64_MIN else str(value)
        case ColumnTag.FLOAT:
            return repr(struct.unpack("<f", struct.pack("<i", walk.i32()))[0])
        case ColumnTag.DOUBLE:
            return repr(struct.unpack("<d", struct.pack("<q", walk.i64()))[0])
        case ColumnTag.STRING:
            text = walk.string(_MAX_TEXT)
            return "null" if text is None else clean(text)
        case ColumnTag.VARCHAR:
            return _varchar(walk)
        case ColumnTag.BINARY | ColumnTag.ARRAY:
            count = walk.i64()
            walk.skip(max(0, count))
            return "null" if count < 0 else f"{count:,} bytes"
        case ColumnTag.UUID:
            low, high = walk.i64() & _U64, walk.i64() & _U64
            return f"{high:016x}{low:016x}"
        case _:
            at = walk.fields.base + walk.at - 4
            raise DamageError(f"a variable of type {code}", at)


_U64: Final = (1 << 64) - 1


def _varchar(walk: Walk) -> str:
    """Return a varchar in plain form: i32 size (bit 31: ASCII only), -1 or the null bit for null, then UTF-8."""
    header = walk.i32()
    if header == -1:
        return "null"
    size = header & 0x7FFFFFFF
    start = walk.at
    walk.skip(size)
    return clean(walk.fields.data[start : start + size].decode("utf-8", "replace"))


def _invalidate(walk: Walk) -> InvalidateDetails:
    base_txn, refresh_us, invalid = walk.i64(), walk.i64(), walk.i8() != 0
    reason = walk.string(_MAX_TEXT)
    left = len(walk.fields) - walk.at
    period = walk.i64() if left >= 8 else I64_MIN
    intervals_txn = -1
    intervals: tuple[int, ...] = ()
    if len(walk.fields) - walk.at >= 12:
        intervals_txn = walk.i64()
        if walk.fields.i32(walk.at) != -1:
            intervals = tuple(walk.i64() for _ in range(walk.count("interval", 8)))
    return InvalidateDetails(
        base_txn,
        refresh_us,
        invalid,
        clean(reason or ""),
        None if period == I64_MIN else period,
        intervals_txn,
        intervals,
    )
