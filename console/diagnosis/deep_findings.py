"""Findings of the full check, collected as it reads; what it could not read is collected beside them."""

from pathlib import Path
from typing import Final

from console.diagnosis.model import Code, Finding, Severity
from console.questdb.column_files import column_path
from console.questdb.formats.table import INDEX_HEADER
from console.questdb.index_check import RowNumbersError
from console.questdb.layout import TableDirectory
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError
from console.questdb.table_metadata import TableColumn
from console.questdb.value_check import BadRows, Wrong
from console.text import clean_line, plural

_CODES: Final = {
    Wrong.TIMESTAMPS: (Code.TIMESTAMPS_INVALID, "min, max and filters by time are wrong, without an error"),
    Wrong.SYMBOL_KEYS: (Code.SYMBOL_KEYS_UNKNOWN, "QuestDB shows those rows with an empty symbol, without an error"),
    Wrong.VALUES: (Code.COLUMN_FILE_INVALID, "reads fail or give other values, and a write there can crash QuestDB"),
    Wrong.ZERO_PAGES: (Code.SUSPECT_VALUES, "suspect only: compare the values with their source"),
}


class DeepFindings:
    def __init__(self, table: TableDirectory) -> None:
        self._table = table
        self.found: list[Finding] = []
        self.left_out: list[str] = []

    def skip(self, what: str, why: str | OSError) -> None:
        reason = why if isinstance(why, str) else clean_line(why.strerror or str(why))
        self.left_out.append(f"{what} of {self._table.name}: {reason}")

    def rows(self, each: StoredColumn, bad: BadRows, severity: Severity | None = None) -> None:
        """Tell bad rows of a column; `severity` is that of their kind if none is given."""
        code, effect = _CODES[bad.wrong]
        where = f"partition {each.span.name}, column {each.column.name}"
        message = f"{where}: {bad.what}; {plural(bad.rows, 'row')}: {effect}"
        self._add(code, message, bad.file, bad.offset, each.span, each.column.name, bad.rows, severity)

    def index(self, each: StoredColumn, damage: DamageError) -> None:
        suffix = "v" if isinstance(damage, RowNumbersError) else "k"
        path = column_path(each.data.parent, each.column.raw_name, suffix, each.name_txn)
        where = f"partition {each.span.name}, column {each.column.name}"
        message = f"{where}: its index is damaged: {damage.what}; filters on it miss rows"
        self._add(Code.INDEX_FILE_INVALID, message, path, damage.offset, each.span, each.column.name)

    def more_keys(self, each: StoredColumn, keys: int, symbols: int) -> None:
        """Note an index that counts more keys than there are symbols, as a commit that was cut off leaves it."""
        path = column_path(each.data.parent, each.column.raw_name, "k", each.name_txn)
        message = (
            f"partition {each.span.name}, column {each.column.name}: its index counts {keys:,} keys and the symbol map "
            f"{symbols:,} symbols; the keys beyond have no row"
        )
        offset = INDEX_HEADER.at("keys")
        self._add(Code.INDEX_FILE_INVALID, message, path, offset, each.span, each.column.name, None, Severity.NOTE)

    def symbol_map(self, column: TableColumn, path: Path, damage: DamageError) -> None:
        message = f"the symbol map of {column.name} is damaged: {clean_line(path.name)}: {damage.what}"
        self._add(Code.SYMBOL_MAP_INVALID, message, path, damage.offset, None, column.name)

    def parquet(self, span: PartitionSpan, path: Path, column: str, what: str, rows: int) -> None:
        """Tell a Parquet file that cannot be decoded."""
        place = f"partition {span.name}" + (f", column {column}" if column else "")
        message = f"{place}: data.parquet is damaged: {what}; QuestDB fails there, or gives other values"
        self._add(Code.PARQUET_FILE_INVALID, message, path, None, span, column, rows)

    def parquet_zeros(self, span: PartitionSpan, path: Path, low: int, high: int) -> None:
        message = (
            f"partition {span.name}: the bytes {low:,} to {high - 1:,} of data.parquet are zeros to the page, as if "
            "they never reached the disk; suspect only: compare the values with their source"
        )
        self._add(Code.SUSPECT_VALUES, message, path, low, span, "")

    def _add(
        self,
        code: Code,
        message: str,
        path: Path,
        offset: int | None,
        span: PartitionSpan | None,
        column: str,
        rows: int | None = None,
        severity: Severity | None = None,
    ) -> None:
        severity = severity or (Severity.RISK if code is Code.SUSPECT_VALUES else Severity.DAMAGE)
        file = clean_line(str(path.relative_to(self._table.path.parent)))
        name = span.name if span is not None else ""
        self.found.append(Finding(code, severity, message, file, offset, partition=name, column=column, rows=rows))
