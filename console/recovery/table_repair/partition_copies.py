"""Copies of a partition: another directory of it in the table, a detached one, evidence, or one that is named.

A copy is taken only if every file that the partition needs is there and long enough, as many timestamps rise within the
partition as it has rows, and the last of the table's is the one that `_txn` has.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from console.questdb.column_types import ColumnTag
from console.questdb.fields import I64_MAX
from console.questdb.layout import TableDirectory
from console.questdb.parquet_frame import check_parquet_frame
from console.questdb.partition_columns import StoredColumn, length_faults, variable_faults
from console.questdb.partition_files import PARQUET, PartitionFiles
from console.questdb.partition_names import partition_of
from console.questdb.partition_spans import PartitionSpan
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_name import SEQUENCER
from console.questdb.timestamps import timestamp_run
from console.questdb.txn_log import read_log
from console.questdb.value_check import bad_symbol_keys, bad_values
from console.recovery.store.copying import digest_of_file
from console.table.belonging import created_us
from console.table.log_life import forked
from console.text import clean_line

_LEFT_OUT = re.compile(r"_meta|_cv|_txn|_name")
"""Files that a detached partition has beside its columns."""
_BLOCK = 8 << 20


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look for copies: a directory that an operator names (then only there), and evidence of the table."""

    named: str = ""
    evidence: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """A directory that can stand in for a partition, and its files by name, with sizes.

    `doubt` says why nothing proves that its rows are the partition's; empty if they are.
    """

    path: Path
    files: tuple[tuple[str, int], ...]
    doubt: str = ""


def copies_of(
    table: TableDirectory, files: PartitionFiles, span: PartitionSpan, sources: Sources, damaged: frozenset[Path]
) -> tuple[Copy | None, str]:
    """Return the first copy that is whole, one that is proven if there is one, and why there is none.

    `damaged` are the files of the partition with a fault.
    """
    why, doubtful = "there is no copy of it", None
    for path in _places(table, Partitioning.of(files.metadata), span, sources):
        try:
            found = _checked(path, files, span, damaged)
        except (DamageError, OSError) as error:
            said = error.what if isinstance(error, DamageError) else error.strerror or str(error)
            why = f"{clean_line(str(path))}: {clean_line(said)}"
            continue
        if path.parent in sources.evidence:
            doubt = _doubt_of_life(path, files) or _doubt_of_log(path, table)
        else:
            doubt = _doubt(path, table, files, span, damaged)
        if not doubt:
            return found, ""
        doubtful = doubtful or replace(found, doubt=doubt)
    return doubtful, "" if doubtful is not None else why


def _doubt(
    path: Path, table: TableDirectory, files: PartitionFiles, span: PartitionSpan, damaged: frozenset[Path]
) -> str:
    """Return why nothing proves that a directory holds the rows of the partition, empty if something does."""
    name, times = clean_line(path.name), files.timestamp(span)
    if path.parent == table.path:
        compared = times is not None and times.data not in damaged and times.data.exists()
        if compared and not files.metadata.has_dedup:
            return ""  # every column of fixed width has the same values: another version has other rows
        return f"{name} is another version of the partition, or was put there by hand"
    if path.name != span.directory:
        return f"{name} is another version of the partition than {clean_line(span.directory)}"
    if other := _doubt_of_life(path, files):
        return other
    return _doubt_of_log(path, table)


def _doubt_of_log(path: Path, table: TableDirectory) -> str:
    """Return that the log beside a directory is of another life of the table, as far as it tells; else empty."""
    logs = [read_log(each / SEQUENCER) for each in (path.parent, table.path)]
    made = [created_us(log) for log in logs]
    if 0 not in made and made[0] != made[1]:
        return f"the log beside {clean_line(path.name)} was created at another time than this table's"
    if (fork := forked(table, logs[0], path.parent)) is not None:
        return f"the log beside {clean_line(path.name)} has other transactions than this table's from {fork:,} on"
    return ""


def _doubt_of_life(path: Path, files: PartitionFiles) -> str:
    """Return that a directory lies in one of another table, also of one of this name that was dropped; else empty."""
    theirs = read_table_metadata(path.parent)
    if isinstance(theirs, Problem) or theirs.table_id != files.metadata.table_id:
        return f"the _meta beside {clean_line(path.name)} is not this table's, or is not there"
    return ""


