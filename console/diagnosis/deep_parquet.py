"""The full check of a partition in Parquet: its pages, its zeros, and the indexes beside it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.diagnosis.deep_findings import DeepFindings
from console.diagnosis.deep_scope import EVERYTHING, DeepScope
from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.index_check import indexed_keys
from console.questdb.parquet_rows import check_column, read_layout
from console.questdb.parquet_worker import can_read_parquet
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PARQUET
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile
from console.questdb.value_check import Advance
from console.questdb.zero_pages import suspect_zero_pages
from console.text import clean_line

_OTHER_SYMBOLS: Final = "it has rows under other symbols than data.parquet"
KeysOf = Callable[[StoredColumn], NDArray[np.int32]]
"""Returns the symbol keys of the stored rows of a column in Parquet. Raises DamageError or OSError."""


def check_parquet(
    findings: DeepFindings,
    folder: Path,
    span: PartitionSpan,
    indexed: Iterable[StoredColumn],
    keys_of: KeysOf,
    advance: Advance,
    scope: DeepScope = EVERYTHING,
) -> None:
    """Read every page and every index of a Parquet partition. A file that is missing the quick check tells.

    Pages of zeros belong to no column, so that they are looked for only if no column is named.
    """
    path = folder / PARQUET
    if not can_read_parquet():
        findings.skip(f"partition {span.name}", "pyarrow is not installed")
        return
    try:
        for column, what, rows in parquet_problems(path, span.rows, advance, scope.column):
            findings.parquet(span, path, column, what, rows)
        with DbFile(path) as file:
            for low, high in () if scope.columns else suspect_zero_pages(file, 1, span.parquet_size or 0):
                findings.parquet_zeros(span, path, low, high)
        for each in indexed:
            if each.column.tag is ColumnTag.SYMBOL:
                _index(findings, each, keys_of, advance)
    except FileNotFoundError:
        return
    except OSError as error:
        findings.skip(f"partition {span.name}", error)


def _index(findings: DeepFindings, each: StoredColumn, keys_of: KeysOf, advance: Advance) -> None:
    folder, name, span = each.data.parent, each.column.raw_name, each.span
    paths = [column_path(folder, name, suffix, each.name_txn) for suffix in ("k", "v")]
    try:
        with DbFile(paths[0]) as keys, DbFile(paths[1]) as values:
            indexed = indexed_keys(keys, values, span.rows - each.rows, span.rows, advance)
    except DamageError as damage:
        findings.index(each, damage)
        return
    with contextlib.suppress(DamageError):  # of the column itself, which is told already
        if not np.array_equal(indexed, keys_of(each)):
            findings.index(each, DamageError(_OTHER_SYMBOLS))


def parquet_problems(
    path: Path, rows: int, advance: Advance, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, str, int]]:
    """Yield (column, what is wrong, rows concerned) of the `wanted` columns of a Parquet file of `rows` rows.

    One column chunk is in memory at a time. Raises OSError if the file cannot be read.
    """
    try:
        layout = read_layout(path)
    except DamageError as damage:
        yield "", f"its footer cannot be decoded ({damage.what})", rows
        return
    if layout.rows != rows:
        yield "", f"it has {layout.rows:,} rows, and _txn counts {rows:,}", rows
    for group in layout.groups:
        for chunk in group.chunks:
            if not wanted(chunk.name):
                continue
            try:
                check_column(path, group, chunk.name)
            except DamageError as damage:
                what = f"row group {group.number} cannot be decoded ({damage.what})"
                yield clean_line(chunk.name), what, group.rows
            advance(max(0, chunk.size))
