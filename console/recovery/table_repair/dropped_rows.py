"""A partition without the rows whose timestamp is lost: every other row keeps all of its values.

ts   08:00 08:01 0 0 08:04        x   1 2 3 4 5        after it   ts  08:00 08:01 08:04     x  1 2 5
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_types import is_variable, storage_size
from console.questdb.fields import I64_MAX
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile
from console.questdb.whole_values import runs, whole_values
from console.recovery.table_repair.new_files import NewFile, Part
from console.recovery.table_repair.null_files import index_files, variable_files
from console.table.inventory import Mask

_MOST_ROWS: Final = 1 << 24
"""Rows of a partition that is written without some: arrays of this length are held."""
_MOST_RUNS: Final = 1 << 12


def rows_with_times(files: PartitionFiles, span: PartitionSpan) -> Mask:
    """Return which rows of a partition have a timestamp that one of it can have.

    Raises DamageError where that does not leave them in order, or they are too many or too scattered; OSError.
    """
    column = files.timestamp(span)
    if column is None or span.rows > _MOST_ROWS:
        raise DamageError("its rows are too many to be written without some")
    with DbFile(column.data) as file:
        times = file.array(0, "<i8", span.rows)
    if len(times) < span.rows:
        raise DamageError(f"{column.data.name} ends before its rows")
    kept = (times >= span.start) & (times < (I64_MAX if span.end is None else span.end))
    if (np.diff(times[kept]) < 0).any():
        raise DamageError("its timestamps are not in order: which of them are wrong is not known")
    if sum(1 for _ in runs(~kept)) > _MOST_RUNS:
        raise DamageError("the rows without a timestamp are too scattered")
    return np.asarray(kept)


def without_rows(table: Path, files: PartitionFiles, span: PartitionSpan, kept: Mask) -> tuple[NewFile, ...]:
    """Return the files of a partition with the rows that are `kept`. Raises DamageError, OSError."""
    made: list[NewFile] = []
    for each in files.columns_of(span):
        if not isinstance(each, StoredColumn):
            raise DamageError(each.what)
        top = span.rows - each.rows
        if not kept[:top].all():
            raise DamageError(f"column {each.column.name} begins behind a row that would go")
        made += _column(table, each, kept[top:])
    return tuple(made)


def _column(table: Path, each: StoredColumn, kept: Mask) -> list[NewFile]:
    rows = int(kept.sum())
    less = replace(each, rows=rows, span=replace(each.span, rows=each.span.rows - (len(kept) - rows)))
    if is_variable(each.column.type_code):
        found = whole_values(each)
        if found.lost.any() or found.unwalked is not None:
            raise DamageError(f"values of column {each.column.name} are lost too")
        entries = None if found.entries is None else found.entries[kept]
        left = replace(found, start=found.start[kept], size=found.size[kept], lost=found.lost[kept], entries=entries)
        return list(variable_files(table, less, left).files)
    width = storage_size(each.column.type_code) or 1
    parts, at = [], 0
    for first, end in runs(kept):
        parts.append(Part(at, length=width * (end - first), old_at=width * first))
        at += width * (end - first)
    made = [NewFile(str(each.data.relative_to(table)), width * rows, tuple(parts), f"{rows:,} values")]
    if each.indexed:
        with DbFile(each.data) as data:
            made += index_files(table, less, data.array(0, "<i4", each.rows)[kept])
    return made
