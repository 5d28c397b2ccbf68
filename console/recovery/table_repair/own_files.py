"""The files that say what a table is, for repairs that rest on them: `_txn`, `_meta` and `_cv` must be whole."""

from dataclasses import dataclass

from console.questdb.column_versions import ColumnVersions, read_column_versions
from console.questdb.layout import TableDirectory
from console.questdb.partition_files import PartitionFiles
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """What `_txn`, `_meta` and `_cv` of a table say."""

    table: TableDirectory
    area: TxnArea
    metadata: TableMetadata
    versions: ColumnVersions

    @property
    def partitions(self) -> PartitionFiles:
        return PartitionFiles(self.table.path, self.area, self.metadata, self.versions)


def own_files(table: TableDirectory) -> OwnFiles | Refusal:
    """Return what the files say, or the refusal to repair what rests on one that is damaged."""
    metadata = read_table_metadata(table.path)
    if not isinstance(metadata, TableMetadata) or metadata.unusable:
        return _first(RefusalCode.TABLE_METADATA_INVALID, "_meta", "repair-metadata", table)
    versions = read_column_versions(table.path)
    if versions.version is None:
        return _first(RefusalCode.COLUMN_VERSIONS_INVALID, "_cv", "repair-metadata", table)
    txn = read_table_txn(table.path)
    if txn.current is None or txn.problems or len(txn.current.symbols) != len(metadata.symbols):
        return _first(RefusalCode.TABLE_TXN_INVALID, "_txn", "repair-table-state", table)
    return OwnFiles(table, txn.current, metadata, versions)


def _first(code: RefusalCode, file: str, action: str, table: TableDirectory) -> Refusal:
    reason = f"{file} of {table.name} is damaged, and this repair rests on it"
    return Refusal(code, reason, f"{action} first", action=action)
