"""Files of `txn_seq`: the log, its parts, the structure changes, the metadata (also of a segment), the WAL index."""

from typing import Final

from console.questdb.formats.model import Code, FieldFormat, RecordFormat, Unit

LOG_HEADER: Final = RecordFormat("`_txnlog`, header", "TableTransactionLogFile", fields=(
    FieldFormat("version", 0, "<i4", "0: V1, records follow; 1 (from 7.4): V2, records are in `_txn_parts`",
        shown="format version"),
    FieldFormat("max_txn", 4, "<i8", "committed transactions", shown="maxTxn"),
    FieldFormat("created_us", 12, "<i8", "when the table's log was made; the server never reads it", Unit.MICROS,
        shown="created"),
    FieldFormat("part_size", 20, "<i4", "V2: transactions in each part; V1: 0", since=(7, 4, 0)),
    FieldFormat("reserved", 24, "V52", unit=Unit.ZEROS),
))  # fmt: skip

_RECORD: Final = (
    FieldFormat("structure_version", 0, "<i8", "never falls; 0 is normal for a table that was never altered"),
    FieldFormat("wal_id", 8, "<i4", "1 or more; -1: structure change; -2: table dropped; 0 is never valid",
                shown="walId"),
    FieldFormat("segment_id", 12, "<i4", "-1 for a structure change", shown="segmentId"),
    FieldFormat("segment_txn", 16, "<i4", "-1 for a structure change", shown="segmentTxn"),
    FieldFormat("commit_us", 20, "<i8", "the server's clock at the commit", Unit.MICROS, shown="commit timestamp"),
)  # fmt: skip
LOG_RECORD: Final = RecordFormat("`_txnlog` V1, record", "TableTransactionLogV1", _RECORD)
LOG_RECORD_V2: Final = RecordFormat("`_txn_parts/P`, record", "TableTransactionLogV2", since=(7, 4, 0), fields=(
    *_RECORD,
    FieldFormat("min_ts", 28, "<i8", "of the rows of this transaction; structure change: the ALTER command",
        Unit.ROW_TIME, shown="min timestamp"),
    FieldFormat("max_ts", 36, "<i8", "of the rows of this transaction", Unit.ROW_TIME, shown="max timestamp"),
    FieldFormat("row_count", 44, "<i8", "rows of this transaction; zero for SQL and TRUNCATE"),
    FieldFormat("reserved", 52, "<i8", unit=Unit.ZEROS),
))  # fmt: skip
WAL_INDEX: Final = RecordFormat("`_wal_index.d`", "IDGeneratorFactory", fields=(
    FieldFormat("highest", 0, "<i8", "the highest WAL id handed out; the rest of the page is zero"),
))  # fmt: skip
STRUCTURE_END: Final = RecordFormat("`_txnlog.meta.i`, entry v", "TableTransactionLog", fields=(
    FieldFormat("end", 0, "<i8", "end in `_txnlog.meta.d` of the change that made structure version v; entry 0: 0"),
))  # fmt: skip
STRUCTURE_CHANGE: Final = RecordFormat("`_txnlog.meta.d`, change", "AlterOperation", fields=(
    FieldFormat("length", 0, "<i4", "bytes that follow", shown="payload length"),
    FieldFormat("command", 4, "<i2", "the ALTER command", codes=(Code(1, "add column"), Code(8, "drop column"),
        Code(9, "rename column"), Code(14, "rename table"), Code(15, "enable deduplication"), Code(16,
        "disable deduplication"), Code(17, "change a column's type"))),
    FieldFormat("position", 6, "<i4", "where the table's name stood in the statement", shown="name position"),
    FieldFormat("numbers", 10, "<i4", "how many numbers follow, i64 each; then an i32 count of texts, and these"),
))  # fmt: skip
SEQUENCER_META: Final = RecordFormat("`_meta` of a sequencer or segment, header", "SequencerMetadata", fields=(
    FieldFormat("length", 0, "<i4", "bytes in use; the rest of the page is slack"),
    FieldFormat("version", 4, "<i4", "0", shown="format version"),
    FieldFormat("structure_version", 8, "<i8", "changes of structure up to here; -2: the table was dropped"),
    FieldFormat("columns", 16, "<i4", "columns, dropped ones included", shown="column count"),
    FieldFormat("timestamp_index", 20, "<i4", "the designated timestamp's column; -1: none"),
    FieldFormat("table_id", 24, "<i4", "the same in every file of the table"),
    FieldFormat("suspended", 28, "i1", "1: suspended; from 9.0 on nothing sets it", shown="suspended flag"),
))  # fmt: skip
SEQUENCER_ORDER: Final = RecordFormat("`_meta` of a sequencer, behind the columns", "SequencerMetadata", fields=(
    FieldFormat("checksum", 0, "<i8", "of types and names; the order counts only where it matches",
        shown="columns' checksum"),
    FieldFormat("count", 8, "<i4", "entries of the column read order, i32 each", shown="read order length"),
))  # fmt: skip
