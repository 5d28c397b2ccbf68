"""What of a table its own files are judged by, and where rows go that are not in the table yet."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_versions import ColumnVersions
from console.questdb.layout import TableDirectory
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import Problem
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TableTxn
from console.text import clean_line


@dataclass(frozen=True, slots=True)
class Incoming:
    """Where rows that are not in the table yet go to, as stretches of its timestamp, apart and in order of time.

    `everywhere`: it is not known, or any partition may be changed.
    """

    lows: NDArray[np.int64]
    highs: NDArray[np.int64]
    everywhere: bool = False

    @classmethod
    def of(cls, lows: NDArray[np.int64], highs: NDArray[np.int64], *, everywhere: bool = False) -> "Incoming":
        """Return the stretches that ranges of timestamps cover together."""
        order = np.argsort(lows, kind="stable")
        starts, ends = lows[order], np.maximum.accumulate(highs[order])
        first = np.ones(len(starts), np.bool_)
        first[1:] = starts[1:] > ends[:-1]
        last = np.append(first[1:], True)[: len(starts)]
        return cls(starts[first], ends[last], everywhere)

    @classmethod
    def none(cls) -> "Incoming":
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @property
    def any(self) -> bool:
        return self.everywhere or bool(len(self.lows))

    def touches(self, partition: PartitionSpan) -> bool:
        """Return whether applying them opens the files of the partition; whatever is applied opens the last one."""
        if self.everywhere or (partition.last and len(self.lows)):
            return True
        at = int(np.searchsorted(self.highs, partition.start))
        return at < len(self.lows) and (partition.end is None or int(self.lows[at]) < partition.end)


@dataclass(frozen=True, slots=True)
class TableFiles:
    """What of a table is judged here. `checked` are partitions found whole, also by an earlier look."""

    directory: TableDirectory
    txn: TableTxn
    metadata: TableMetadata | Problem
    versions: ColumnVersions
    incoming: Incoming
    checked: set[PartitionSpan]

    def relative(self, path: Path) -> str:
        return clean_line(str(path.relative_to(self.directory.path.parent)))
