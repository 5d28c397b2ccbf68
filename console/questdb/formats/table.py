"""Files of a table's directory: `_txn`, `_meta`, `_cv` and what lies beside them."""

from typing import Final

from console.questdb.formats.model import Bits, FieldFormat, RecordFormat, Unit

_V932: Final = (9, 3, 2)

TXN_HEADER: Final = RecordFormat(
    "`_txn`, header",
    "TxReader",
    (
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
    ),
)  # fmt: skip
TXN_RECORD: Final = RecordFormat(
    "`_txn`, record A or B",
    "TxReader",
    (
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
    ),
)  # fmt: skip
TXN_SYMBOL: Final = RecordFormat(
    "`_txn`, one for each symbol column",
    "TxReader",
    (
        FieldFormat("count", 0, "<i4", "distinct values", shown="values"),
        FieldFormat("transient", 4, "<i4", "zero between transactions", shown="uncommitted"),
    ),
)
TXN_PARTITIONS: Final = RecordFormat(
    "`_txn`, behind the symbol columns",
    "TxReader",
    (FieldFormat("bytes", 0, "<i4", "32 per partition", shown="partition bytes"),),
)
TXN_PARTITION: Final = RecordFormat(
    "`_txn`, one for each partition",
    "TxReader",
    (
        FieldFormat("timestamp", 0, "<i8", "where it begins", Unit.ROW_TIME),
        FieldFormat("rows", 8, "<i8", "stale in the last one; high bits are flags",
                    bits=(Bits("rows", 0, 44), Bits("squashes", 44, 16, _V932), Bits("parquet", 61, since=(8, 0, 0)),
                          Bits("read only", 62))),
        FieldFormat("name_txn", 16, "<i8", "-1: its directory has no suffix"),
        FieldFormat("parquet_size", 24, "<i8", "bytes of data.parquet; -1: not parquet", since=(8, 0, 0)),
    ),
)  # fmt: skip
