"""What on disk is of a later state than `_txn`: it was set back, or an older copy was laid over a newer table.

    _txn: transaction 4, 20 symbols in s    2025-01-03.6   was made in transaction 6 of the table
                                            wal4/0         was begun when the table had 50 symbols in s

A partition that is written anew is named by the `_txn` transaction then in force, a new one by the transaction before
that (TableWriter, `srcNameTxn`). An event of a segment says how many symbols `_txn` counted when the segment was begun
(WalWriter, `initialSymbolCounts`). Neither can be ahead of `_txn`: not after a kill either, since `_txn` is in force
before the next writer reads it. One that is only some transactions behind is harmless if the log still names all of
them, with their WAL. So is the directory of a new partition that a writer made of WAL that waits (uncounted.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from console.questdb.partition_names import directories_of, partition_of
from console.questdb.partition_spans import contradiction
from console.questdb.partitioning import Partitioning
from console.questdb.reading import Problem, list_directory
from console.questdb.segment import Segment
from console.questdb.segment_details import first_symbols, read_symbols
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.table.inventory import Inventory
from console.table.log_scan import LogScan
from console.table.uncounted import behind_the_count, in_new_directories, of_no_wal, unnamed
from console.text import clean_line


@dataclass(frozen=True, slots=True)
class LaterTrace:
    """What is of a later state than `_txn`, as a clause; `beyond_logs`: than what the table's logs name, too."""

    words: str
    beyond_logs: bool


def later_trace(
    table: Path, metadata: TableMetadata | Problem, area: TxnArea, inventory: Inventory, scans: Sequence[LogScan]
) -> LaterTrace | None:
    """Return what is of a later state than `area`; None if nothing is, or if `_txn` has caught up since.

    `scans` are the logs that are the table's own.
    """
    if isinstance(metadata, Problem) or (found := _trace(table, metadata, area, inventory, scans)) is None:
        return None
    now = read_table_txn(table).current  # a server that runs goes on while directory and segments are read
    return found if now is None or now.txn == area.txn else _trace(table, metadata, now, inventory, scans)


def metadata_newer(table: Path, metadata: TableMetadata | Problem, area: TxnArea) -> str:
    """Return that `_meta` is newer than `_txn`, as a clause; empty if not, or if `_txn` has caught up since.

    An ALTER writes `_meta` first. Until it has written `_txn`, `_todo_` has the next writer put the older one back:
    `metadata` is the one in force then (metadata_in_force).
    """
    if isinstance(metadata, Problem) or metadata.metadata_version <= area.metadata_version:
        return ""
    now = read_table_txn(table).current
    if now is not None and now.metadata_version >= metadata.metadata_version:
        return ""
    return f"_meta has version {metadata.metadata_version:,}, where _txn names {area.metadata_version:,}"


def later_directories(table: Path, metadata: TableMetadata, area: TxnArea) -> tuple[str, str]:
    """Return which partition directory of a table without WAL is later than `area`, as a clause, and which may be.

    One that may be is of a time that `area` has no partition of: it was never committed, or `_txn` is of before it. A
    new partition is named by the transaction before the one in force, so nothing tells which. Both are empty where none
    is, or where `_txn` has caught up since.
    """
    named = sorted(_named(table, metadata, area))
    txn, name, _ = named[-1] if named else (-1, "", 0)
    later = _made_in(name, txn, area) if txn > area.txn else _instead(table, named, metadata, area)
    found = later, next(unnamed(named, metadata, area), ("", 0))[0]
    now = read_table_txn(table).current if any(found) else area
    return found if now is None or now.txn == area.txn else ("", "")


def _made_in(name: str, txn: int, area: TxnArea) -> str:
    return f"{clean_line(name)} was made in transaction {txn:,} of the table, _txn is at {area.txn:,}"


