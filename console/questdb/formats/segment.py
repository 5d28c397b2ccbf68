"""Files of a WAL segment: `_event`, its index, and the auxiliary files of columns, which partitions have too."""

from typing import Final

from console.questdb.formats.model import Bits, Code, FieldFormat, RecordFormat, Unit

EVENT_HEADER: Final = RecordFormat("`_event`, header", "WalEventWriter", fields=(
    FieldFormat("last_txn", 0, "<i4", "number of the last event, from 0; zero both for one event and for none",
        shown="last segmentTxn"),
    FieldFormat("format", 4, "<i2", "0; 1 with materialised views (from 9.0), 2 with views (from 9.3)"),
    FieldFormat("format_high", 6, "<i2", "zero is its normal value", shown="format, high"),
))  # fmt: skip
EVENT: Final = RecordFormat("`_event`, start of each record; i32 -1 follows the last", "WalEventCursor", fields=(
    FieldFormat("length", 0, "<i4", "bytes of this event, these four included"),
    FieldFormat("txn", 4, "<i8", "the event's number in this segment; zero is the first", shown="segmentTxn"),
    FieldFormat("type", 12, "i1", codes=(Code(0, "rows"), Code(1, "SQL"), Code(2, "TRUNCATE"), Code(3,
        "rows of a materialised view", (9, 0, 0)), Code(4, "materialised view invalidated", (9, 0, 0)), Code(5,
        "view definition", (9, 3, 0)))),
))  # fmt: skip
EVENT_ROWS: Final = RecordFormat(
    "`_event`, record of rows; its symbols follow, and perhaps a footer", "WalEventCursor", fields=(
    *EVENT.fields,
    FieldFormat("start_row", 13, "<i8", "in the segment's columns; zero is the first", shown="first row"),
    FieldFormat("end_row", 21, "<i8", "the row after the last"),
    FieldFormat("min_ts", 29, "<i8", "of the rows of this event", Unit.ROW_TIME, shown="min timestamp"),
    FieldFormat("max_ts", 37, "<i8", "of the rows of this event", Unit.ROW_TIME, shown="max timestamp"),
    FieldFormat("out_of_order", 45, "u1", "zero: the rows are in timestamp order"),
))  # fmt: skip
EVENT_VIEW_ROWS: Final = RecordFormat(
    "`_event`, record of rows of a materialised view", "WalEventCursor", since=(9, 0, 0), fields=(
    *EVENT_ROWS.fields,
    FieldFormat("base_txn", 46, "<i8", "of the base table", shown="base transaction"),
    FieldFormat("refresh_us", 54, "<i8", unit=Unit.MICROS, shown="refreshed at"),
))  # fmt: skip
EVENT_SYMBOLS: Final = RecordFormat(
    "`_event`, new symbols of a column; i32 key and str of each follow, then i32 -1; behind all columns i32 -1",
    "WalEventCursor", fields=(
    FieldFormat("column", 0, "<i4"),
    FieldFormat("has_null", 4, "i1", "1: some row is NULL"),
    FieldFormat("clean_count", 5, "<i4", "values that the table's dictionary had"),
    FieldFormat("count", 9, "<i4", "new values"),
))  # fmt: skip
EVENT_FOOTER: Final = RecordFormat(
    "`_event`, end of a record of rows that asks for a deduplication mode", "WalEventCursor", since=(9, 0, 0), fields=(
    FieldFormat("end_of_symbols", 0, "<i4", "-1"),
    FieldFormat("extra", 4, "<i8", "end of a view's period"),
    FieldFormat("low", 12, "<i8", shown="replace range, low"),
    FieldFormat("high", 20, "<i8", shown="replace range, high"),
    FieldFormat("mode", 28, "i1", shown="deduplication mode", codes=(Code(0, "as the table has it"), Code(1,
        "no deduplication"), Code(2, "deduplication"), Code(3, "replace range"))),
))  # fmt: skip
EVENT_SQL: Final = RecordFormat(
    "`_event`, body of an SQL statement; its text (str), EVENT_SEEDS and bind values follow", "WalEventCursor", fields=(
    FieldFormat("command", 0, "<i4", codes=(Code(2, "ALTER"), Code(3, "UPDATE"))),
))  # fmt: skip
EVENT_SEEDS: Final = RecordFormat("`_event`, behind the text of an SQL statement", "WalEventCursor", fields=(
    FieldFormat("seed_0", 0, "<i8", shown="random seed 0"),
    FieldFormat("seed_1", 8, "<i8", "the server's clock", Unit.MICROS, shown="random seed 1"),
))  # fmt: skip
EVENT_INVALIDATE: Final = RecordFormat(
    "`_event`, body of an invalidation; the reason (str), i64 end of the period and intervals as in `_mv.s` follow",
    "WalEventCursor", since=(9, 0, 0), fields=(
    FieldFormat("base_txn", 0, "<i8", "of the base table", shown="base transaction"),
    FieldFormat("refresh_us", 8, "<i8", unit=Unit.MICROS, shown="refreshed at"),
    FieldFormat("invalid", 16, "i1", "1: the view is invalid"),
))  # fmt: skip
EVENT_OFFSET: Final = RecordFormat("`_event.i`, entry", "WalEventWriter", fields=(
    FieldFormat("offset", 0, "<i8", "where the event begins; the last entry is where the events end"),
))  # fmt: skip
TIMESTAMP_ROW: Final = RecordFormat("Designated timestamp of a segment, one for each row", "WalWriter", fields=(
    FieldFormat("timestamp", 0, "<i8", unit=Unit.ROW_TIME),
    FieldFormat("row", 8, "<i8", "number in the segment"),
))  # fmt: skip
STRING_OFFSET: Final = RecordFormat(
    "`.i` of STRING and BINARY, one for each row and the end of the last", "StringTypeDriver", fields=(
    FieldFormat("offset", 0, "<i8", "in `.d`, where a value is its length (i32 or i64) and its units or bytes"),
))  # fmt: skip
VARCHAR_AUX: Final = RecordFormat("`.i` of VARCHAR, one for each row", "VarcharTypeDriver", since=(7, 4, 0), fields=(
    FieldFormat("header", 0, "<i4", "an inlined value has its size in the bits 4 to 7, and begins at 1",
        bits=(Bits("inlined", 0), Bits("ASCII", 1), Bits("null", 2), Bits("size", 4, 28))),
    FieldFormat("prefix", 4, "6u1", "first bytes of the value"),
    FieldFormat("low", 10, "<u2", "offset in `.d`, bits 0 to 15"),
    FieldFormat("high", 12, "<u4", "offset in `.d`, bits 16 to 47"),
))  # fmt: skip
ARRAY_AUX: Final = RecordFormat("`.i` of an array, one for each row", "ArrayTypeDriver", since=(9, 0, 0), fields=(
    FieldFormat("offset", 0, "<i8", "in `.d`, 48 bits; dimensions and values lie there"),
    FieldFormat("size", 8, "<i4", "bytes in `.d`; zero: NULL"),
    FieldFormat("reserved", 12, "<i4", unit=Unit.UNWRITTEN),
))  # fmt: skip
