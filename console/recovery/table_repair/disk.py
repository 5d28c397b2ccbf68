"""A table without its `_txn`: what lies on disk, and the state that the partitions there add up to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_types import is_variable, storage_size
from console.questdb.column_versions import DEFAULT_PARTITION, ColumnVersions
from console.questdb.fields import I64_MAX, I64_MIN
from console.questdb.layout import TableDirectory
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_rows import TableRows
from console.questdb.partition_spans import UNPARTITIONED
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DbFile, Problem, list_directory
from console.questdb.row_values import null_bytes
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import PARTITION, TableTxn, TxnArea
from console.recovery.sequencer.disk import TableOnDisk, table_with
from console.recovery.sequencer.multisets import counted
from console.recovery.sequencer.table_content import partition_hashes
from console.recovery.table_repair.guarded import Guarded
from console.recovery.table_repair.partitions import FoundPartition, FoundPartitions, read_partitions
from console.recovery.table_repair.symbol_counts import raise_to_used, symbol_counts
from console.text import clean_line

_REMOVED: Final = 1
"""Truncate version of a state made again: whether partitions were ever removed is not known, and 0 would deny it."""
_MOST_VERSION: Final = 1 << 40
_CHUNK: Final = 1 << 20
_PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Disk:
    """What is left of a table: columns, partitions, `_txn` as it is now (`damaged`), and what the guard has of it."""

    directory: TableDirectory
    metadata: TableMetadata
    versions: ColumnVersions
    found: FoundPartitions
    damaged: TableTxn
    guarded: tuple[Guarded, ...] = ()

    @property
    def least(self) -> int:
        """The last transaction that was applied when the guard's newest copy was taken, so that it still is."""
        return max((each.area.seq_txn for each in self.guarded), default=0)

    def files(self, area: TxnArea) -> PartitionFiles:
        return PartitionFiles(self.directory.path, area, self.metadata, self.versions)

    def with_area(self, area: TxnArea) -> TableOnDisk:
        tried = replace(area, seq_txn=0, lag_txn_raw=0, lag_rows=0, truncate_version=_REMOVED)
        tried = replace(tried, lag_checksum=tried.lag_checksum_expected())
        txn = TableTxn(self.damaged.path, None, tried, None, 0, ())
        return table_with(self.directory, txn, self.metadata)


def area_of(disk: Disk) -> TxnArea:
    """Return the state of the table with the partitions on disk, nothing known to be applied."""
    found, versions = disk.found, disk.versions
    rows = [each.rows for each in found.partitions]
    suffixes = [each.name_txn for each in found.partitions] + versions.entries["name_txn"].tolist()
    header = disk.damaged.header
    before = header.version if header is not None and 0 <= header.version < _MOST_VERSION else 0
    unpartitioned = Partitioning.of(disk.metadata).unit == UNPARTITIONED
    version = versions.version or 0
    return TxnArea(
        base=0,
        txn=even(max([0, before, version, *suffixes]) + 1),
        transient_rows=rows[-1] if rows else 0,
        fixed_rows=sum(rows[:-1]),
        min_ts=found.partitions[0].first if rows else I64_MAX,
        max_ts=found.partitions[-1].last if rows else I64_MIN,
        metadata_version=disk.metadata.metadata_version,
        structure_version=_structure(disk),
        data_version=0,
        partition_table_version=0,
        column_version=version,
        truncate_version=_REMOVED,
        seq_txn=0,
        lag_checksum=0,
        lag_txn_raw=0,
        lag_rows=0,
        lag_min_ts=I64_MAX,
        lag_max_ts=I64_MIN,
        symbols=symbol_counts(disk.directory.path, disk.metadata, versions),
        partitions=np.zeros(0, PARTITION) if unpartitioned else found.records(),
    )


def _structure(disk: Disk) -> int:
    """Return the structure version that the sequencer has reached: a bound, until it is decided what is applied."""
    sequencer = read_sequencer_metadata(disk.directory.sequencer) if disk.metadata.wal else None
    if sequencer is None:
        return 0
    return disk.metadata.metadata_version if isinstance(sequencer, Problem) else max(0, sequencer.structure_version)


def even(version: int) -> int:
    """Return the version, or the next one: an even one points at area A."""
    return version + version % 2


