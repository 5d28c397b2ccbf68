"""Files of the symbol dictionaries of a table, and how long each must be for the symbols that `_txn` counts.

A dictionary is `<column>.o` (offsets), `.c` (values), `.k` and `.v` (the index from value to key), SymbolMapWriter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.questdb.column_files import column_path
from console.questdb.column_versions import ColumnVersions
from console.questdb.reading import DamageError, DbFile, Problem, ProblemKind, problem_of
from console.questdb.symbol_values import HEADER_SIZE
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea

_OFFSET = 8


@dataclass(frozen=True, slots=True)
class SymbolFault:
    """One file of a dictionary that is missing, too short or unreadable."""

    column: str
    problem: Problem


def symbol_faults(
    table: Path, area: TxnArea, metadata: TableMetadata, versions: ColumnVersions
) -> Iterator[SymbolFault]:
    """Yield what is wrong with the lengths of the dictionaries; the values themselves are not read."""
    symbols = metadata.symbols
    counts = area.symbols["count"].tolist()
    for column, count in zip(symbols, counts, strict=False):
        name_txn = versions.symbol_name_txn(column.index)
        try:
            paths = {suffix: column_path(table, column.raw_name, suffix, name_txn) for suffix in "ockv"}
        except DamageError as damage:
            yield SymbolFault(
                column.name, Problem(ProblemKind.UNREADABLE, f"_meta gives {damage.what}", table / "_meta")
            )
            continue
        ends = 0
        for suffix, path in paths.items():
            try:
                with DbFile(path) as file:
                    size = file.size
                    if suffix == "o" and count:
                        last = file.array(HEADER_SIZE + _OFFSET * count, "<i8", 1)
                        ends = max(0, int(last[0])) if len(last) else 0
            except OSError as error:
                yield SymbolFault(column.name, problem_of(error, path))
                continue
            needed = {"o": HEADER_SIZE + _OFFSET * (count + 1), "c": ends, "k": HEADER_SIZE}.get(suffix, 0)
            if size < needed:
                what = f"it is {size:,} bytes long, and {count:,} symbols need {needed:,}"
                yield SymbolFault(column.name, Problem(ProblemKind.SHORT, what, path, size))
