"""Sums over the values of partitions, and how they are collected: in any order, under dedup only rows that stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag
from console.questdb.row_hashes import row_hashes
from console.questdb.row_values import FixedValues, Mask, Values
from console.questdb.table_metadata import TableColumn

WHOLE_NUMBERS: Final = (
    ColumnTag.BOOLEAN, ColumnTag.BYTE, ColumnTag.SHORT, ColumnTag.INT, ColumnTag.LONG, ColumnTag.DATE,
    ColumnTag.TIMESTAMP,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnSum:
    """Of one column of one partition: values that are not null, the sum of the hashes of all, and of whole numbers.

    Sums wrap at 64 bits. `total` is None for what is no whole number.
    """

    present: int
    hashes: int
    total: int | None


@dataclass(frozen=True, slots=True)
class PartitionSums:
    """One partition: where it begins, its rows, the sum of its rows' hashes, and its columns by name."""

    start: int
    name: str
    rows: int
    hashes: int
    columns: Mapping[str, ColumnSum]


@dataclass(frozen=True, slots=True)
class TableSums:
    """What partitions hold. `open_` says by partition why its values are not predicted; it is still to be read.

    `columns` are the types of the columns by name.
    """

    directory: str
    columns: Mapping[str, int]
    partitions: tuple[PartitionSums, ...]
    open_: Mapping[int, str]


@dataclass(slots=True)
class Collected:
    """Sums over one partition; under dedup first the keys of all rows, then only of those rows that stay."""

    table_columns: Sequence[TableColumn]
    rows: int = 0
    hashes: np.uint64 = field(default_factory=lambda: np.uint64(0))
    columns: dict[str, list[Any]] = field(default_factory=dict)
    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    old: int = 0  # rows of `keys` that are in the table already
    stay: Mask | None = None
    at: int = 0

    def take(self, values: Mapping[str, Values], count: int, mask: Mask | None, *, keys_only: bool, old: bool) -> None:
        """Add rows; `mask` says which of them are of this partition."""
        if keys_only:
            keys = row_hashes([values[c.raw_name] for c in self.table_columns if c.dedup_key], count)
            self.keys.append(keys if mask is None else keys[mask])
            self.old += len(self.keys[-1]) if old else 0
            return
        mask = self._staying(np.ones(count, np.bool_) if mask is None else mask)
        self.rows += int(mask.sum())
        with np.errstate(over="ignore"):
            self.hashes += row_hashes([values[c.raw_name] for c in self.table_columns], count)[mask].sum(
                dtype=np.uint64
            )
            for column in self.table_columns:
                sums = self.columns.setdefault(column.raw_name, [0, np.uint64(0), np.uint64(0)])
                mine = values[column.raw_name]
                sums[0] += int((~mine.null & mask).sum())
                sums[1] += row_hashes([mine], count)[mask].sum(dtype=np.uint64)
                if isinstance(mine, FixedValues) and column.tag in WHOLE_NUMBERS:
                    whole = mine.values[mask & ~mine.null].astype(np.int64)
                    sums[2] += whole.view(np.uint64).sum(dtype=np.uint64)

    def _staying(self, mask: Mask) -> Mask:
        if self.stay is None:
            return mask
        found = mask.copy()
        many = int(mask.sum())
        found[mask] = self.stay[self.at : self.at + many]
        self.at += many
        return found

    def decide(self) -> str:
        """Settle which rows stay: of equal keys the last. Return why that is not known, empty if it is."""
        keys = np.concatenate(self.keys) if self.keys else np.empty(0, np.uint64)
        if len(np.unique(keys[: self.old])) != self.old:
            return "rows with equal dedup keys are in it already"
        _, last = np.unique(keys[::-1], return_index=True)
        self.stay = np.zeros(len(keys), np.bool_)
        self.stay[len(keys) - 1 - last] = True
        self.keys = []
        return ""

    def sums(self, start: int, name: str, columns: Sequence[TableColumn]) -> PartitionSums:
        tags = {column.raw_name: column.tag for column in columns}
        return PartitionSums(
            start,
            name,
            self.rows,
            int(self.hashes),
            {
                each: ColumnSum(present, int(hashes), _signed(int(total)) if tags[each] in WHOLE_NUMBERS else None)
                for each, (present, hashes, total) in self.columns.items()
            },
        )


def _signed(total: int) -> int:
    return total - (1 << 64) if total >= 1 << 63 else total
