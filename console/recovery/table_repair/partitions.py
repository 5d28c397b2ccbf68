"""The partitions that lie in a table's directory, without `_txn`: directories, rows, first and last timestamp.

Every directory that the server takes for a partition must be one of these or be refused: a writer that opens the table
deletes the ones that `_txn` does not name (TableWriter.purgeUnusedPartitions).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import column_path
from console.questdb.column_versions import ColumnVersions
from console.questdb.fields import I64_MAX
from console.questdb.parquet_rows import read_layout, read_time
from console.questdb.parquet_worker import can_read_parquet
from console.questdb.partition_files import PARQUET
from console.questdb.partition_names import partition_of
from console.questdb.partition_spans import UNPARTITIONED
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, list_directory, problem_of
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import PARTITION
from console.questdb.timestamps import TimestampRun, timestamp_run
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.text import clean_line, plural

_SETTLE: Final = "a copy of _txn that was made at the crash would settle it"


@dataclass(frozen=True, slots=True)
class FoundPartition:
    """One directory: where it begins, its name txn, rows, first and last timestamp; `parquet_size` is in bytes.

    `continued` counts further timestamps in its file that belong to the split partitions behind it.
    """

    directory: str
    start: int
    name_txn: int
    rows: int
    first: int
    last: int
    parquet_size: int | None
    continued: int = 0
    timestamps: Path | None = None  # the file they were counted in; None: Parquet
    clean: bool = False  # only zeros are behind its timestamps


@dataclass(slots=True)
class FoundPartitions:
    """All of a table's partitions with rows, in order of time; `empty` are directories without any row.

    `refusals` name what cannot be told; then the rest is not to be used. `unproven` are the partitions (by directory)
    behind whose rows lie values that may be rows as well. `older` are directories with a lower name txn (the second)
    than another of the same partition (the third). `uncommitted`: newer ones are taken for never committed.
    """

    partitioning: Partitioning
    partitions: list[FoundPartition] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    older: list[tuple[str, int, str]] = field(default_factory=list)
    uncommitted: bool = False
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.partitions)

    def records(self) -> NDArray[Any]:
        """Return them as `_txn` has them (PARTITION)."""
        found = np.zeros(len(self.partitions), PARTITION)
        for at, each in enumerate(self.partitions):
            size = -1 if each.parquet_size is None else each.parquet_size
            found[at] = (each.start, each.rows, each.name_txn, size, each.parquet_size is not None, False)
        return found

    def refuse(self, code: RefusalCode, reason: str, instead: str = _SETTLE) -> None:
        self.refusals.append(Refusal(code, reason, instead))


def read_partitions(
    table: Path, metadata: TableMetadata, versions: ColumnVersions, newest: int | None = None
) -> FoundPartitions:
    """Return the partitions in the directory `table`. What cannot be read or told is a refusal of the result.

    Of several directories of one partition the one of the highest name txn counts, up to `newest` if that is given. A
    transaction that began to write a partition anew, and has no row in it yet, was never committed: what else it wrote
    does not count either.
    """
    found = FoundPartitions(Partitioning.of(metadata))
    column = metadata.timestamp
    entries, problem = list_directory(table)
    if problem is not None:
        found.refuse(RefusalCode.PERMISSION, f"{clean_line(table.name)} cannot be listed: {problem.what}")
        return found
    if column is None:
        reason = "the table has no designated timestamp, so its rows cannot be distinguished from the data behind them"
        found.refuse(RefusalCode.ROWS_NOT_PROVEN, reason)
        return found
    named: list[tuple[int, int, str]] = []
    for entry in entries:
        place = partition_of(found.partitioning, entry.name) if entry.is_directory else None
        if place is not None and (newest is None or place[1] <= newest):
            named.append((*place, entry.name))
    named.sort()
    for start, name_txn, directory in reversed(named):
        if found.partitions and found.partitions[-1].start == start:
            found.older.append((directory, name_txn, found.partitions[-1].directory))
            continue
        following = next((each.start for each in reversed(found.partitions) if each.start > start), None)
        _read(found, _Place(table, directory, start, name_txn, following), column.raw_name,
              versions.name_txn(start, column.index))  # fmt: skip
    begun = _begun(found, named)
    if begun is not None and any(each.name_txn >= begun for each in found.partitions):
        return replace(read_partitions(table, metadata, versions, begun - 1), uncommitted=True)
    found.partitions.reverse()
    _refuse_grown_parents(found)
    return found


def _begun(found: FoundPartitions, named: list[tuple[int, int, str]]) -> int | None:
    """Return the name txn of a directory without rows that would take the place of one that has some; None: none."""
    held = {each.start: each.name_txn for each in found.partitions}
    empty = set(found.empty)
    return min((txn for start, txn, name in named if name in empty and held.get(start, txn) < txn), default=None)


@dataclass(frozen=True, slots=True)
class _Place:
    table: Path
    directory: str
    start: int
    name_txn: int
    following: int | None  # where the next partition on disk begins

    @property
    def shown(self) -> str:
        return clean_line(self.directory)


def _read(found: FoundPartitions, place: _Place, raw_name: str, column_txn: int) -> None:
    folder = place.table / place.directory
    parquet = folder / PARQUET
    try:
        path = column_path(folder, raw_name, "d", column_txn)
        if parquet.is_file() and path.exists():
            reason = f"{place.shown} has Parquet and native files: which of them are the partition is not known"
            found.refuse(RefusalCode.PARTITIONS_AMBIGUOUS, reason)
        elif parquet.is_file():
            _parquet(found, place, parquet, raw_name)
        else:
            _native(found, place, path)
    except FileNotFoundError:
        _without_timestamps(found, place, folder)
    except DamageError as damage:
        found.refuse(RefusalCode.TABLE_METADATA_INVALID, f"_meta gives {damage.what}")
    except OSError as error:
        found.refuse(RefusalCode.PERMISSION, f"{place.shown}: {problem_of(error, folder).what}",
                     "run walmedic as the owner of the database")  # fmt: skip


def _native(found: FoundPartitions, place: _Place, path: Path) -> None:
    unit = found.partitioning
    unpartitioned = unit.unit == UNPARTITIONED
    unit_end = I64_MAX if unpartitioned else unit.unit_end(place.start) or I64_MAX
    end = unit_end if place.following is None else min(unit_end, place.following)
    with DbFile(path) as file:
        run = timestamp_run(file, place.start, end, unit_end)
    if not run.rows:
        if run.clean and not _holds_values(path.parent):
            found.empty.append(place.directory)
        else:
            reason = (
                f"{place.shown} has values, and its timestamps are not those of its rows: how many rows it has is not "
                "known, and a server deletes a partition that _txn does not name"
            )
            found.refuse(RefusalCode.ROWS_NOT_PROVEN, reason, _instead_of_torn())
        return
    _take(found, place, run, None, path)
    if not run.proven:
        found.unproven.append(place.directory)


def _instead_of_torn() -> str:
    return f"salvage-table exports the rows that can be read; {_SETTLE}"


def _without_timestamps(found: FoundPartitions, place: _Place, folder: Path) -> None:
    if not _holds_values(folder):
        found.empty.append(place.directory)
        return
    reason = f"{place.shown} has no timestamps, so how many rows it has is not known"
    found.refuse(RefusalCode.COLUMN_FILE_MISSING, reason, _instead_of_torn())


def _holds_values(folder: Path) -> bool:
    """Return whether a column file of a partition holds anything but zeros. Raises OSError."""
    entries, _ = list_directory(folder)
    for entry in entries:
        if entry.is_file and ".d" in entry.name:
            with DbFile(entry.path) as file:
                if any(any(file.read(at, 1 << 20)) for at in range(0, file.size, 1 << 20)):
                    return True
    return False


def _parquet(found: FoundPartitions, place: _Place, path: Path, raw_name: str) -> None:
    if not can_read_parquet():
        reason = f"{place.shown} is in Parquet, and pyarrow is not installed, so that its rows cannot be counted"
        found.refuse(RefusalCode.NO_PYARROW, reason, "install pyarrow")
        return
    try:
        layout = read_layout(path)
        first, last = (read_time(path, layout.groups[at], raw_name, at) for at in (0, -1))
    except (DamageError, IndexError) as error:
        found.refuse(RefusalCode.PARQUET_FILE_INVALID, f"{place.shown}: {clean_line(str(error), 120)}",
                     _instead_of_torn())  # fmt: skip
        return
    run = TimestampRun(layout.rows, first, last, clean=True, proven=True, continued=0)
    _take(found, place, run, path.stat().st_size)


def _take(
    found: FoundPartitions, place: _Place, run: TimestampRun, parquet_size: int | None, path: Path | None = None
) -> None:
    if run.first is not None and run.last is not None:
        found.partitions.append(
            FoundPartition(
                place.directory,
                place.start,
                place.name_txn,
                run.rows,
                run.first,
                run.last,
                parquet_size,
                run.continued,
                path,
                run.clean and not run.continued,
            )
        )


def cut_last(found: FoundPartitions, rows: int) -> None:
    """Take the last `rows` rows off the last partition; without rows it is an empty one. Raises OSError."""
    last = found.partitions.pop()
    if last.timestamps is None:
        raise DamageError(f"{clean_line(last.directory)} is in Parquet, and no rows can be cut off")
    if rows >= last.rows:
        found.empty.append(last.directory)
        return
    with DbFile(last.timestamps) as file:
        newest = int(file.array(8 * (last.rows - rows - 1), "<i8", 1)[0])
    found.partitions.append(replace(last, rows=last.rows - rows, last=newest))


def take_off_uncommitted(found: FoundPartitions, fixed_rows: int, transient_rows: int) -> None:
    """Take off the partitions behind the last one that `_txn` counts: rows in them were never committed.

    fixed rows 40, transient 7     on disk  2024-01-01 25   2024-01-02 15   2024-01-03 9   2024-01-04 3
                                                                            the last       taken off

    Nothing is taken off where no partition begins behind that many rows, or the one there has too few.
    """
    before = np.cumsum([0, *(each.rows for each in found.partitions)])
    at = int(np.searchsorted(before, fixed_rows))
    if at < len(found.partitions) and before[at] == fixed_rows and 0 < transient_rows <= found.partitions[at].rows:
        while len(found.partitions) > at + 1:
            cut_last(found, found.partitions[-1].rows)


def _refuse_grown_parents(found: FoundPartitions) -> None:
    """Refuse a split partition whose first part has more rows behind the split than the directories behind it.

    The first part keeps the rows that were split off. More of them means that the parts were joined again and written
    to since: then the directories behind it are left over.
    """
    unit = found.partitioning
    for at, each in enumerate(found.partitions):
        later = [p for p in found.partitions[at + 1 :] if unit.unit_name(p.start) == unit.unit_name(each.start)]
        if each.continued > sum(part.rows for part in later if part.start > each.start):
            reason = (
                f"{clean_line(each.directory)} has {plural(each.continued, 'row')} of the time that "
                f"{clean_line(later[0].directory) if later else 'no directory'} has, which is less: which of them are "
                "the table's is not known"
            )
            found.refuse(RefusalCode.PARTITIONS_AMBIGUOUS, reason)
