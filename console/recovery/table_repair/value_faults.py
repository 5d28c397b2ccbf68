"""Faults that only the values show: columns that a full check found damaged are read whole again."""

from collections.abc import Iterator
from typing import Final

from console.diagnosis.deep_files import DeepFiles
from console.diagnosis.deep_scope import DeepScope
from console.diagnosis.model import Code, Finding, Severity
from console.questdb.column_types import is_variable
from console.questdb.layout import TableDirectory
from console.questdb.partition_columns import FaultKind, PartitionFault, StoredColumn
from console.questdb.partition_files import PARQUET, PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from console.recovery.store.deep_damage import Places

_KINDS: Final = {
    Code.COLUMN_FILE_INVALID: FaultKind.FILE_INVALID,
    Code.TIMESTAMPS_INVALID: FaultKind.FILE_INVALID,
    Code.SYMBOL_KEYS_UNKNOWN: FaultKind.FILE_INVALID,
    Code.PARQUET_FILE_INVALID: FaultKind.PARQUET_INVALID,
}


def value_faults(table: TableDirectory, files: PartitionFiles, known: Places, only: str) -> Iterator[PartitionFault]:
    """Yield the faults that the values of the `known` places still have, or those of the partition `only`."""
    if only:
        scopes = [DeepScope(frozenset({only}))]
    else:
        named = {(partition, column) for partition, column in known if partition and column}
        whole = frozenset(partition for partition, column in known if partition and not column)
        scopes = [DeepScope(frozenset(p for p, _ in named), frozenset(c for _, c in named))] if named else []
        scopes += [DeepScope(whole)] if whole else []
    for scope in scopes:
        for finding in DeepFiles(table, scope=scope).look().findings:
            if finding.code in _KINDS and finding.severity is not Severity.NOTE:
                yield from _faults(table, files, finding)


def _faults(table: TableDirectory, files: PartitionFiles, finding: Finding) -> Iterator[PartitionFault]:
    kind = _KINDS[finding.code]
    for span in files.spans:
        if span.name != finding.partition:
            continue
        if kind is FaultKind.PARQUET_INVALID:
            yield PartitionFault(kind, span, table.path / span.directory / PARQUET, what=finding.message)
            continue
        for each in files.columns_of(span):
            if isinstance(each, StoredColumn) and each.column.name == finding.column:
                yield _fault(kind, span, each, finding)


def _fault(kind: FaultKind, span: PartitionSpan, each: StoredColumn, finding: Finding) -> PartitionFault:
    file = each.aux if is_variable(each.column.type_code) else each.data
    return PartitionFault(kind, span, file, each.column.name, what=finding.message, offset=finding.offset)
