"""The full check of a symbol map: its offsets, its values, and the index over them."""

from collections.abc import Sequence
from pathlib import Path

from console.diagnosis.deep_findings import DeepFindings
from console.questdb.dictionary_check import check_dictionary
from console.questdb.index_check import RowNumbersError, missing_symbols
from console.questdb.reading import DamageError, DbFile
from console.questdb.table_metadata import TableColumn
from console.questdb.value_check import Advance
from console.text import plural


def check_symbol_map(
    findings: DeepFindings, column: TableColumn, paths: Sequence[Path], count: int, advance: Advance
) -> None:
    """Read the four files (`.o`, `.c`, `.k`, `.v`) of a symbol map. One that is missing the quick check tells."""
    try:
        with DbFile(paths[0]) as offsets, DbFile(paths[1]) as values:
            check_dictionary(offsets, values, count, advance)
    except DamageError as damage:
        findings.symbol_map(column, paths[0], damage)
    except FileNotFoundError:
        pass
    except OSError as error:
        findings.skip(f"the symbol map of {column.name}", error)
    try:
        with DbFile(paths[2]) as keys, DbFile(paths[3]) as values:
            missing = missing_symbols(keys, values, count, advance)
        if missing:
            what = f"it does not name {plural(missing, 'symbol')} of {count:,}, or names them twice"
            findings.symbol_map(column, paths[3], DamageError(what))
    except DamageError as damage:
        findings.symbol_map(column, paths[3 if isinstance(damage, RowNumbersError) else 2], damage)
    except FileNotFoundError:
        pass
    except OSError as error:
        findings.skip(f"the index of the symbol map of {column.name}", error)
