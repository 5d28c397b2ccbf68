"""How many symbols each map of a table holds, without `_txn`: as many as its values on disk, and as the rows use."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.column_versions import ColumnVersions
from console.questdb.partition_columns import PartitionFault, StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DamageError, DbFile
from console.questdb.symbol_values import HEADER_SIZE, MAX_SYMBOLS
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.questdb.table_txn import SYMBOL_COUNT

_CHUNK: Final = 1 << 16


def symbol_counts(table: Path, metadata: TableMetadata, versions: ColumnVersions) -> NDArray[Any]:
    """Return the count of each live symbol column (SYMBOL_COUNT), as far as its map says. A lost map counts 0."""
    found = np.zeros(len(metadata.symbols), SYMBOL_COUNT)
    for at, column in enumerate(metadata.symbols):
        count = _in_map(table, column, versions.symbol_name_txn(column.index))
        found[at] = (count, count)
    return found


def raise_to_used(symbols: NDArray[Any], metadata: TableMetadata, files: PartitionFiles) -> tuple[str, ...]:
    """Raise the counts of `symbols` to what the rows use, in place; return the columns whose map holds fewer.

    A count that is too low makes the server give a key that is in use to a new symbol.
    """
    short = []
    highest = _highest_keys(files)
    for at, column in enumerate(metadata.symbols):
        used = highest.get(column.index, -1) + 1
        if used > int(symbols["count"][at]):
            symbols[at] = (used, used)
            short.append(column.name)
    return tuple(short)


def key_bounds(each: StoredColumn) -> tuple[int, int]:
    """Return the lowest key (0 at most) and the highest (-1: none) of a partition's column. Raises OSError."""
    low, high = 0, -1
    with DbFile(each.data) as file:
        for at in range(0, each.rows, _CHUNK):
            keys = file.array(4 * at, "<i4", min(_CHUNK, each.rows - at))
            if not len(keys):
                break
            low, high = min(low, int(keys.min())), max(high, int(keys.max()))
    return low, high


def _in_map(table: Path, column: TableColumn, name_txn: int) -> int:
    """Return how many values lie one after another in `.o` and `.c`; each is as long as its offsets say."""
    try:
        with (
            DbFile(column_path(table, column.raw_name, "o", name_txn)) as offsets_file,
            DbFile(column_path(table, column.raw_name, "c", name_txn)) as values,
        ):
            count = 0
            while count < MAX_SYMBOLS:
                offsets = offsets_file.array(HEADER_SIZE + 8 * count, "<i8", _CHUNK + 1).astype(np.int64)
                if len(offsets) < 2 or (count == 0 and int(offsets[0]) != 0):
                    break
                lengths = np.diff(offsets)
                wrong = np.flatnonzero((lengths < 4) | (offsets[1:] > values.size))
                good = int(wrong[0]) if len(wrong) else len(lengths)
                count += _whole(values, offsets[: good + 1])
                if good < _CHUNK:
                    break
            return count
    except (OSError, DamageError):
        return 0


def _whole(values: DbFile, offsets: NDArray[np.int64]) -> int:
    """Return how many of the values between `offsets` have the length that they say themselves."""
    if len(offsets) < 2:
        return 0
    base, end = int(offsets[0]), int(offsets[-1])
    block = values.array(base, "u1", end - base)
    starts = (offsets[:-1] - base).astype(np.int64)
    places = starts[:, None] + np.arange(4)
    units = np.ascontiguousarray(block[places]).view("<i4")[:, 0].astype(np.int64)
    wrong = np.flatnonzero(units * 2 + 4 != np.diff(offsets))
    return int(wrong[0]) if len(wrong) else len(starts)


def _highest_keys(files: PartitionFiles) -> dict[int, int]:
    """Return the highest key by column, in the native partitions whose files can be read."""
    found: dict[int, int] = {}
    for span in files.spans:
        for each in files.columns_of(span) if span.parquet_size is None else ():
            if isinstance(each, PartitionFault) or each.column.tag is not ColumnTag.SYMBOL:
                continue
            try:
                index = each.column.index
                found[index] = max(found.get(index, -1), key_bounds(each)[1])
            except OSError:
                continue
    return found
