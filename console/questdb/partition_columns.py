"""A column's files in one partition, and what is wrong with their lengths and ends."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from console.questdb.bitmap_index import KEY_HEADER, read_index_header
from console.questdb.column_files import column_path
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile, problem_of
from console.questdb.table_metadata import TableColumn
from console.questdb.variable_columns import aux_shape, check_aux_ends, end_of_data, rows_within

Files = dict[str, os.stat_result]
"""The regular files of a partition's directory, by name."""


class FaultKind(StrEnum):
    """What is wrong with a partition or one of its files."""

    PARTITION_MISSING = "partition-missing"
    FILE_MISSING = "file-missing"
    FILE_SHORT = "file-short"
    FILE_INVALID = "file-invalid"  # an auxiliary file whose first or last entry cannot be
    ROWS_DIFFER = "rows-differ"  # the timestamps are not those that `_txn` counts
    INDEX_MISSING = "index-missing"
    INDEX_INVALID = "index-invalid"
    PARQUET_INVALID = "parquet-invalid"
    OWNER_DIFFERS = "owner-differs"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class PartitionFault:
    """One fault. `size` and `needed` are bytes; `others` are directories of the same partition under another name.

    `offset` is the byte of `file` that is wrong, `rows` how many rows have no value because of it. Of OWNER_DIFFERS
    `rows` counts files, of which `file` is the first.
    """

    kind: FaultKind
    partition: PartitionSpan
    file: Path
    column: str = ""
    size: int | None = None
    needed: int | None = None
    what: str = ""
    others: tuple[str, ...] = ()
    offset: int | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column in a partition: where its files are, and the `rows` that they hold, those of the lag with them."""

    span: PartitionSpan
    column: TableColumn
    data: Path
    aux: Path
    rows: int
    name_txn: int

    def fault(self, kind: FaultKind, file: Path, **known: int | str | None) -> PartitionFault:
        """Return a fault of one of its files."""
        return PartitionFault(kind, self.span, file, self.column.name, **known)  # type: ignore[arg-type]


def variable_faults(each: StoredColumn, files: Files) -> Iterator[PartitionFault]:
    """Compare the lengths of an auxiliary and a data file, and the first and last entry that name its values."""
    tag = each.column.tag
    entry, more = aux_shape(tag)
    short = list(length_faults(each, each.aux, files, entry * (each.rows + more), entry, more))
    yield from short
    needed = 0
    status = files.get(each.data.name)
    missing: int | None = None
    if not short:
        try:
            with DbFile(each.aux) as aux:
                check_aux_ends(tag, aux, each.rows)
                needed = end_of_data(tag, aux, each.rows)
                if status is not None and status.st_size < needed:
                    missing = each.rows - rows_within(tag, aux, each.rows, status.st_size)
        except DamageError as damage:
            yield each.fault(FaultKind.FILE_INVALID, each.aux, what=damage.what, offset=damage.offset)
        except OSError as error:
            yield each.fault(FaultKind.UNREADABLE, each.aux, what=problem_of(error, each.aux).what)
    if status is None:
        yield each.fault(FaultKind.FILE_MISSING, each.data, needed=needed, rows=each.rows)
    elif status.st_size < needed:
        size = status.st_size
        yield each.fault(FaultKind.FILE_SHORT, each.data, size=size, needed=needed, rows=missing, offset=size)


def length_faults(
    each: StoredColumn, path: Path, files: Files, needed: int, width: int, more: int = 0
) -> Iterator[PartitionFault]:
    """Compare the length of a file of entries, `width` bytes each, `more` of which it has beyond its rows."""
    status = files.get(path.name)
    if status is None:
        yield each.fault(FaultKind.FILE_MISSING, path, needed=needed, rows=each.rows)
    elif status.st_size < needed:
        size = status.st_size
        rows = each.rows - max(0, size // width - more)
        yield each.fault(FaultKind.FILE_SHORT, path, size=size, needed=needed, rows=rows, offset=size)


def index_faults(each: StoredColumn, files: Files, lag: int) -> Iterator[PartitionFault]:
    """Compare the header of an index with the lengths of its files; the `lag` rows of a partition need not be in it."""
    keys, values = (column_path(each.data.parent, each.column.raw_name, suffix, each.name_txn) for suffix in ("k", "v"))
    sizes = {path: files[path.name].st_size if path.name in files else None for path in (keys, values)}
    for path, size in sizes.items():
        if size is None or (path == keys and size < KEY_HEADER):
            yield each.fault(FaultKind.INDEX_MISSING, path, size=size)
    key_size, value_size = sizes[keys], sizes[values]
    if key_size is None or key_size < KEY_HEADER or value_size is None:
        return
    try:
        with DbFile(keys) as file:
            header = read_index_header(file)
    except DamageError as damage:
        yield each.fault(FaultKind.INDEX_INVALID, keys, what=damage.what, offset=damage.offset)
        return
    except OSError as error:
        yield each.fault(FaultKind.UNREADABLE, keys, what=problem_of(error, keys).what)
        return
    if value_size < header.value_bytes:
        what = f"it is {value_size:,} bytes long, and the index needs {header.value_bytes:,}"
        yield each.fault(FaultKind.INDEX_INVALID, values, what=what, offset=value_size)
    elif not header.keys and each.rows > lag:
        yield each.fault(FaultKind.INDEX_INVALID, keys, what="it names no key", offset=21)
