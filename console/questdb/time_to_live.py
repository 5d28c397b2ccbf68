"""Which partitions the TTL of a table may remove with a commit (TableWriter.enforceTtl): those that end too early."""

from collections.abc import Iterable
from typing import Final

from console.questdb.partitioning import Partitioning
from console.questdb.table_metadata import TableMetadata

_HOUR: Final = 3600
_SHORTEST_MONTH: Final = 28 * 24
"""Hours. A TTL in months is taken for shorter than it is: what it may remove is among what is returned."""


def outlived(metadata: TableMetadata, starts: Iterable[int], newest: int) -> frozenset[int]:
    """Return which of the partitions that begin at `starts` may go once `newest` is the newest timestamp.

    Timestamps in the unit of the designated column. Some versions compare with the clock as well, and remove fewer.
    """
    if not metadata.ttl:
        return frozenset()
    partitioning = Partitioning.of(metadata)
    hours = metadata.ttl if metadata.ttl > 0 else -metadata.ttl * _SHORTEST_MONTH
    oldest = newest - hours * _HOUR * partitioning.per_second
    ends = {start: partitioning.unit_end(start) for start in starts}
    return frozenset(start for start, end in ends.items() if end is not None and end <= oldest)
