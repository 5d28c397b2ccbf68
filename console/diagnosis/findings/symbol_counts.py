"""Symbols that `_txn` does not count and rows use: the next new symbol would take a key that has a meaning already.

A server that dies leaves symbols in a map that `_txn` does not count, and no committed row that uses them. So rows are
looked at only if the map has more symbols than counted, and of these the newest: the full check reads all.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from console.diagnosis.findings.subject import TableFiles
from console.diagnosis.model import Code, Finding, Harm, Severity
from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_files import has_more_symbols
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea

_NEWEST: Final = 1 << 18
"""Rows of the last partition that are looked at: 1 MiB of keys."""


def symbol_count_findings(files: TableFiles, area: TxnArea, metadata: TableMetadata) -> Iterator[Finding]:
    """Yield the columns whose newest committed rows use keys at or above the number of symbols in `_txn`."""
    if not metadata.symbols:
        return
    partitions = PartitionFiles(files.directory.path, area, metadata, files.versions, None)
    if not partitions.spans or partitions.spans[-1].parquet_size is not None:
        return
    for each in partitions.columns_of(partitions.spans[-1]):
        if isinstance(each, StoredColumn) and each.column.tag is ColumnTag.SYMBOL:
            committed = replace(each, rows=max(0, each.rows - area.lag_rows))
            count = partitions.symbols(each.column)
            key = _highest_unknown(files, partitions, committed, count)
            if key is not None:
                yield _finding(files, committed, count, key)


def _highest_unknown(files: TableFiles, partitions: PartitionFiles, each: StoredColumn, count: int) -> int | None:
    """Return the highest key of the newest rows if `_txn` does not count it; None also if a file cannot be read."""
    name_txn = partitions.symbol_name_txn(each.column)
    try:
        if not has_more_symbols(column_path(files.directory.path, each.column.raw_name, "o", name_txn), count):
            return None
        with DbFile(each.data) as file:
            first = max(0, each.rows - _NEWEST)
            keys = file.array(4 * first, "<i4", each.rows - first)
    except (DamageError, OSError):
        return None  # said of the file itself
    highest = int(keys.max()) if len(keys) else -1
    return highest if highest >= count else None


def _finding(files: TableFiles, each: StoredColumn, count: int, key: int) -> Finding:
    message = (
        f"_txn counts {count:,} symbols of {each.column.name}, and rows of partition {each.span.directory} use key "
        f"{key:,}, which the symbol map has: QuestDB shows these rows with an empty symbol, and its next new symbol "
        "takes a key in use"
    )
    harm = Harm.SPOILS_SYMBOLS
    return Finding(
        Code.TABLE_TXN_MISCOUNTED, Severity.DAMAGE, message, files.relative(files.txn.path), column=each.column.name,
        partition=each.span.directory, start=harm if files.incoming.any else Harm.NONE, write=harm,
    )  # fmt: skip