def torn_timestamps(disk: Disk) -> Iterator[FoundPartition]:
    """Yield the partitions whose other columns have values where only zeros are behind the timestamps.

    A page of timestamps may be lost there. A column that was added tells nothing: its file can hold what came later.
    Raises OSError if a file cannot be read.
    """
    entries = disk.versions.entries
    added = set(entries["column"][entries["partition"] == DEFAULT_PARTITION].tolist())
    files = disk.files(area_of(disk))
    clean = {each.directory: each for each in disk.found.partitions if each.clean}
    for span in files.spans:
        stored = files.columns_of(span) if span.directory in clean else ()
        native = [each for each in stored if isinstance(each, StoredColumn) and each.column.index not in added]
        if any(_values_behind(each) for each in native):
            yield clean[span.directory]


def _values_behind(each: StoredColumn) -> bool:
    if is_variable(each.column.type_code):
        return False
    try:
        return _held_from(each.data, (storage_size(each.column.type_code) or 0) * each.rows)
    except FileNotFoundError:
        return False  # the column is lost, and tells nothing of the rows


def _held_from(path: Path, at: int, null: bytes = b"\0") -> bool:
    """Return whether a file holds a value that is neither zero nor `null` from offset `at` on, a value's."""
    width, nothing = len(null), np.frombuffer(null, np.uint8)
    with DbFile(path) as file:
        while at < file.size:
            at = max(at, file.next_data(at) // width * width)
            values = file.array(at, "u1", _CHUNK // width * width)
            values = values[: len(values) // width * width].reshape(-1, width)
            if (values.any(axis=1) & (values != nothing).any(axis=1)).any():
                return True
            at += max(1, values.size)
    return False


def older_tops(disk: Disk) -> str | None:
    """Return where a column file has more values than `_cv` gives it, as a clause: then `_cv` is of before it.

    Only a file of an exact length says how many values it has: one in whole pages can hold what was never committed.
    A partition that was split and squashed has NULLs behind its values. Raises OSError.
    """
    versions = disk.versions
    for span in disk.files(area_of(disk)).spans if len(versions.entries) else ():
        sizes = {each.name: each.path.stat(follow_symlinks=False).st_size
                 for each in list_directory(disk.directory.path / span.directory)[0] if each.is_file}  # fmt: skip
        for column in disk.metadata.columns:
            width, top = storage_size(column.type_code) or 0, versions.top(span.start, column.index)
            if column.dropped or is_variable(column.type_code) or not width or top == 0:
                continue
            suffix = versions.name_txn(span.start, column.index)
            name = f"{column.raw_name}.d" + (f".{suffix}" if suffix > -1 else "")
            size = sizes.get(name, 0)
            wanted = 0 if top is None else span.rows - top
            path = disk.directory.path / span.directory / name
            if (
                size % _PAGE
                and not size % width
                and size // width > wanted
                and _held_from(path, width * wanted, null_bytes(column.type_code))
            ):
                what = f"{clean_line(span.directory)} has {size // width:,} values of {clean_line(column.name)}"
                return f"{what}, and _cv gives it {wanted:,}"
    return None


def holds_older(disk: Disk) -> bool:
    """Return whether each directory that is taken holds every row of the older ones beside it. Raises as readers do."""
    found = disk.found
    newest = {each.directory: each for each in found.partitions}
    for directory, name_txn, newer in found.older:
        before = read_partitions(disk.directory.path, disk.metadata, disk.versions, name_txn)
        old = next((each for each in before.partitions if each.directory == directory), None)
        if old is not None and not _within(disk, old, newest[newer]):
            return False
    return True


def _within(disk: Disk, old: FoundPartition, new: FoundPartition) -> bool:
    """Return whether every row of one directory is in another, by all of its values."""
    hashes = []
    for each in (old, new):
        alone = replace(disk, found=replace(disk.found, partitions=[each]))
        area = area_of(alone)
        raise_to_used(area.symbols, disk.metadata, disk.files(area))
        hashes.append(partition_hashes(TableRows(disk.directory.path, txn=area), disk.versions))
    values, counts = np.unique(hashes[0], return_counts=True)
    return bool((counted(values, hashes[1]) >= counts).all())


def without_newest(disk: Disk, found: FoundPartitions) -> FoundPartitions | None:
    """Return the partitions without the newest directory that has an older one beside it; None if there is none."""
    names = {newer for _, _, newer in found.older}
    newest = max((each.name_txn for each in found.partitions if each.directory in names), default=None)
    if newest is None:
        return None
    before = read_partitions(disk.directory.path, disk.metadata, disk.versions, newest - 1)
    return replace(before, uncommitted=True)
