"""Findings about the symbol maps in a table's directory: lengths, headers and ends, against the counts of `_txn`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from console.diagnosis.findings.subject import TableFiles
from console.diagnosis.model import Code, Finding, Harm, Severity
from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.parquet_symbols import unknown_names
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DamageError, DbFile, ProblemKind
from console.questdb.symbol_counts import agreed_symbols
from console.questdb.symbol_files import SymbolFault, has_more_symbols, symbol_faults
from console.questdb.symbol_keys import highest_keys
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.text import clean_line

_CODES: Final = {
    ProblemKind.MISSING: Code.SYMBOL_MAP_MISSING,
    ProblemKind.SHORT: Code.SYMBOL_MAP_SHORT,
    ProblemKind.INVALID: Code.SYMBOL_MAP_INVALID,
}
_EFFECTS: Final = {
    "o": "filters on the column fail or find nothing, and the next new symbol stops applying",
    "c": "names of symbols are lost, and filters on the column find nothing",
    "k": "the table cannot be read, or a known symbol is entered a second time",
    "v": "the table cannot be read, or a known symbol is entered a second time",
}


def symbol_map_findings(files: TableFiles, area: TxnArea, metadata: TableMetadata) -> Iterator[Finding]:
    """Yield what is wrong with the dictionaries of the symbol columns, or with the count of them in `_txn`."""
    faults = list(symbol_faults(files.directory.path, area, metadata, files.versions))
    counted = {each.column: each for each in _miscounted(files, area, metadata, {fault.column for fault in faults})}
    yield from counted.values()
    for fault in faults:
        if fault.column not in counted:
            yield _finding(files, fault)


def _miscounted(files: TableFiles, area: TxnArea, metadata: TableMetadata, doubted: set[str]) -> Iterator[Finding]:
    """Yield the columns of which `_txn` counts more symbols than values and index of the map agree on.

    Where rows use more than those it is the map that is of before.
    """
    partitions = PartitionFiles(files.directory.path, area, metadata, files.versions, None)
    for column, count in zip(metadata.symbols, area.symbols["count"].tolist(), strict=False):
        if column.name not in doubted:
            continue
        held = agreed_symbols(files.directory.path, column.raw_name, files.versions.symbol_name_txn(column.index))
        if held is None or held >= count or highest_keys(partitions, column).get(column.index, -1) >= held:
            continue
        if unknown_names(partitions, column, held) == 0:
            message = (
                f"_txn counts {count:,} symbols of {column.name}, and values and index of its symbol map agree on "
                f"{held:,}: a row with a new symbol, or a read, fails"
            )
            harm = Harm.SPOILS_SYMBOLS
            yield Finding(
                Code.TABLE_TXN_MISCOUNTED, Severity.DAMAGE, message, files.relative(files.txn.path), area.base,
                column=column.name, start=harm if files.incoming.any else Harm.NONE, write=harm,
            )  # fmt: skip


def _finding(files: TableFiles, fault: SymbolFault) -> Finding:
    problem = fault.problem
    file = files.relative(problem.file)
    code = _CODES.get(problem.kind)
    if code is None:
        return Finding(Code.UNREADABLE, Severity.RISK, f"symbol map: {problem.what}", file, column=fault.column)
    what = f"the symbol map of {fault.column} is damaged: {clean_line(problem.file.name)}: {problem.what}"
    effect = _EFFECTS.get(fault.suffix, "")
    harm = Harm.SPOILS_SYMBOLS
    if not problem.offset and fault.suffix == "o" and problem.kind is ProblemKind.INVALID:
        effect = "QuestDB finds no symbol by its hash, and enters each a second time"  # measured on 9.1.0
    message, severity = f"{what}; {effect}" if effect else what, Severity.DAMAGE if fault.proven else Severity.RISK
    start = harm if files.incoming.any else Harm.NONE
    # Measured on 9.1.0: with nothing to apply a start leaves the map alone, and purges WAL that may hold the names.
    if start is Harm.NONE and fault.suffix == "c" and files.directory.wals():
        start = Harm.DELETES_WAL
        message += "; applied WAL may hold these names, and a start purges it"
    return Finding(code, severity, message, file, problem.offset, column=fault.column, start=start, write=harm)


_NEWEST: Final = 1 << 18
"""Rows of the last partition that are looked at: 1 MiB of keys."""


def symbol_count_findings(files: TableFiles, area: TxnArea, metadata: TableMetadata) -> Iterator[Finding]:
    """Yield the columns whose newest committed rows use keys at or above the number of symbols in `_txn`.

    The next new symbol would take such a key. A server that dies leaves symbols in a map that `_txn` does not count,
    and no committed row that uses them. So rows are looked at only if the map has more symbols than counted, and of
    these the newest: the full check reads all.
    """
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
                yield _count_finding(files, committed, count, key)


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


def _count_finding(files: TableFiles, each: StoredColumn, count: int, key: int) -> Finding:
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
