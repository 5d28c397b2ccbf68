"""The keys that rows of symbol columns use, in the native partitions of a table.

A key is the place of a symbol in the map of its column: i32, little-endian; the lowest number is NULL.
"""

from collections.abc import Iterator
from typing import Any, Final

from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag
from console.questdb.partition_columns import PartitionFault, StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DbFile
from console.questdb.table_metadata import TableColumn

_CHUNK: Final = 1 << 16


def key_bounds(each: StoredColumn) -> tuple[int, int]:
    """Return the lowest key (0 at most) and the highest (-1: none) of a partition's column. Raises OSError."""
    low, high = 0, -1
    for keys in keys_of(each):
        low, high = min(low, int(keys.min())), max(high, int(keys.max()))
    return low, high


def keys_of(each: StoredColumn) -> Iterator[NDArray[Any]]:
    """Yield the keys of a partition's column in pieces, none of them empty. Raises OSError."""
    with DbFile(each.data) as file:
        for at in range(0, each.rows, _CHUNK):
            keys = file.array(4 * at, "<i4", min(_CHUNK, each.rows - at))
            if not len(keys):
                return
            yield keys


def highest_keys(files: PartitionFiles, only: TableColumn | None = None) -> dict[int, int]:
    """Return the highest key by column, or of one, in the native partitions whose files can be read."""
    found: dict[int, int] = {}
    for span in files.spans:
        for each in files.columns_of(span) if span.parquet_size is None else ():
            if isinstance(each, PartitionFault) or each.column.tag is not ColumnTag.SYMBOL:
                continue
            if only is not None and each.column.index != only.index:
                continue
            try:
                index = each.column.index
                found[index] = max(found.get(index, -1), key_bounds(each)[1])
            except OSError:
                continue
    return found
