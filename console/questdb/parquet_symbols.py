"""Symbols of a partition in Parquet as the keys that the symbol map gives them, to hold its index against."""

import itertools
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.parquet_rows import read_layout, read_texts
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PARQUET, PartitionFiles
from console.questdb.reading import DamageError
from console.questdb.symbol_values import NULL_KEY, read_dictionary
from console.questdb.table_metadata import TableColumn

_UNKNOWN: Final = -1  # no key


def parquet_keys(
    table: Path, each: StoredColumn, rows: tuple[int, int], symbols: int, name_txn: int
) -> NDArray[np.int32]:
    """Return the keys of the rows first..end - 1, `rows`, of a symbol column whose map has `symbols` names.

    Parquet has the rows before the column was added, too, as NULL; the index has not. Raises DamageError or OSError,
    and ImportError without pyarrow.
    """
    first, end = rows
    folder, index = each.data.parent, each.column.index
    keys = _keys_by_name(table, each.column, symbols, name_txn)
    layout, found = read_layout(folder / PARQUET), [np.empty(0, np.int32)]
    if index not in layout.fields:
        raise DamageError("data.parquet has no such column")
    for group in layout.groups:
        texts = read_texts(folder / PARQUET, group, layout.fields[index]).dictionary_encode()
        known = [keys.get(text, _UNKNOWN) for text in texts.dictionary.to_pylist()]
        places = texts.indices.fill_null(len(known)).to_numpy()
        found.append(np.array([*known, NULL_KEY], np.int32)[places])
    decoded = np.concatenate(found)[first:end]
    if len(decoded) < end - first or (decoded == _UNKNOWN).any():
        raise DamageError("data.parquet has other rows than _txn counts, or symbols that the symbol map has not")
    return decoded


def unknown_names(files: PartitionFiles, column: TableColumn, symbols: int) -> int | None:
    """Return how many names the partitions in Parquet have of a symbol column that the first `symbols` of its map lack.

    None if one of them cannot be read.
    """
    spans = [span for span in files.spans if span.parquet_size is not None]
    unknown: set[bytes] = set()
    try:
        stored = [each for span in spans for each in files.columns_of(span) if isinstance(each, StoredColumn)]
        places = [each.data.parent / PARQUET for each in stored if each.column.index == column.index]
        keys = _keys_by_name(files.table, column, symbols, files.symbol_name_txn(column)) if places else {}
        for path in places:
            layout = read_layout(path)
            for group in layout.groups:
                texts = read_texts(path, group, layout.fields[column.index]).unique().to_pylist()
                unknown.update(text for text in texts if text is not None and text not in keys)
    except (ImportError, OSError, DamageError, KeyError):
        return None
    return len(unknown)


def _keys_by_name(table: Path, column: TableColumn, symbols: int, name_txn: int) -> dict[bytes, int]:
    names = read_dictionary(table, column.raw_name, symbols, name_txn)
    data, ends = names.data.tobytes(), names.offsets.tolist()
    return {data[low:high]: key for key, (low, high) in enumerate(itertools.pairwise(ends))}
