"""What the files of a table show of its `_meta`: columns that were dropped or renamed, indexes, symbol maps.

Every file name has its column's, and an ALTER renames or makes the files at once. A type is in no file, so a column
that was added, or that has another type, is not told by them.
"""

import re
from pathlib import Path
from typing import Final

from console.questdb.bitmap_index import read_index_header
from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag
from console.questdb.column_versions import DEFAULT_PARTITION, ColumnVersions, read_column_versions
from console.questdb.fields import Fields
from console.questdb.formats.table import META_HEADER, SYMBOL_OFFSETS
from console.questdb.layout import TableDirectory
from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_names import partition_of
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, list_directory
from console.questdb.structure_log import Command, StructureChange
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.questdb.table_metadata_changes import MetadataImage
from console.questdb.table_txn import TxnArea
from console.text import clean_line

_FILE: Final = re.compile(r"(.+)\.d(\.\d+)?")


def changes_by_files(table: Path, area: TxnArea, older: TableMetadata) -> list[StructureChange]:
    """Return what was dropped or renamed since an `older` `_meta`, by the files of the newest native partition.

    Raises DamageError where they leave it open.
    """
    versions = read_column_versions(table)
    if versions.version != area.column_version:
        raise DamageError(f"_cv is not of the state of _txn, version {area.column_version:,}")
    entries = versions.entries[versions.entries["partition"] == DEFAULT_PARTITION]
    if (entries["column"] >= len(older.columns)).any():
        raise DamageError("_cv names columns that were added or changed since: their types are in no file")
    files = PartitionFiles(table, area, older, versions)
    span = next((span for span in reversed(files.spans) if span.parquet_size is None), None)
    if span is None:
        raise DamageError("no native partition is left whose files have the names of the columns")
    known = {column.raw_name.lower() for column in older.columns}
    names = {entry.name for entry in list_directory(table / span.directory)[0] if entry.is_file}
    stems = {match[1] for name in names if (match := _FILE.fullmatch(name)) and match[1].lower() not in known}
    stored = [each for each in files.columns_of(span) if isinstance(each, StoredColumn)]
    gone = [each.column.raw_name for each in stored if each.data.name not in names]
    if not stems:
        return [StructureChange(0, 0, 0, Command.DROP_COLUMN, (), (name,)) for name in gone]
    if len(stems) == len(gone) == 1:
        return [StructureChange(0, 0, 0, Command.RENAME_COLUMN, (), (gone[0], *stems))]
    told = ", ".join(sorted(map(clean_line, stems)))
    raise DamageError(f"{clean_line(span.directory)} has files of {told}: which columns these were is not known")


def stems_in(table: Path, metadata: TableMetadata) -> set[str]:
    listed = [list_directory(folder)[0] for _, folder in _folders(table, metadata)]
    return {each.name.split(".d")[0].lower() for entries in listed for each in entries if ".d" in each.name}


def all_gone(names: tuple[str, ...], stems: set[str]) -> bool:
    """Return whether columns that a change drops have no file, and others have: an ALTER makes a file at once."""
    return bool(stems) and not {name.lower() for name in names} & stems


def settings_by_files(image: MetadataImage, directory: TableDirectory, version: int) -> list[str]:
    """Take from the files what settings they show; return those that nothing tells."""
    metadata = image.metadata(version)
    versions = read_column_versions(directory.path)
    folders = _folders(directory.path, metadata)
    for column in metadata.symbols:
        _symbol_settings(image, directory.path, column, versions)
        _index_settings(image, column, versions, folders)
    META_HEADER.put(image.header, 0, ttl=0)  # a TTL that is too short would drop partitions
    ttl = f"{metadata.ttl} hours" if metadata.ttl > 0 else f"{-metadata.ttl} months" if metadata.ttl else "none"
    return [
        f"the TTL (now none, so that it drops no partition; {ttl} at the last copy)", "maxUncommittedRows", "o3MaxLag",
        "whether a symbol column without partitions has an index",
    ]  # fmt: skip


def _folders(table: Path, metadata: TableMetadata) -> list[tuple[int, Path]]:
    naming = Partitioning.of(metadata)
    entries, _ = list_directory(table)
    found = []
    for entry in entries:
        place = partition_of(naming, entry.name) if entry.is_directory else None
        if place is not None:
            found.append((place[0], entry.path))
    return sorted(found)


def _symbol_settings(image: MetadataImage, table: Path, column: TableColumn, versions: ColumnVersions) -> None:
    try:
        with DbFile(column_path(table, column.raw_name, "o", versions.symbol_name_txn(column.index))) as file:
            head = Fields(file.read(0, SYMBOL_OFFSETS.size))
            capacity, cached = (SYMBOL_OFFSETS.value(name, head) for name in ("capacity", "cached"))
    except (OSError, DamageError):
        return
    if capacity > 0 and not capacity & (capacity - 1):
        image.put_symbol(column.index, capacity=capacity, cached=bool(cached))


def _index_settings(
    image: MetadataImage, column: TableColumn, versions: ColumnVersions, folders: list[tuple[int, Path]]
) -> None:
    """A column with an index has its files in the last partition that has the column."""
    if column.tag is not ColumnTag.SYMBOL:
        return
    for start, folder in reversed(folders):
        name_txn = versions.name_txn(start, column.index)
        if not column_path(folder, column.raw_name, "d", name_txn).exists():
            continue
        try:
            with DbFile(column_path(folder, column.raw_name, "k", name_txn)) as keys:
                image.put_index(column.index, read_index_header(keys).block_values)
        except FileNotFoundError:
            image.put_index(column.index, None)
        except (OSError, DamageError):
            pass
        return
