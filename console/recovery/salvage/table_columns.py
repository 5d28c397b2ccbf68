"""What the columns of a table are, whatever its `_meta` is: from `_meta`, else the sequencer's, else `_meta.prev`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.reading import DamageError, Problem, list_directory, read_small
from console.questdb.sequencer_metadata import SequencerColumn, SequencerMetadata, read_sequencer_metadata
from console.questdb.table_metadata import (
    PARTITION_UNITS,
    TableColumn,
    TableMetadata,
    parse_table_metadata,
    read_table_metadata,
)
from console.questdb.table_name import SEQUENCER

_PREVIOUS: Final = ("_meta.prev", "_meta.swp")
_NAMES: Final = {
    "YEAR": r"\d{4}", "MONTH": r"\d{4}-\d\d", "WEEK": r"\d{4}-W\d\d", "DAY": r"\d{4}-\d\d-\d\d",
    "HOUR": r"\d{4}-\d\d-\d\dT\d\d",
}  # fmt: skip
"""Names of whole partitions by unit, the longest unit first: parts that were split off have longer names."""


@dataclass(frozen=True, slots=True)
class KnownColumns:
    """A table's metadata, and the file that it is from; `problem` says why that is not `_meta`."""

    metadata: TableMetadata
    source: str
    problem: str = ""

    @property
    def proven(self) -> bool:
        """Return whether the table's own `_meta` says so."""
        return not self.problem


def known_columns(table: Path) -> KnownColumns:
    """Return the columns of the table in a directory. Raises DamageError if no file tells them."""
    own = read_table_metadata(table)
    problem = _why_unusable(own)
    if isinstance(own, TableMetadata) and not problem:
        return KnownColumns(own, "_meta")
    earlier = _previous(table)
    sequencer = read_sequencer_metadata(table / SEQUENCER)
    if isinstance(sequencer, SequencerMetadata) and sequencer.columns and not sequencer.dropped:
        unit = earlier[1].partition_by if earlier else _unit_by_names(table)
        made = _of_sequencer(table, sequencer, unit)
        if not _why_unusable(made):
            return KnownColumns(made, f"{SEQUENCER}/_meta", problem)
    if earlier is not None:
        return KnownColumns(earlier[1], earlier[0], problem)
    raise DamageError(f"_meta: {problem}; neither {SEQUENCER}/_meta nor _meta.prev names the columns")


def _why_unusable(metadata: TableMetadata | Problem) -> str:
    if isinstance(metadata, Problem):
        return metadata.what
    if metadata.partition_unit is None:
        return f"its partition unit is {metadata.partition_by}"
    return metadata.unusable


def _previous(table: Path) -> tuple[str, TableMetadata] | None:
    for name in _PREVIOUS:
        file = read_small(table / name)
        if not file.present:
            continue
        try:
            metadata = parse_table_metadata(file.data, file.path)
        except DamageError:
            continue
        if not _why_unusable(metadata):
            return name, metadata
    return None


def _of_sequencer(table: Path, sequencer: SequencerMetadata, unit: int) -> TableMetadata:
    return TableMetadata(
        path=table / SEQUENCER / "_meta",
        partition_by=unit,
        timestamp_index=sequencer.timestamp_index,
        version=0,
        table_id=sequencer.table_id,
        metadata_version=sequencer.structure_version,
        wal=True,
        max_uncommitted_rows=0,
        o3_max_lag_us=0,
        ttl=0,
        columns=tuple(_column(index, column) for index, column in enumerate(sequencer.columns)),
        problems=sequencer.problems,
    )


def _column(index: int, column: SequencerColumn) -> TableColumn:
    return TableColumn(
        index=index, name=column.name, raw_name=column.raw_name, type_code=column.type_code, dropped=column.dropped,
        indexed=False, cached=True, dedup_key=False, symbol_capacity=None, replaces=None,
    )  # fmt: skip


def _unit_by_names(table: Path) -> int:
    """Return the partition unit that the names of the partitions say: the longest of which there is a whole one."""
    entries, _ = list_directory(table)
    names = {entry.name.split(".")[0] for entry in entries if entry.is_directory}
    for unit, pattern in _NAMES.items():
        if any(re.fullmatch(pattern, name) for name in names):
            return PARTITION_UNITS.index(unit)
    return PARTITION_UNITS.index("NONE")