def _trace(
    table: Path, metadata: TableMetadata, area: TxnArea, inventory: Inventory, scans: Sequence[LogScan]
) -> LaterTrace | None:
    logged = max((scan.max_txn - area.applied_txn for scan in scans), default=0)
    waiting = max((_all_there(scan, area) for scan in scans), default=0)
    named = sorted(_named(table, metadata, area))
    txn, name, _ = named[-1] if named else (-1, "", 0)
    if txn > area.txn + waiting:
        return LaterTrace(_made_in(name, txn, area), bool(scans) and txn > area.txn + max(logged, 0))
    if contradiction(area, metadata):
        named = []  # its partitions are none, so that it does not tell which directories are later
    if instead := _instead(table, named, metadata, area):
        return LaterTrace(instead, beyond_logs=False)
    # The purge deletes WAL only once it is applied, and without that of the next transaction none is applied any more.
    following, lost = area.applied_txn + 1, [scan.lost.first() for scan in scans]
    new = in_new_directories(table, metadata, area, named)
    if following in lost and (first := next(chain(new, behind_the_count(table, metadata, area)), None)) is not None:
        words = f"{first.words} is of a transaction after _txn, and the WAL of transaction {following:,} is gone"
        return LaterTrace(words, beyond_logs=False)
    settled = logged <= 0 and any(bool((scan.seq > 0).all()) for scan in scans)
    unread = [each for each in new if settled and not len(each.times)]
    if not any(lost) and (found := [*of_no_wal(table, metadata, new), *unread]):
        words = f"{found[0].words} is of a transaction after _txn, and no log and no WAL has such a one"
        return LaterTrace(words, beyond_logs=True)
    words = next(_symbols(metadata, area, inventory), "")
    return LaterTrace(words, bool(scans) and logged <= 0) if words else None


def _instead(table: Path, named: Sequence[tuple[int, str, int]], metadata: TableMetadata, area: TxnArea) -> str:
    """Return which partition is there in a later version alone: the one before is deleted only when that is in force.

    `named` are transaction, directory and begin of the partition directories, ascending.
    """
    partitioning, newest = Partitioning.of(metadata), {start: (txn, name) for txn, name, start in named}
    for each in area.partitions[area.partitions["rows"] > 0]:
        start, own = int(each["timestamp"]), int(each["name_txn"])
        txn, name = newest.get(start, (-1, ""))
        if txn <= own:
            continue
        directory = partitioning.directory(start, own)
        if not (table / directory).exists():
            return f"{clean_line(name)} is there in place of {clean_line(directory)}, which _txn names"
    return ""


def _all_there(scan: LogScan, area: TxnArea) -> int:
    """Return how many transactions a log has above the applied one; 0 if it does not name exactly the WAL on disk."""
    above = scan.max_txn - area.applied_txn
    whole = above > 0 and scan.lost.first() is None and bool((scan.seq > 0).all())
    return above if whole else 0


def _named(table: Path, metadata: TableMetadata, area: TxnArea) -> Iterator[tuple[int, str, int]]:
    """Yield the name transaction of each partition directory (-1: none), the directory, and where it begins."""
    partitioning = Partitioning.of(metadata)
    entries, _ = list_directory(table)
    known = directories_of(partitioning, area.partitions)  # most of them: a name costs more to take apart than to make
    for name in (entry.name for entry in entries if entry.is_directory):
        place = known.get(name) or (partition_of(partitioning, name) if "." in name or name[:1].isdecimal() else None)
        if place is not None:
            yield place[1], name, place[0]


def _symbols(metadata: TableMetadata, area: TxnArea, inventory: Inventory) -> Iterator[str]:
    """Yield the segments that were begun when the table had more symbols than `_txn` and all WAL on disk give it."""
    columns = dict(zip((column.index for column in metadata.symbols), area.symbols["count"].tolist(), strict=False))
    for (wal, number), segment in inventory.segments.items() if columns else ():
        for diff in first_symbols(segment):
            count = int(columns.get(diff.column, diff.clean_count))
            name = metadata.columns[diff.column].raw_name if diff.column in columns else ""
            if diff.clean_count <= count or not _is_named(segment, diff.column, name):
                continue
            if diff.clean_count > count + _added(inventory, diff.column):
                yield (
                    f"wal{wal}/{number} was begun when the table had {diff.clean_count:,} symbols in "
                    f"{clean_line(name)}, _txn counts {count:,} (or that segment is not this table's)"
                )


def _is_named(segment: Segment, index: int, name: str) -> bool:
    columns = segment.metadata.columns if segment.metadata is not None else ()
    return index < len(columns) and columns[index].raw_name == name


def _added(inventory: Inventory, column: int) -> int:
    """Return how many symbols all segments on disk add to a column, one that several add counted for each."""
    added = 0
    for segment in inventory.segments.values():
        diffs = read_symbols(segment)
        if not isinstance(diffs, Problem):
            added += sum(len(diff.keys) for each in diffs.values() for diff in each if diff.column == column)
    return added
