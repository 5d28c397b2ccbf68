"""Whether `_txn` is what the table was at last: its other area may be the newer one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_versions import (
    COLUMN_VERSION,
    ColumnVersions,
    content_of_version,
    parse_column_versions,
    read_column_versions,
)
from console.questdb.partition_columns import FaultKind
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_names import directories_of, partition_of
from console.questdb.partitioning import Partitioning
from console.questdb.reading import Problem, list_directory
from console.questdb.table_encoding import encode_column_versions
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TableTxn, TxnArea
from console.table.inventory import Inventory
from console.table.later_traces import later_trace, metadata_newer
from console.table.log_scan import LogScan
from console.text import clean_line

_MOST_TRIED: Final = 1 << 24
_FURTHER: Final = 1 << 18


def other_seq_txn(area: TxnArea, last: int) -> tuple[int, ...] | None:
    """Return which seqTxn the checksum of `_txn` was made for, None where nothing speaks against the one in place.

    The checksum covers the version, seqTxn and the lag. Every server writes it, with or without a lag (measured on
    7.3.10 to 9.3.4); a lag that it contradicts is set to 0 at the next start, and is no doubt about seqTxn. Tried are
    those up to `last`, the end of the log, and some more: none of them fits if another field was changed.
    """
    lags = [area, replace(area, lag_txn_raw=0, lag_rows=0), replace(area, lag_txn_raw=0)]
    if not area.lag_checksum or any(each.lag_checksum == each.lag_checksum_expected() for each in lags):
        return None
    if area.lag_txn_raw and not area.lag_rows:
        return None  # 9.1.0's conversions leave such a lag, and no checksum for it
    return tuple(area.seq_txns_by_checksum(min(max(last, area.seq_txn) + _FURTHER, _MOST_TRIED)))


def set_back(
    table: Path, metadata: TableMetadata | Problem, txn: TableTxn, inventory: Inventory, scans: Sequence[LogScan]
) -> str:
    """Return how `_txn` is older than what the table has, as a clause; empty if nothing says so.

    `scans` are the logs that are the table's own. Its other area is newer, and that was in force before; or something
    on disk is of a later state (later_traces.py). In force it was where WAL, or the directory of a partition, that only
    the newer state allows to be purged is gone; or, where no log goes so far, nothing tells and the newer area is
    evidence enough not to promise anything. A server that died while it wrote the other area leaves all of these in
    place, and just applies the WAL again. Where `_cv` already belongs to the newer state, reads would wait for it for
    ever.
    """
    current, other = txn.current, txn.other
    if current is None:
        return ""
    if other is not None and _in_force_before(table, metadata, current, other, scans):
        return f"its other area, which is newer, says seqTxn {other.seq_txn:,} with {other.rows:,} rows"
    if newer := metadata_newer(table, metadata, current):
        return newer
    version = read_column_versions(table).version or 0
    if version > current.column_version and not columns_before(table, metadata, current):
        return (
            f"_cv is of version {version:,}, where _txn names {current.column_version:,}, whose files are not all there"
        )
    found = later_trace(table, metadata, current, inventory, scans)
    return found.words if found is not None else ""


def columns_before(table: Path, metadata: TableMetadata | Problem, area: TxnArea) -> bool:
    """Return whether a `_cv` that is newer than `area` still has the version that this names, with all of its files.

    A writer writes `_cv` first, then `_txn`, and removes old column files only after that.
    """
    first = encode_column_versions(0, np.empty(0, COLUMN_VERSION))  # before any change of a column
    content = content_of_version(table, area.column_version) if area.column_version else first
    if content is None or isinstance(metadata, Problem):
        return False
    version, entries = parse_column_versions(content)
    files = PartitionFiles(table, area, metadata, ColumnVersions(table / "_cv", version, entries, ()))
    return all(each.kind not in (FaultKind.FILE_MISSING, FaultKind.PARTITION_MISSING) for each in files.faults())


def _in_force_before(
    table: Path, metadata: TableMetadata | Problem, current: TxnArea, other: TxnArea, scans: Sequence[LogScan]
) -> bool:
    if other.applied_txn <= current.applied_txn or other.txn <= current.txn:
        return False
    if _gone(table, metadata, current)[0] or _columns_newer(table, current, other):
        return True
    lost = [scan.lost.first() for scan in scans if scan.max_txn >= other.applied_txn]
    return not lost or any(gone is not None and gone <= other.applied_txn for gone in lost)


def ahead(table: Path, metadata: TableMetadata | Problem, area: TxnArea, scans: Sequence[LogScan]) -> str:
    """Return how an area is ahead of the table's directories, as a clause; empty where it is not.

    A partition that it names is gone, what the partition was before is there, and so is WAL that counts as applied:
    `_txn` was on the disk before the directories were. `scans` are the logs that are the table's own.
    """
    if not any(bool(((scan.seq > 0) & (scan.seq <= area.applied_txn)).any()) for scan in scans):
        return ""
    gone, names = _gone(table, metadata, area)
    if not gone or isinstance(metadata, Problem):
        return ""
    places = {name: partition_of(Partitioning.of(metadata), name) for name in names}
    for directory, (start, txn) in sorted(gone.items()):
        versions = {name: place[1] for name, place in places.items() if place is not None and place[0] == start}
        if versions and max(versions.values()) < txn:
            return f"it names {clean_line(directory)}, which is not there, and {clean_line(min(versions))} of before is"
    return ""


def _gone(table: Path, metadata: TableMetadata | Problem, area: TxnArea) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """Return the directories that an area names and that are not there, as `partition_of` tells of them, and all names
    in the table's directory."""
    if isinstance(metadata, Problem):
        return {}, set()
    entries, problem = list_directory(table)
    names = {entry.name for entry in entries}
    wanted = directories_of(Partitioning.of(metadata), area.partitions[area.partitions["rows"] > 0])
    return {name: place for name, place in wanted.items() if problem is None and name not in names}, names


def _columns_newer(table: Path, current: TxnArea, other: TxnArea) -> bool:
    """Return whether `_cv` belongs to the newer area, not to the one in force."""
    version = read_column_versions(table).version
    return version is not None and current.column_version < version == other.column_version
