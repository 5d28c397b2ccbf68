"""What shows that a partition is gone, with its directory, where no `_txn` names the partitions any more.

QuestDB makes a partition for each unit of time that has rows, so a unit without one between two others may have had
rows or not. A lost first or last partition leaves no such gap: it can only be seen by the WAL that was in it, or by
symbols that no row uses any more.
"""

from collections.abc import Iterator
from itertools import pairwise, zip_longest
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_versions import DEFAULT_PARTITION, SYMBOL_PARTITION
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_names import partition_of
from console.questdb.partition_spans import UNPARTITIONED
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DbFile, list_directory
from console.questdb.table_txn import TxnArea
from console.questdb.zero_pages import PAGE
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer.disk import own_names
from console.recovery.table_repair.disk import Disk, area_of
from console.recovery.table_repair.partitions import FoundPartition
from console.recovery.table_repair.symbol_counts import unused_symbols
from console.text import clean_line, plural

_DETACHED: Final = ".detached"
_PAGE_ROWS: Final = 512
"""Timestamps in a page of memory: a power loss leaves whole pages, and zeros behind them."""


def lost_partitions(area: TxnArea, disk: Disk) -> dict[str, int]:
    """Return the rows, by directory, of the partitions that an area names and of which no directory is on disk."""
    naming, starts = disk.found.partitioning, {each.start for each in disk.found.partitions}
    if naming.unit == UNPARTITIONED:
        return {}
    return {
        naming.directory(int(each["timestamp"]), int(each["name_txn"])): int(each["rows"])
        for each in area.partitions
        if int(each["rows"]) and int(each["timestamp"]) not in starts
    }


def wait_in_wal(area: TxnArea, disk: Disk) -> bool:
    """Return whether all rows that `area` counts and the partitions on disk lack are in WAL that it counts as applied.

    Then they are not applied here, whatever a copy of `_txn` says: the files are of before it, or have lost those rows.
    """
    naming = disk.found.partitioning
    counted = _by_unit(naming, area.partitions["timestamp"], area.partitions["rows"])
    starts = np.array([each.start for each in disk.found.partitions], np.int64)
    held = _by_unit(naming, starts, np.array([each.rows for each in disk.found.partitions], np.int64))
    if naming.unit == UNPARTITIONED:
        counted = {0: area.rows}
    lacking = {unit: rows - held.get(unit, 0) for unit, rows in counted.items() if rows > held.get(unit, 0)}
    if not lacking:
        return False
    table = disk.with_area(area)
    inventory = table.inventory
    names = own_names(table)
    begins, ends = (naming.floors(inventory.events[name]) for name in ("min_ts", "max_ts"))
    theirs = (inventory.rows > 0) & (names.seq > 0) & (names.seq <= area.applied_txn)
    touching = [theirs & (begins <= unit) & (ends >= unit) for unit in lacking]
    rows = int(inventory.rows[np.logical_or.reduce(touching)].sum())
    return all(bool(each.any()) for each in touching) and rows >= sum(lacking.values())


def _by_unit(naming: Partitioning, timestamps: NDArray[Any], rows: NDArray[Any]) -> dict[int, int]:
    units, where = np.unique(naming.floors(timestamps), return_inverse=True)
    return dict(zip(units.tolist(), np.bincount(where, rows, len(units)).astype(np.int64).tolist(), strict=True))


def refusal_of_lost(disk: Disk, area: TxnArea | None) -> Refusal | None:
    """Return the refusal of a state made from the disk without partitions that are known to be gone: no loss unsaid.

    `area` is the newest one left of `_txn` that can be read, None if none can.
    """
    return next(_known_to_be_lost(disk, area), None)


def _known_to_be_lost(disk: Disk, area: TxnArea | None) -> Iterator[Refusal]:
    for directory, rows in (lost_partitions(area, disk) if area is not None else {}).items():
        shown = clean_line(directory)
        reason = f"an area of _txn names {shown} with {plural(rows, 'row')}, and no directory of it is on disk"
        yield _not_proven(reason, "put the directory back from a copy, then plan again")
    for each, rows in _shorter(area, disk) if area is not None else ():
        reason = (
            f"an area of _txn counts {plural(rows, 'row')} in {clean_line(each.directory)}, and it has {each.rows:,}: "
            "it is torn, or an older copy of the partition"
        )
        instead = "put the partition back from a copy, then plan again; or repair-partition, which keeps its whole rows"
        yield Refusal(RefusalCode.ROWS_NOT_PROVEN, reason, instead, action="repair-partition")
    if (detached := _bare_detached(disk)) is not None:
        shown = clean_line(detached)
        reason = f"{shown} has rows, and no file in it that a DETACH leaves there: it may be a partition of the table"
        yield _not_proven(
            reason, f"rename it to {shown.removesuffix(_DETACHED)} if it is the table's, else move it out; plan again"
        )


def _not_proven(reason: str, instead: str) -> Refusal:
    return Refusal(RefusalCode.ROWS_NOT_PROVEN, reason, instead)


def _shorter(area: TxnArea, disk: Disk) -> Iterator[tuple[FoundPartition, int]]:
    """Yield the partitions on disk that have fewer rows than an area counts in their very directory.

    Not the last one if its newest row is the area's newest: then it is the count that is too high.
    """
    counted = {(int(each["timestamp"]), int(each["name_txn"])): int(each["rows"]) for each in area.partitions}
    for each in disk.found.partitions:
        rows = counted.get((each.start, each.name_txn), 0)
        if each.rows < rows and each.last != area.max_ts:
            yield each, rows


