"""Which partitions and columns of a table the full check reads: all, or those that are named."""

from dataclasses import dataclass
from typing import Final

from console.questdb.partition_spans import PartitionSpan


@dataclass(frozen=True, slots=True)
class DeepScope:
    """The names that were given; empty: all. Columns are compared as QuestDB does, without regard to case.

    A partition is named by its time (`2024-01-02`), or by its directory.
    """

    partitions: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        return not self.partitions and not self.columns

    def partition(self, span: PartitionSpan) -> bool:
        return not self.partitions or bool(self.partitions & {span.name, span.directory})

    def column(self, raw_name: str) -> bool:
        return not self.columns or raw_name.lower() in {name.lower() for name in self.columns}


EVERYTHING: Final = DeepScope()
