"""What shows that a partition is gone, with its directory, where no `_txn` names the partitions any more.

QuestDB makes a partition for each unit of time that has rows, so a unit without one between two others may have had
rows or not. A lost first or last partition leaves no such gap, and can only be seen by the WAL that was in it.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from console.questdb.column_versions import DEFAULT_PARTITION, SYMBOL_PARTITION
from console.questdb.partition_names import partition_of
from console.questdb.partition_spans import UNPARTITIONED
from console.questdb.reading import list_directory
from console.recovery.table_repair.disk import Disk
from console.text import clean_line

_DETACHED: Final = ".detached"


def bare_detached(disk: Disk) -> str | None:
    """Return a detached directory, e.g. `2024-01-01.3.detached`, that no DETACH made; None if there is none.

    DETACH copies `_meta` and `_cv` into it, by these names or `_dmeta` and `_dcv`. Its partition is not on disk.
    """
    starts = {each.start for each in disk.found.partitions}
    for entry in list_directory(disk.directory.path)[0]:
        if not entry.is_directory or not entry.name.endswith(_DETACHED):
            continue
        place = partition_of(disk.found.partitioning, entry.name.removesuffix(_DETACHED))
        inside, problem = list_directory(entry.path)
        described = problem is not None or any(each.name.startswith("_") for each in inside)
        if place is not None and place[0] not in starts and not described and inside:
            return entry.name
    return None


def gaps(disk: Disk) -> Iterator[str]:
    """Yield where a partition may be gone: `_cv` has entries of it, one that was split off is left, or a unit lacks."""
    naming, partitions = disk.found.partitioning, disk.found.partitions
    if naming.unit == UNPARTITIONED or not partitions:
        return
    starts = np.array([each.start for each in partitions], np.int64)
    floors = naming.floors(starts)
    named = np.unique(disk.versions.entries["partition"])
    named = named[(named != DEFAULT_PARTITION) & (named != SYMBOL_PARTITION)]
    for start in np.setdiff1d(named, starts).tolist():
        yield f"_cv has column tops of partition {clean_line(naming.name(int(start)))}, which is not on disk"
    for each, floor in zip(partitions, floors.tolist(), strict=True):
        if floor not in floors[starts == floor]:
            yield f"{clean_line(each.directory)} was split off {clean_line(naming.name(floor))}, which is not on disk"
    for before, after in pairwise(floors.tolist()):
        end = naming.unit_end(before)
        if end is not None and end < after:
            yield f"no partition on disk is of a time between {naming.name(before)} and {naming.name(after)}"