def _places(table: TableDirectory, partitioning: Partitioning, span: PartitionSpan, sources: Sources) -> Iterator[Path]:
    if sources.named:
        given = Path(sources.named).absolute()
        names = [span.directory, span.name]
        yield from (given / name for name in names if (given / name).is_dir())
        if given.is_dir() and given.name.split(".")[0] == span.name:
            yield given
        return
    outside = {f"{span.name}.detached", f"{span.name}.attachable"}
    own = partition_of(partitioning, span.directory)
    for path in sorted(table.path.iterdir(), reverse=True):
        place = partition_of(partitioning, path.name)
        # One of a lower name txn, or of none, is what the partition was before its rows were written anew.
        later = own is not None and place is not None and place[0] == own[0] and place[1] > own[1]
        if not (later or path.name in outside) or not path.is_dir() or path.is_symlink():
            continue
        if later or (table.path / span.directory).exists() or not _was_detached(path):
            yield path
    yield from (folder / span.directory for folder in sources.evidence if (folder / span.directory).is_dir())


def _was_detached(path: Path) -> bool:
    """Return whether DETACH made a directory, as it copies `_meta` into it: then the partition was not lost.

    A `_txn` that still names it is of before that, and the rows were taken out of the table on purpose.
    """
    return path.suffix == ".detached" and any(_LEFT_OUT.fullmatch(each.name) for each in path.iterdir())


def _checked(path: Path, files: PartitionFiles, span: PartitionSpan, damaged: frozenset[Path]) -> Copy:
    """Return a directory as a copy. Raises DamageError if it is none, OSError if it cannot be read."""
    with os.scandir(path) as entries:
        found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries
                 if entry.is_file(follow_symlinks=False) and not _LEFT_OUT.fullmatch(entry.name)}  # fmt: skip
    if span.parquet_size is not None:
        with DbFile(path / PARQUET) as file:
            if file.size < span.parquet_size:
                raise DamageError(f"{PARQUET} has {file.size:,} of {span.parquet_size:,} bytes")
            check_parquet_frame(file, span.parquet_size)
        for each in damaged:
            if each.name == PARQUET and each.exists() and digest_of_file(each) == digest_of_file(path / PARQUET):
                raise DamageError(f"its {PARQUET} is the damaged one")
    else:
        for column in files.columns_of(span):
            if isinstance(column, StoredColumn):
                _check_column(path, column, found)
                _check_agrees(path, column, damaged)
                if column.column.tag is ColumnTag.SYMBOL:
                    _check_keys(path / column.data.name, column, files.symbols(column.column))
        _check_times(path, files, span)
    return Copy(path, tuple(sorted((name, status.st_size) for name, status in found.items())))


def _check_column(path: Path, column: StoredColumn, found: dict[str, os.stat_result]) -> None:
    moved = StoredColumn(
        column.span, column.column, path / column.data.name, path / column.aux.name, column.rows, column.name_txn
    )
    faults = variable_faults(moved, found) if moved.entries[0] == moved.aux else length_faults(moved, found)
    for fault in faults:
        raise DamageError(f"{fault.file.name}: {fault.what or fault.kind.value.replace('-', ' ')}")
    if moved.entries[0] == moved.aux:
        with DbFile(moved.aux) as aux, DbFile(moved.data) as data:
            for bad in bad_values(moved, aux, data, lambda _: None):
                raise DamageError(f"{bad.file.name}: {bad.what}")


def _check_keys(path: Path, column: StoredColumn, symbols: int) -> None:
    with DbFile(path) as file:
        for bad in bad_symbol_keys(file, column.rows, symbols, lambda _: None):
            raise DamageError(f"{path.name}: {bad.what}")


def _check_agrees(path: Path, column: StoredColumn, damaged: frozenset[Path]) -> None:
    """Compare a column of fixed width with what the partition itself has, if that has no fault."""
    if column.data in damaged or column.entries[0] != column.data or not column.data.exists():
        return
    size = column.entries[1] * column.rows
    with DbFile(column.data) as own, DbFile(path / column.data.name) as other:
        for at in range(0, size, _BLOCK):
            if own.read(at, min(_BLOCK, size - at)) != other.read(at, min(_BLOCK, size - at)):
                raise DamageError(f"{column.data.name} has other values than the partition")


def _check_times(path: Path, files: PartitionFiles, span: PartitionSpan) -> None:
    column = files.timestamp(span)
    if column is None:
        raise DamageError("the table has no designated timestamp, so it is not known whether it is this partition's")
    end = Partitioning.of(files.metadata).unit_end(span.start) or I64_MAX
    high = end if span.end is None else min(end, span.end)
    with DbFile(path / column.data.name) as file:
        run = timestamp_run(file, span.start, high, high)
    if run.rows != span.rows:
        raise DamageError(f"its timestamps are not those of the partition: {run.rows:,} of {span.rows:,} rows")
    if span.last and run.last != files.newest:
        raise DamageError("its last timestamp is not the one that _txn has")
