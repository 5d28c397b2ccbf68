"""What there is of a table to be salvaged: its columns, its partitions, the rows of each, and how sure that is.

`_txn` tells it if it is whole and belongs to `_meta` and `_cv`; else directories and timestamps do. Read-only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.column_versions import ColumnVersions, read_column_versions
from console.questdb.fields import I64_MAX
from console.questdb.partition_files import PARQUET
from console.questdb.partition_names import partition_of
from console.questdb.partition_spans import UNPARTITIONED, PartitionSpan, contradiction, spans_of
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem, ProblemKind, list_directory
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TableTxn, TxnArea, read_table_txn
from console.questdb.timestamps import timestamp_run
from console.recovery.salvage.table_columns import KnownColumns, known_columns
from console.recovery.salvage.version_guess import guessed_top

_CHUNK: Final = 1 << 18
_MOST_ROWS: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Part:
    """One directory of rows. `note` says why the number of rows is not proven, empty if it is."""

    span: PartitionSpan
    note: str = ""


@dataclass(frozen=True, slots=True)
class TablePicture:
    """A table as its files show it. `missing` are partitions that `_txn` names and that are gone: (name, rows).

    `unused` are directories of the partition unit that hold no rows of the table, by all that is known.
    """

    table: Path
    columns: KnownColumns
    versions: ColumnVersions
    area: TxnArea | None
    why_no_txn: str
    parts: tuple[Part, ...]
    missing: tuple[tuple[str, int], ...]
    unused: tuple[str, ...]

    @property
    def metadata(self) -> TableMetadata:
        """The table's metadata, from whichever file told it."""
        return self.columns.metadata

    @property
    def rows(self) -> int:
        return sum(part.span.rows for part in self.parts)

    @property
    def not_proven(self) -> tuple[str, ...]:
        """Return why it is not certain that these are the table's rows and columns, empty if it is."""
        found = [f"_txn: {self.why_no_txn}"] if self.why_no_txn else []
        if self.columns.problem:
            found.append(f"_meta: {self.columns.problem}; the columns are those of {self.columns.source}")
        if self.versions.version is None:
            what = self.versions.problems[0].what if self.versions.problems else "it cannot be read"
            found.append(f"_cv: {what}; column files and tops go by file names and lengths")
        return tuple(found)


def read_picture(table: Path) -> TablePicture:
    """Return what there is of the table in a directory. Raises DamageError if nothing tells its columns, OSError."""
    columns = known_columns(table)
    versions = read_column_versions(table)
    txn = read_table_txn(table)
    if txn.current is not None and txn.current.column_version and versions.version == 0:
        zeros = Problem(
            ProblemKind.INVALID, f"its version is 0, and _txn has {txn.current.column_version}", versions.path
        )
        versions = replace(versions, version=None, problems=(zeros,))
    area, why = _area(txn, columns, versions)
    if area is not None:
        area_spans = _lag_left_out(spans_of(area, columns.metadata), area.lag_rows)
        listed = [*_listed(table, area_spans, columns.metadata)]
    else:
        listed = [*_found(table, columns.metadata, versions)]
    used = {part.span.directory for part in listed if part.span.rows}
    named = set(_directories(table, columns.metadata))
    return TablePicture(
        table=table,
        columns=columns,
        versions=versions,
        area=area,
        why_no_txn=why,
        parts=tuple(part for part in listed if part.span.rows and part.span.directory in named),
        missing=tuple((part.span.name, part.span.rows) for part in listed if part.span.directory not in named),
        unused=tuple(sorted(named - used)),
    )


def _area(txn: TableTxn, columns: KnownColumns, versions: ColumnVersions) -> tuple[TxnArea | None, str]:
    """Return the state that `_txn` has, and why it is not to be trusted; None if it tells nothing."""
    area = txn.current
    why = txn.problems[0].what if txn.problems else "" if area is not None else "it holds no state that can be read"
    if area is None or why:
        return None, why
    if found := contradiction(area, columns.metadata):
        return None, found
    if versions.version is not None and versions.version != area.column_version:
        return None, f"it names version {area.column_version} of _cv, which has {versions.version}"
    if columns.proven and area.metadata_version != columns.metadata.metadata_version:
        found = f"it names version {area.metadata_version} of _meta, which has {columns.metadata.metadata_version}"
        return None, found
    return area, ""


def _lag_left_out(spans: tuple[PartitionSpan, ...], lag: int) -> tuple[PartitionSpan, ...]:
    """Return the partitions without the rows of the lag, which no SELECT shows."""
    if not spans or not lag:
        return spans
    last = replace(spans[-1], rows=spans[-1].rows - lag)
    return (*spans[:-1], last) if last.rows else spans[:-1]


