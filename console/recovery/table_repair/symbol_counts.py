"""How many symbols each map of a table holds, without `_txn`: as many as its values on disk, and as the rows use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_versions import ColumnVersions
from console.questdb.parquet_symbols import unknown_names
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.symbol_counts import agreed_symbols, symbols_of
from console.questdb.symbol_keys import highest_keys, keys_of
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import SYMBOL_COUNT

_CHUNK: Final = 1 << 16


def symbol_counts(table: Path, metadata: TableMetadata, versions: ColumnVersions) -> NDArray[Any]:
    """Return the count of each live symbol column (SYMBOL_COUNT), as far as its map says. A lost map counts 0."""
    found = np.zeros(len(metadata.symbols), SYMBOL_COUNT)
    for at, column in enumerate(metadata.symbols):
        count = symbols_of(table, column.raw_name, versions.symbol_name_txn(column.index))
        found[at] = (count, count)
    return found


def raise_to_used(symbols: NDArray[Any], metadata: TableMetadata, files: PartitionFiles) -> tuple[str, ...]:
    """Raise the counts of `symbols` to what the rows use, in place; return the columns whose map holds fewer.

    A count that is too low makes the server give a key that is in use to a new symbol. Parquet has names, not keys:
    each that the map lacks has a key behind those of the map.
    """
    short = []
    highest = highest_keys(files)
    for at, column in enumerate(metadata.symbols):
        held = int(symbols["count"][at])
        used = max(highest.get(column.index, -1) + 1, held + (unknown_names(files, column, held) or 0))
        if used > held:
            symbols[at] = (used, used)
            short.append(column.name)
    return tuple(short)


def raise_to_held(
    table: Path, symbols: NDArray[Any], metadata: TableMetadata, files: PartitionFiles
) -> tuple[str, ...]:
    """Raise the counts of `symbols` that rows exceed, in place, and return their columns.

    All symbols that values and index of the map agree on count then: the WAL may use those that no row does. A map that
    holds fewer than the rows use tells nothing.
    """
    raised = []
    highest = highest_keys(files)
    for at, column in enumerate(metadata.symbols[: len(symbols)]):
        used = highest.get(column.index, -1) + 1
        counted = int(symbols["count"][at])
        name_txn = files.symbol_name_txn(column)
        there = symbols_of(table, column.raw_name, name_txn)
        if used <= counted and unknown_names(files, column, counted) == 0:
            continue
        if there >= used and unknown_names(files, column, there) == 0:
            count = agreed_symbols(table, column.raw_name, name_txn) or used
            symbols[at] = (count, count)
            raised.append(f"{column.name} ({count:,})")
    return tuple(raised)


def unused_symbols(table: Path, metadata: TableMetadata, files: PartitionFiles) -> Iterator[tuple[str, int]]:
    """Yield the symbol columns whose map holds symbols that no row uses, and how many.

    The rows of those may be gone, or were changed or removed. A column of which a partition cannot be read tells
    nothing, nor does any beside a Parquet partition, whose keys are not read.
    """
    if any(span.parquet_size is not None for span in files.spans):
        return
    found = [each for span in files.spans for each in files.columns_of(span)]
    stored = [each for each in found if isinstance(each, StoredColumn)]
    for column in metadata.symbols:
        used = np.zeros(symbols_of(table, column.raw_name, files.symbol_name_txn(column)), np.bool_)
        try:
            for each in stored:
                for keys in keys_of(each) if each.column.index == column.index else ():
                    used[keys[(keys >= 0) & (keys < len(used))]] = True
        except OSError:
            continue
        if not used.all():
            yield column.name, int(np.count_nonzero(~used))
