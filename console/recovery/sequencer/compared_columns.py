"""What of a row is compared between segment and table: every live column by value, as running hashes of 64 bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from console.questdb.column_versions import DEFAULT_PARTITION, SYMBOL_PARTITION, ColumnVersions
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError
from console.questdb.row_hashes import Hashes, row_hashes
from console.questdb.row_values import Numbers, Values
from console.questdb.segment import Segment
from console.questdb.table_metadata import TableColumn, TableMetadata

BATCH: Final = 128
"""Columns of a segment whose files are open at a time."""


@dataclass(slots=True)
class Hashed:
    """Running hashes of rows: of all columns, of those that nothing but inserts wrote, and of the dedup keys.

    Where nothing was rewritten `sure` is `values`; without dedup keys `keys` is empty.
    """

    values: Hashes
    sure: Hashes
    keys: Hashes


@dataclass(frozen=True, slots=True)
class ComparedColumns:
    """The live columns in the table's order. `keys` are the indices of the dedup keys, the timestamp among them.

    `rewritten` has for a column the partitions (by start, ascending) whose files an UPDATE has replaced.
    """

    columns: tuple[TableColumn, ...]
    keys: frozenset[int]
    rewritten: Mapping[int, Numbers]
    partitioning: Partitioning

    @classmethod
    def of(cls, metadata: TableMetadata, versions: ColumnVersions) -> "ComparedColumns":
        """Return those of a table. Raises DamageError where `_cv` cannot be read."""
        if versions.version is None:
            raise DamageError("_cv cannot be read, so nothing says which files hold a column")
        columns = tuple(column for column in metadata.columns if not column.dropped)
        keys = {column.index for column in columns if column.dedup_key}
        if keys:
            keys.add(metadata.timestamp_index)
        partitioning = Partitioning.of(metadata)
        rewritten = {column.index: _rewritten(versions, column.index, partitioning) for column in columns}
        return cls(columns, frozenset(keys), {at: found for at, found in rewritten.items() if len(found)}, partitioning)

    def begin(self, rows: int) -> Hashed:
        start = row_hashes((), rows)
        return Hashed(start, start.copy() if self.rewritten else start, row_hashes((), rows if self.keys else 0))

    def add(self, hashed: Hashed, first: int, column: TableColumn, values: Values, floors: Numbers) -> None:
        """Add a column's `values` to the hashes of the rows from `first` on, whose partitions begin at `floors`."""
        span = slice(first, first + len(values))
        hashed.values[span] = row_hashes((values,), len(values), hashed.values[span])
        if self.rewritten:
            kept = values
            if column.index in self.rewritten:
                kept = replace(values, null=values.null | np.isin(floors, self.rewritten[column.index]))
            hashed.sure[span] = row_hashes((kept,), len(values), hashed.sure[span])
        if column.index in self.keys:
            hashed.keys[span] = row_hashes((values,), len(values), hashed.keys[span])

    def doubting(self, columns: Mapping[int, Numbers]) -> "ComparedColumns":
        """Return these, where the values of further `columns` in some partitions do not count as what inserts wrote."""
        return replace(self, rewritten=joined_columns(self.rewritten, columns))

    def doubts(self, columns: Mapping[int, Numbers]) -> bool:
        """Return whether none of `columns` counts in its partitions."""
        none = np.empty(0, np.int64)
        return all(bool(np.isin(found, self.rewritten.get(index, none)).all()) for index, found in columns.items())

    def batches(self) -> Sequence[tuple[TableColumn, ...]]:
        return [self.columns[at : at + BATCH] for at in range(0, len(self.columns), BATCH)]

    def refuse_other(self, segment: Segment) -> None:
        """Raise DamageError where the rows of `segment` have other columns: one is gone, or of another type.

        A column that was added later is null in them, as it is in the table.
        """
        theirs = segment.metadata.columns if segment.metadata is not None else ()
        if not theirs:
            raise DamageError("its _meta cannot be read, so its columns are not known")
        for column in self.columns:
            if column.index >= len(theirs):
                if column.replaces is not None:
                    raise DamageError(f"column {column.name} had another type when its rows were written")
            elif theirs[column.index].dropped or theirs[column.index].type_code != column.type_code:
                raise DamageError(f"column {column.name} is another one in its _meta")


def joined_columns(some: Mapping[int, Numbers], others: Mapping[int, Numbers]) -> dict[int, Numbers]:
    """Return the partitions (by start, ascending) that either has for a column."""
    none = np.empty(0, np.int64)
    return {index: np.union1d(some.get(index, none), others.get(index, none)) for index in some.keys() | others.keys()}


def same_columns(metadata: TableMetadata, segment: Segment) -> bool:
    """Return whether a segment was written with the very columns that the table has: no column was changed since."""
    theirs = segment.metadata.columns if segment.metadata is not None else ()
    return [(c.raw_name, c.type_code, c.dropped) for c in metadata.columns] == [
        (c.raw_name, c.type_code, c.dropped) for c in theirs
    ]


def _rewritten(versions: ColumnVersions, column: int, partitioning: Partitioning) -> Numbers:
    """Return where the column's files have another name than inserts give them: only an UPDATE makes such (measured).

    A column that is added or renamed gets its name for all partitions, as its default.
    """
    entries = versions.entries[versions.entries["column"] == column]
    default = entries["name_txn"][entries["partition"] == DEFAULT_PARTITION]
    name = int(default[0]) if len(default) else -1
    other = (entries["partition"] > SYMBOL_PARTITION) & (entries["name_txn"] != name)
    return np.unique(partitioning.floors(np.asarray(entries["partition"][other])))
