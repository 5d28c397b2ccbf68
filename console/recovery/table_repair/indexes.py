"""What the bitmap indexes of a table must be, from its symbol columns; and a torn symbol column from its whole index.

An index that names each row exactly once is whole: then it is the column that is torn, and the index has its keys. The
index of a column that is torn is never made anew, since it may be the only place that has them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from console.questdb.bitmap_index import read_index_header
from console.questdb.index_check import check_index, indexed_keys
from console.questdb.layout import TableDirectory
from console.questdb.parquet_symbols import parquet_keys
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import NULL_KEY
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal, Requirement
from console.recovery.table_repair.index_files import column_index
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.own_files import OwnFiles, own_files
from console.recovery.table_repair.planning import Repair, Replacement
from console.text import clean_line, plural

_CAPACITY = 256  # of a block, if neither index nor `_meta` says another
_MOST_ROWS = 1 << 26
_MOST_BYTES = 2 << 30  # of all new files together: a plan holds them
_REINDEX = "start QuestDB and rebuild the index there: REINDEX TABLE … LOCK EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class _Case:
    """An indexed column in a partition: rows `first`..`end` - 1 of it are stored and visible."""

    each: StoredColumn
    first: int
    end: int
    symbols: int

    @property
    def place(self) -> str:
        return f"column {self.each.column.name}, partition {self.each.span.name}"

    def file(self, content: bytes, path: str, told: str) -> NewFile:
        return NewFile.of(f"{self.each.span.directory}/{path}", content, told)


def index_repair(table: TableDirectory) -> Repair:
    """Return what makes the indexes of `table` whole. Raises OSError if a file cannot be read."""
    files = own_files(table)
    if isinstance(files, Refusal):
        return Repair(files.reason, refused=(files,))
    replacements: list[Replacement] = []
    refused: list[Refusal] = []
    read: list[str] = []
    indexes = columns = size = 0
    for span in files.partitions.spans:
        for case in _cases(files, span):
            found = _repaired(case) if span.parquet_size is None else _of_parquet(case, files)
            if isinstance(found, Refusal):
                refused.append(found)
            elif found is not None:
                replacements.append(found)
                size += sum(file.size for file in found.files)
                read.append(f"{span.directory}/{case.each.data.name}")
                of_column = found.files[0].path == read[-1]
                indexes, columns = indexes + (not of_column), columns + of_column
    if size > _MOST_BYTES:
        reason = f"the new files have {size:,} bytes, more than a plan holds"
        refused.append(Refusal(RefusalCode.TOO_SCATTERED, reason, _REINDEX))
    told = []
    if indexes:
        told.append(f"{plural(indexes, 'index', 'indexes')} rebuilt from the symbol columns")
    if columns:
        told.append(f"{plural(columns, 'torn symbol column')} rebuilt from the whole index of each")
    return Repair(
        why="; ".join(told) or "All indexes agree with their columns.",
        replacements=tuple(replacements),
        read=tuple(read),
        requirements=(Requirement("an index or its column is damaged", bool(told), "; ".join(told) or "none"),),
        refused=tuple(refused),
    )


def _cases(files: OwnFiles, span: PartitionSpan) -> list[_Case]:
    lag = files.area.lag_rows if span.last else 0
    partitions = files.partitions
    found = []
    for each in partitions.columns_of(span):
        if isinstance(each, StoredColumn) and each.indexed and each.rows > lag:
            first = files.versions.top(span.start, each.column.index) or 0
            found.append(_Case(each, first, first + each.rows - lag, partitions.symbols(each.column)))
    return found


def _repaired(case: _Case) -> Replacement | Refusal | None:
    """Return what makes column and index agree, None if they do. Raises OSError."""
    if case.end - case.first > _MOST_ROWS:
        reason = f"{case.place} has {case.end - case.first:,} rows, more than an index is made of here"
        return None if _agree(case) else Refusal(RefusalCode.TOO_SCATTERED, reason, _REINDEX)
    if _agree(case):
        return None
    column, what = _column(case)
    indexed = _indexed(case)
    place = clean_line(case.place)
    if indexed is not None:  # the index names each row once, so the column is the one that is torn
        told = f"{plural(len(indexed), 'symbol key')} from the index"
        file = case.file(indexed.tobytes(), case.each.data.name, told)
        return Replacement(f"write the symbol keys of {place} from its index", (file,))
    if column is None:
        return Refusal(
            RefusalCode.COLUMN_FILE_INVALID,
            f"{place}: {what}, and its index does not name every row, so neither can be rebuilt from the other",
            "repair-partition first",
            action="repair-partition",
        )
    return _new_index(case, column)


def _new_index(case: _Case, column: NDArray[np.int32]) -> Replacement:
    made = column_index(column, case.first, _block(case))
    keys, values = case.each.index_files()
    told = f"index of {plural(len(column), 'row')}"
    pair = case.file(made.values, values.name, f"{told}, row numbers"), case.file(made.keys, keys.name, f"{told}, keys")
    return Replacement(f"write the index of {clean_line(case.place)}", pair)


def _agree(case: _Case) -> bool:
    keys, values = case.each.index_files()
    try:
        with DbFile(case.each.data) as column, DbFile(keys) as k, DbFile(values) as v:
            if column.size < 4 * (case.end - case.first):
                return False
            check_index(column, k, v, (case.first, case.end), case.symbols, lambda _: None)
    except (DamageError, FileNotFoundError):
        return False
    return True


def _column(case: _Case) -> tuple[NDArray[np.int32] | None, str]:
    """Return the keys of the stored rows, or None and what is wrong with them."""
    count = case.end - case.first
    try:
        with DbFile(case.each.data) as file:
            column = file.array(0, "<i4", count)
    except FileNotFoundError:
        return None, f"{case.each.data.name} is missing"
    if len(column) < count:
        return None, f"{case.each.data.name} holds {len(column):,} of {count:,} rows"
    if ((column != NULL_KEY) & ((column < 0) | (column >= case.symbols))).any():
        return None, f"{case.each.data.name} has symbol keys that no symbol has"
    return column, ""


def _indexed(case: _Case) -> NDArray[np.int32] | None:
    """Return the keys of the stored rows as the index has them, None if it does not name each of them once."""
    keys, values = case.each.index_files()
    try:
        with DbFile(keys) as k, DbFile(values) as v:
            found = indexed_keys(k, v, case.first, case.end, lambda _: None)
    except (DamageError, FileNotFoundError):
        return None
    return None if (found >= case.symbols).any() else found


def _block(case: _Case) -> int:
    keys, _ = case.each.index_files()
    try:
        with DbFile(keys) as file:
            return read_index_header(file).block_values
    except (DamageError, FileNotFoundError):
        capacity = case.each.column.index_capacity
        return capacity if 1 < capacity <= 1 << 20 and not capacity & (capacity - 1) else _CAPACITY


def _of_parquet(case: _Case, files: OwnFiles) -> Replacement | Refusal | None:
    """Return the index of a partition in Parquet, made from the symbols there; None if it is whole."""
    place, why = clean_line(case.place), ""
    try:
        name_txn = files.versions.symbol_name_txn(case.each.column.index)
        column = parquet_keys(files.table.path, case.each, (case.first, case.end), case.symbols, name_txn)
    except ImportError:
        column, why = None, "pyarrow, which reads it, is not installed"
    except (DamageError, FileNotFoundError) as error:
        column, why = None, error.what if isinstance(error, DamageError) else "a file is missing"
    indexed = _indexed(case)
    if indexed is not None and (column is None or np.array_equal(indexed, column)):
        return None
    if column is None:
        reason = f"{place} is in Parquet, its index is damaged, and its symbols cannot be read ({why})"
        return Refusal(RefusalCode.PARQUET_FILE_INVALID, reason, _REINDEX)
    return _new_index(case, column)