def _bare_detached(disk: Disk) -> str | None:
    """Return a detached directory, e.g. `2024-01-01.3.detached`, that no DETACH made; None if there is none.

    DETACH copies `_meta` and `_cv` into it, by these names or `_dmeta` and `_dcv`. Its partition is not on disk.
    """
    starts = {each.start for each in disk.found.partitions}
    for entry in list_directory(disk.directory.path)[0]:
        if not entry.is_directory or not entry.name.endswith(_DETACHED):
            continue
        place = partition_of(disk.found.partitioning, entry.name.removesuffix(_DETACHED))
        inside, problem = list_directory(entry.path)
        described = problem is not None or any(each.name.startswith("_") for each in inside)
        if place is not None and place[0] not in starts and not described and inside:
            return entry.name
    return None


def _emptied(disk: Disk, floors: NDArray[Any]) -> Iterator[str]:
    """Yield the directories of zeros of whose time no partition has rows: applied ones may have been in them.

    WAL of that time proves little: what was applied before it is purged.
    """
    naming = disk.found.partitioning
    for name in disk.found.empty:
        place = partition_of(naming, name)
        if place is not None and naming.floors(np.array([place[0]], np.int64))[0] not in floors:
            yield f"{clean_line(name)} holds nothing but zeros, and rows of its time may have been applied"


def added_later(disk: Disk) -> str | None:
    """Return which column was added in a partition behind the last one on disk, as a clause; None if none was."""
    naming, last = disk.found.partitioning, max((each.start for each in disk.found.partitions), default=None)
    if naming.unit == UNPARTITIONED or last is None:
        return None
    for column in disk.metadata.columns:
        if not column.dropped and disk.versions.top(last, column.index) is None:
            name = clean_line(column.name)
            return f"column {name} was added in a partition behind {naming.name(last)}, the last on disk"
    return None


def _lost_pages(disk: Disk, each: FoundPartition, following: FoundPartition | None) -> Iterator[str]:
    """Yield that zeros behind the rows of a partition may have been rows.

    A merge writes a file in the very length of its rows. A writer takes room for more, and cuts it to whole pages as it
    goes on to the next partition; so a whole page of rows with zeros behind it is rare, but for a lost page. A file
    that ends with such a page may have been cut there, unless the times or another file show that it was not.
    """
    if each.timestamps is None or not each.clean:
        return
    size, shown = each.timestamps.stat().st_size, clean_line(each.directory)
    if each.rows < size // 8 and size // 8 % _PAGE_ROWS:
        yield f"{shown} has files for {plural(size // 8, 'row')}, and zeros behind {each.rows:,} of them"
    elif each.rows % _PAGE_ROWS == 0 and (
        following is None or each.rows < size // 8 or not (_goes_on(each, following) or _merged(disk, each))
    ):
        yield f"{shown} ends with a whole page, and pages behind it may be lost"


def _goes_on(each: FoundPartition, following: FoundPartition) -> bool:
    """Return whether the next partition begins one step behind: a table with rows at equal steps lacks none between."""
    if each.timestamps is None:
        return False
    with DbFile(each.timestamps) as file:
        times = file.array(8 * (each.rows - _PAGE_ROWS), "<i8", _PAGE_ROWS)
    steps = np.diff(np.append(times, following.first))
    return bool(steps.min() > 0 and steps.max() < 2 * steps.min())


def _merged(disk: Disk, each: FoundPartition) -> bool:
    """Return whether a file has the very length of the rows, which is not of whole pages: a merge wrote it, or nobody
    cut it."""
    files = disk.files(area_of(disk))
    spans = [span for span in files.spans if span.directory == each.directory]
    for column in (column for span in spans for column in files.columns_of(span)):
        if isinstance(column, StoredColumn) and column.entries[0].exists():
            path, width, more = column.entries
            size = path.stat().st_size
            if size % PAGE and size == width * (column.rows + more):
                return True
    return False


def gaps(disk: Disk, counted: int = 0) -> Iterator[str]:
    """Yield where rows or a partition may be gone: `_txn` has `counted` more rows, one has lost pages, a directory
    holds zeros, `_cv` has entries of one, a part split off is left, a unit lacks, or symbols without rows."""
    naming, partitions = disk.found.partitioning, disk.found.partitions
    if counted > disk.found.rows:
        yield f"_txn counts {plural(counted, 'row')}, and the partitions on disk have {disk.found.rows:,}"
    for each, following in zip_longest(partitions, partitions[1:]):
        yield from _lost_pages(disk, each, following)
    if naming.unit == UNPARTITIONED:
        return
    starts = np.array([each.start for each in partitions], np.int64)
    floors = naming.floors(starts)
    yield from _emptied(disk, floors)
    if not partitions:
        return
    named = np.unique(disk.versions.entries["partition"])
    named = named[(named != DEFAULT_PARTITION) & (named != SYMBOL_PARTITION)]
    for start in np.setdiff1d(named, starts).tolist():
        yield f"_cv has column tops of partition {clean_line(naming.name(int(start)))}, which is not on disk"
    for each, floor in zip(partitions, floors.tolist(), strict=True):
        if floor not in floors[starts == floor]:
            yield f"{clean_line(each.directory)} was split off {clean_line(naming.name(floor))}, which is not on disk"
    for before, after in pairwise(floors.tolist()):
        end = naming.unit_end(before)
        if end is not None and end < after:
            yield f"no partition on disk is of a time between {naming.name(before)} and {naming.name(after)}"
    for name, count in unused_symbols(disk.directory.path, disk.metadata, disk.files(area_of(disk))):
        yield f"the symbol map of {name} has {plural(count, 'symbol')} that no row uses"
