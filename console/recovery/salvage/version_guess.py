"""Which files a column has in a partition, and from which row on: as `_cv` says, else by names and lengths of files."""

import re
from pathlib import Path
from typing import Final

from console.questdb.column_types import is_variable, storage_size
from console.questdb.column_versions import ColumnVersions
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import list_directory
from console.questdb.table_metadata import TableColumn
from console.questdb.variable_columns import aux_shape

_PAGE: Final = 4096


def guessed_top(
    folder: Path, span: PartitionSpan, column: TableColumn, versions: ColumnVersions, rows: int
) -> tuple[int, int | None]:
    """Return the name txn of a column's files (-1: none) and its column top, None if the partition has no file of it.

    Without `_cv` the newest file counts, and values that it lacks are those of the first rows.
    """
    if versions.version is not None:
        return versions.name_txn(span.start, column.index), versions.top(span.start, column.index)
    variable = is_variable(column.type_code)
    pattern = re.compile(re.escape(column.raw_name) + (r"\.i" if variable else r"\.d") + r"(?:\.(\d{1,18}))?")
    entries, _ = list_directory(folder)
    found = [
        (int(match[1] or -1), entry.path)
        for entry in entries
        if entry.is_file and (match := pattern.fullmatch(entry.name))
    ]
    if not found:
        return -1, None
    name_txn, path = max(found)
    width, more = aux_shape(column.tag) if variable else (storage_size(column.type_code) or 1, 0)
    size = path.stat().st_size
    stored = max(0, size // width - more)
    exact = size % _PAGE != 0 or not size
    return name_txn, max(0, rows - stored) if exact else 0
