"""Files of a table's directory: `_txn`, `_meta`, `_cv` and what lies beside them."""

from typing import Final

from console.questdb.column_types import DECIMALS, TIMESTAMP_NANOS, ColumnTag
from console.questdb.formats.model import FIRST, Bits, Code, FieldFormat, RecordFormat, Unit

_V932: Final = (9, 3, 2)

TXN_HEADER: Final = RecordFormat("`_txn`, header", "TxReader", fields=(
    FieldFormat("version", 0, "<i8", "even: record A is the current one, odd: B; the other is the state before"),
    FieldFormat("a_offset", 8, "<i4", "where record A begins; zero where there is none yet", shown="A: offset"),
    FieldFormat("a_symbol_bytes", 12, "<i4", "8 per symbol column; zero without symbols", shown="A: symbol bytes"),
    FieldFormat("a_partition_bytes", 16, "<i4", "32 per partition; zero in an empty table",
        shown="A: partition bytes"),
    FieldFormat("reserved", 20, "V12", unit=Unit.ZEROS),
    FieldFormat("b_offset", 32, "<i4", "where record B begins; zero where there is none yet", shown="B: offset"),
    FieldFormat("b_symbol_bytes", 36, "<i4", "8 per symbol column; zero without symbols", shown="B: symbol bytes"),
    FieldFormat("b_partition_bytes", 40, "<i4", "32 per partition; zero in an empty table",
        shown="B: partition bytes"),
    FieldFormat("reserved_b", 44, "V20", unit=Unit.ZEROS, shown="reserved"),
))  # fmt: skip
TXN_RECORD: Final = RecordFormat("`_txn`, record A or B", "TxReader", fields=(
    FieldFormat("txn", 0, "<i8", "the same as the version at the start, in the current record"),
    FieldFormat("transient_rows", 8, "<i8", "total rows are this and the next number",
        shown="rows in the last partition"),
    FieldFormat("fixed_rows", 16, "<i8", "zero with one partition", shown="rows in all other partitions"),
    FieldFormat("min_ts", 24, "<i8", "of all rows", Unit.ROW_TIME, shown="min timestamp"),
    FieldFormat("max_ts", 32, "<i8", "of all rows", Unit.ROW_TIME, shown="max timestamp"),
    FieldFormat("metadata_version", 40, "<i4", "the same as in the table's _meta"),
    FieldFormat("structure_version", 44, "<i4",
        "the one to compare with the sequencer's; zero: the metadata version, i32 min: 0",
        shown="column structure version"),
    FieldFormat("data_version", 48, "<i8", "counts changes; zero before the first"),
    FieldFormat("partition_table_version", 56, "<i8", "counts changes; zero before the first"),
    FieldFormat("column_version", 64, "<i8", "counts changes; zero before the first"),
    FieldFormat("truncate_version", 72, "<i8", "counts TRUNCATEs; zero before the first"),
    FieldFormat("seq_txn", 80, "<i8", "the last transaction of the log that is wholly applied", shown="seqTxn"),
    FieldFormat("lag_checksum", 88, "<i4", "written, not checked by 9.1.0"),
    FieldFormat("lag_txn_raw", 92, "<i4", "counted as applied on top of seqTxn; negative: lag not in order",
        shown="lag transactions"),
    FieldFormat("lag_rows", 96, "<i4", "zero is its normal value"),
    FieldFormat("lag_min_ts", 100, "<i8", "of the lag rows", Unit.ROW_TIME, shown="lag min timestamp"),
    FieldFormat("lag_max_ts", 108, "<i8", "of the lag rows", Unit.ROW_TIME, shown="lag max timestamp"),
    FieldFormat("reserved", 116, "V12", unit=Unit.UNWRITTEN),
    FieldFormat("symbol_columns", 128, "<i4", "zero without symbols"),
))  # fmt: skip
TXN_SYMBOL: Final = RecordFormat("`_txn`, one for each symbol column", "TxReader", fields=(
    FieldFormat("count", 0, "<i4", "distinct values", shown="values"),
    FieldFormat("transient", 4, "<i4", "zero between transactions", shown="uncommitted"),
))  # fmt: skip
TXN_PARTITIONS: Final = RecordFormat("`_txn`, behind the symbol columns", "TxReader", fields=(
    FieldFormat("bytes", 0, "<i4", "32 per partition", shown="partition bytes"),
))  # fmt: skip
TXN_PARTITION: Final = RecordFormat("`_txn`, one for each partition", "TxReader", fields=(
    FieldFormat("timestamp", 0, "<i8", "where it begins", Unit.ROW_TIME),
    FieldFormat("rows", 8, "<i8", "stale in the last one; high bits are flags", bits=(Bits("rows", 0, 44),
        Bits("squashes", 44, 16, _V932), Bits("parquet", 61, since=(8, 0, 0)), Bits("read only", 62))),
    FieldFormat("name_txn", 16, "<i8", "-1: its directory has no suffix"),
    FieldFormat("parquet_size", 24, "<i8", "bytes of data.parquet; -1: not parquet", since=(8, 0, 0)),
))  # fmt: skip
_TYPES_SINCE: Final = {
    ColumnTag.VARCHAR: (7, 4, 0),
    ColumnTag.ARRAY: (9, 0, 0),
    **dict.fromkeys(DECIMALS, (9, 2, 0)),
}
COLUMN_TYPES: Final = (
    *(Code(tag.value, tag.name, _TYPES_SINCE.get(tag, FIRST)) for tag in ColumnTag),
    Code(TIMESTAMP_NANOS, "TIMESTAMP_NS", (9, 1, 0)),
)
META_HEADER: Final = RecordFormat("`_meta` of a table, header", "TableUtils.META_OFFSET_*", fields=(
    FieldFormat("columns", 0, "<i4", "columns, dropped ones included", shown="column count"),
    FieldFormat("partition_by", 4, "<i4", codes=(Code(0, "DAY"), Code(1, "MONTH"), Code(2, "YEAR"), Code(3, "NONE"),
        Code(4, "HOUR"), Code(5, "WEEK"), Code(6, "N/A", (9, 3, 0)))),
    FieldFormat("timestamp_index", 8, "<i4", "the designated timestamp's column; zero is the first, -1 none"),
    FieldFormat("version", 12, "<i4", "426 in every version up to 9.3.4"),
    FieldFormat("table_id", 16, "<i4", "the same in every file of the table"),
    FieldFormat("max_uncommitted_rows", 20, "<i4"),
    FieldFormat("o3_max_lag_us", 24, "<i8", "microseconds", shown="out-of-order lag"),
    FieldFormat("metadata_version", 32, "<i8", "zero is its normal value until a first ALTER"),
    FieldFormat("wal", 40, "i1", "1: a WAL table, 0: none", shown="WAL"),
    FieldFormat("minor_checksum", 41, "<i2", "of metadata version and column count; the next two count if it fits",
        shown="checksum", since=(9, 0, 0)),
    FieldFormat("minor_version", 43, "<i2", "1", since=(9, 0, 0)),
    FieldFormat("ttl", 45, "<i4", "hours, or minus months; zero: none", shown="TTL", since=(9, 0, 0)),
    FieldFormat("reserved", 49, "V79", unit=Unit.UNWRITTEN),
))  # fmt: skip
META_COLUMN: Final = RecordFormat(
    "`_meta` of a table, one for each column, behind all of them the names (str)", "TableUtils.META_COLUMN_*", fields=(
    FieldFormat("type", 0, "<i4", "in the low byte, parameters above it; negative: dropped", codes=COLUMN_TYPES),
    FieldFormat("flags", 4, "<i8", bits=(Bits("indexed", 0), Bits("symbol cache", 2), Bits("deduplication key", 3))),
    FieldFormat("index_capacity", 12, "<i4", "row numbers of a block of the index", shown="index block capacity"),
    FieldFormat("symbol_capacity", 16, "<i4", "a power of 2; up to 8.2 zero or random after an ALTER"),
    FieldFormat("parquet_encoding", 20, "<i4", "zero: as configured; up to 8.2 random, if ALTER added the column",
        since=(9, 3, 3), bits=(Bits("encoding", 0, 8), Bits("compression", 8, 8), Bits("level", 16, 8),
        Bits("explicit", 24))),
    FieldFormat("replaces", 24, "<i4", "zero: none; else a column's index and 1"),
    FieldFormat("reserved", 28, "V4", unit=Unit.UNWRITTEN),
))  # fmt: skip
CV_HEADER: Final = RecordFormat("`_cv`, header", "ColumnVersionReader", fields=(
    FieldFormat("version", 0, "<i8", "even: area A is the current one, odd: B"),
    FieldFormat("a_offset", 8, "<i8", "where the area begins; zero where there is none yet", shown="A: offset"),
    FieldFormat("a_size", 16, "<i8", "bytes; zero where no column differs", shown="A: size"),
    FieldFormat("b_offset", 24, "<i8", "where the area begins; zero where there is none yet", shown="B: offset"),
    FieldFormat("b_size", 32, "<i8", "bytes; zero where no column differs", shown="B: size"),
))  # fmt: skip
CV_ENTRY: Final = RecordFormat("`_cv`, entry of an area, by partition and column", "ColumnVersionReader", fields=(
    FieldFormat("partition", 0, "<i8", "timestamp of the partition; i64 min: default of the column; "
        "i64 min + 1 (from 9.1): dictionary of a symbol column", Unit.ROW_TIME),
    FieldFormat("column", 8, "<i8", "index in `_meta`", shown="column index"),
    FieldFormat("name_txn", 16, "<i8", "suffix of the column's files; -1: none"),
    FieldFormat("top", 24, "<i8", "rows before the column was added; default: the partition it was added in",
        shown="column top"),
))  # fmt: skip
TODO: Final = RecordFormat("`_todo_`, header", "TableUtils", fields=(
    FieldFormat("txn", 0, "<i8", "zero: nothing to do"),
    FieldFormat("hash_low", 8, "<i8", "of the server instance that wrote it"),
    FieldFormat("hash_high", 16, "<i8", "of the server instance that wrote it"),
    FieldFormat("txn_check", 24, "<i8", "the same as txn"),
    FieldFormat("count", 32, "<i8", "entries that follow, i64 each: 1 truncate, 2 restore `_meta`"),
))  # fmt: skip
SYMBOL_OFFSETS: Final = RecordFormat(
    "`.o` of a symbol dictionary, header; the offset in `.c` of each value follows, i64 each, and the end of the last",
    "SymbolMapWriter", fields=(
    FieldFormat("capacity", 0, "<i4"),
    FieldFormat("cached", 4, "i1", "1: the server keeps the values in memory"),
    FieldFormat("reserved", 5, "V3", unit=Unit.UNWRITTEN),
    FieldFormat("has_null", 8, "i1", "1: some row is NULL"),
    FieldFormat("reserved_b", 9, "V55", unit=Unit.UNWRITTEN, shown="reserved"),
))  # fmt: skip
INDEX_HEADER: Final = RecordFormat("`.k` of a bitmap index, header", "BitmapIndexUtils", fields=(
    FieldFormat("signature", 0, "u1", "0xFA"),
    FieldFormat("sequence", 1, "<i8", "grows with each change"),
    FieldFormat("value_bytes", 9, "<i8", "bytes of `.v` in use"),
    FieldFormat("block_values", 17, "<i4", "row numbers of a block, a power of 2"),
    FieldFormat("keys", 21, "<i4", "entries that follow; key 0 is NULL, key k + 1 symbol k"),
    FieldFormat("reserved", 25, "V4", unit=Unit.UNWRITTEN),
    FieldFormat("sequence_check", 29, "<i8", "the same as sequence"),
    FieldFormat("reserved_b", 37, "V27", unit=Unit.UNWRITTEN, shown="reserved"),
))  # fmt: skip
INDEX_KEY: Final = RecordFormat("`.k` of a bitmap index, one for each key", "BitmapIndexUtils", fields=(
    FieldFormat("count", 0, "<i8", "row numbers of the key"),
    FieldFormat("first", 8, "<i8", "offset in `.v` of its first block"),
    FieldFormat("last", 16, "<i8", "offset in `.v` of its last block"),
    FieldFormat("check", 24, "<i8", "the same as count"),
))  # fmt: skip
INDEX_BLOCK_END: Final = RecordFormat(
    "`.v` of a bitmap index, behind the row numbers of a block, i64 each", "BitmapIndexUtils", fields=(
    FieldFormat("previous", 0, "<i8", "offset of the block before"),
    FieldFormat("next", 8, "<i8", "offset of the next block"),
))  # fmt: skip