def _directories(table: Path, metadata: TableMetadata) -> dict[str, tuple[int, int]]:
    """Return where each partition's directory begins, and its name txn, by name, in order of time and name txn."""
    partitioning = Partitioning.of(metadata)
    entries, _ = list_directory(table)
    placed = {
        entry.name: place
        for entry in entries
        if entry.is_directory and (place := partition_of(partitioning, entry.name)) is not None
    }
    return dict(sorted(placed.items(), key=lambda each: each[1]))


def _listed(table: Path, spans: tuple[PartitionSpan, ...], metadata: TableMetadata) -> Iterator[Part]:
    """Yield the partitions of `_txn`; for one that is gone, another directory of the same time, if there is one."""
    named = _directories(table, metadata)
    for span in spans:
        if span.directory in named:
            yield Part(span)
            continue
        others = [name for name, (start, _) in named.items() if start == span.start]
        if not others:
            yield Part(span)
            continue
        yield Part(
            replace(span, directory=others[-1], parquet_size=_parquet_size(table / others[-1])),
            f"_txn names {span.directory}, which is gone; {others[-1]} stands in for it",
        )


def _found(table: Path, metadata: TableMetadata, versions: ColumnVersions) -> Iterator[Part]:
    """Yield the newest directory of each partition, its rows counted by their timestamps."""
    newest = {start: name for name, (start, _) in _directories(table, metadata).items()}
    starts = sorted(newest)
    for at, start in enumerate(starts):
        following = starts[at + 1] if at + 1 < len(starts) else None
        folder = table / newest[start]
        name = newest[start].rsplit(".", 1)[0]
        size = _parquet_size(folder)
        span = PartitionSpan(name, newest[start], start, following, 0, size)
        try:
            rows, note = (
                _parquet_rows(folder / PARQUET) if size is not None else _rows(folder, span, metadata, versions)
            )
        except (OSError, DamageError) as error:
            rows, note = 0, str(error)
        yield Part(replace(span, rows=rows), note)


def _parquet_size(folder: Path) -> int | None:
    try:
        return (folder / PARQUET).stat().st_size
    except OSError:
        return None


def _parquet_rows(path: Path) -> tuple[int, str]:
    from console.recovery.salvage.parquet_file import arrow

    pyarrow = arrow()
    try:
        return int(pyarrow.parquet.read_metadata(path).num_rows), ""
    except pyarrow.ArrowException as error:
        raise DamageError(f"its Parquet footer cannot be decoded ({error})") from error


def _rows(folder: Path, span: PartitionSpan, metadata: TableMetadata, versions: ColumnVersions) -> tuple[int, str]:
    """Return how many rows a native partition has, and why that is not certain. Raises DamageError, OSError."""
    column = metadata.timestamp
    if column is None:
        return _rows_by_content(folder, span, metadata, versions), "counted by the last value that is not zero"
    partitioning = Partitioning.of(metadata)
    unit_end = I64_MAX if partitioning.unit == UNPARTITIONED else partitioning.unit_end(span.start) or I64_MAX
    end = unit_end if span.end is None else min(unit_end, span.end)
    name_txn, _ = guessed_top(folder, span, column, versions, 0)
    try:
        with DbFile(column_path(folder, column.raw_name, "d", name_txn)) as file:
            run = timestamp_run(file, span.start, end, unit_end)
            if run.proven:
                return run.rows, ""
            rows = _last_within(file, span.start, end) + 1
    except FileNotFoundError:
        return _rows_by_content(folder, span, metadata, versions), "its timestamps are gone"
    return rows, f"timestamps are in order up to row {run.rows:,} only"


def _last_within(file: DbFile, low: int, high: int) -> int:
    """Return the last row whose timestamp lies in `low` … `high` - 1, -1 for none."""
    found = -1
    for at in range(0, file.size // 8, _CHUNK):
        values = file.array(8 * at, "<i8", _CHUNK)
        inside = np.flatnonzero((values >= max(low, 1)) & (values < high))
        if len(inside):
            found = at + int(inside[-1])
    return found


def _rows_by_content(folder: Path, span: PartitionSpan, metadata: TableMetadata, versions: ColumnVersions) -> int:
    """Return the row behind the last value that is not zero, of all columns: rows without a timestamp to count."""
    most = 0
    for column in metadata.columns:
        if column.dropped or column.tag in (ColumnTag.STRING, ColumnTag.BINARY):
            continue
        variable = is_variable(column.type_code)
        width = 16 if variable else storage_size(column.type_code) or 1
        name_txn, _ = guessed_top(folder, span, column, versions, 0)
        try:
            with DbFile(column_path(folder, column.raw_name, "i" if variable else "d", name_txn)) as file:
                most = max(most, -(-_last_byte(file) // width))
        except (DamageError, OSError):
            continue
    return min(most, _MOST_ROWS)


def _last_byte(file: DbFile) -> int:
    """Return where the zeros at the end of a file begin."""
    step = 1 << 20
    for at in range((file.size - 1) // step * step, -1, -step) if file.size else ():
        used = np.flatnonzero(file.array(at, "u1", step))
        if len(used):
            return at + int(used[-1]) + 1
    return 0
