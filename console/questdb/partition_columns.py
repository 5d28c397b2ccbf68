"""A column's files in one partition, and what is wrong with their lengths and ends."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from console.questdb.bitmap_index import KEY_HEADER, read_index_header
from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile, problem_of
from console.questdb.table_metadata import TableColumn
from console.questdb.variable_columns import aux_shape, checked_end, end_of_data, has_lost_arrays, rows_within

Files = dict[str, os.stat_result]
"""The regular files of a partition's directory, by name."""


class FaultKind(StrEnum):
    """What is wrong with a partition or one of its files."""

    PARTITION_MISSING = "partition-missing"
    FILE_MISSING = "file-missing"
    FILE_SHORT = "file-short"
    FILE_INVALID = "file-invalid"  # an auxiliary file whose first or last entry cannot be
    TIMES_INVALID = "times-invalid"  # timestamps that cannot be, where other columns have the rows that `_txn` counts
    ROWS_DIFFER = "rows-differ"  # the timestamps are not those that `_txn` counts
    FIRST_DIFFERS = "first-differs"  # the oldest timestamp is not the one that `_txn` has
    INDEX_MISSING = "index-missing"
    INDEX_INVALID = "index-invalid"
    PARQUET_INVALID = "parquet-invalid"
    PARQUET_OLD = "parquet-old"
    OWNER_DIFFERS = "owner-differs"
    UNREADABLE = "unreadable"


STATE_FAULTS = (FaultKind.ROWS_DIFFER, FaultKind.FIRST_DIFFERS)
"""What contradicts `_txn` itself."""


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

    @property
    def entries(self) -> tuple[Path, int, int]:
        """The file with an entry for each row: its path, bytes of an entry, how many entries it has beyond its rows."""
        code = self.column.type_code
        if is_variable(code):
            return self.aux, *aux_shape(self.column.tag)
        return self.data, storage_size(code) or 0, 0

    @property
    def indexed(self) -> bool:
        return self.column.indexed and self.column.tag is ColumnTag.SYMBOL

    def index_files(self) -> tuple[Path, Path]:
        """Return the keys and the values of its index. Raises DamageError for a name that no file can have."""
        keys, values = (column_path(self.data.parent, self.column.raw_name, each, self.name_txn) for each in "kv")
        return keys, values

    def fault(self, kind: FaultKind, file: Path, **known: int | str | None) -> PartitionFault:
        return PartitionFault(kind, self.span, file, self.column.name, **known)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class PartitionFile:
    """A file of a partition. `size` None: it is not there. `needed`: bytes that its rows need at least.

    `needed` is None if nothing needs the file, or if the file that says how long it must be cannot be read.
    """

    path: Path
    size: int | None
    needed: int | None
    uid: int | None


def needed_bytes(each: StoredColumn) -> Iterator[tuple[Path, int | None]]:
    """Yield the files of a column in a native partition, and how long each must be at least."""
    path, width, more = each.entries
    yield path, width * (each.rows + more)
    if path == each.aux:
        yield each.data, _length_of(path, lambda aux: end_of_data(each.column.tag, aux, each.rows))
    if each.indexed:
        yield from needed_index_bytes(each)


def needed_index_bytes(each: StoredColumn) -> Iterator[tuple[Path, int | None]]:
    """Yield the two files of a column's index, and how long each must be at least."""
    keys, values = each.index_files()
    yield keys, KEY_HEADER
    yield values, _length_of(keys, lambda file: read_index_header(file).value_bytes)


def _length_of(path: Path, ask: Callable[[DbFile], int]) -> int | None:
    try:
        with DbFile(path) as file:
            return ask(file)
    except (DamageError, OSError):
        return None


def arrays_are_lost(each: StoredColumn, aux: DbFile) -> bool:
    """Return whether a column, whose arrays are all NULL by their entries, has values in its data file."""
    try:
        with DbFile(each.data) as data:
            return has_lost_arrays(each.column.type_code, aux, data, each.rows)
    except FileNotFoundError:
        return False


def variable_faults(each: StoredColumn, files: Files) -> Iterator[PartitionFault]:
    """Compare the lengths of an auxiliary and a data file, and the first and last entry that name its values."""
    tag = each.column.tag
    short = list(length_faults(each, files))
    yield from short
    needed = 0
    status = files.get(each.data.name)
    missing: int | None = None
    if not short:
        try:
            with DbFile(each.aux) as aux:
                size, more = aux_shape(tag)
                last = aux.read(size * (each.rows - 1 + more), size)
                needed = checked_end(tag, aux.read(0, size), last, each.rows)
                if tag is ColumnTag.ARRAY and not needed and arrays_are_lost(each, aux):
                    raise DamageError(f"all its arrays are NULL, but {each.data.name} begins with a value", 0)
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


def length_faults(each: StoredColumn, files: Files) -> Iterator[PartitionFault]:
    """Compare the length of the file that has an entry for each row with the rows."""
    path, width, more = each.entries
    needed, status = width * (each.rows + more), files.get(path.name)
    if status is None:
        yield each.fault(FaultKind.FILE_MISSING, path, needed=needed, rows=each.rows)
    elif status.st_size < needed:
        size = status.st_size
        rows = each.rows - max(0, size // width - more)
        yield each.fault(FaultKind.FILE_SHORT, path, size=size, needed=needed, rows=rows, offset=size)


def index_faults(each: StoredColumn, files: Files, lag: int) -> Iterator[PartitionFault]:
    """Compare the header of an index with the lengths of its files; the `lag` rows of a partition need not be in it."""
    keys, values = each.index_files()
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
