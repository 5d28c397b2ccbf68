"""Unapplied segment transactions whose column files do not hold the rows that they say, as after a power loss.

The server applies them without complaint (measured: rows of 1970, prices of zero), so they are left out of a repaired
log and counted as lost. Pages of zeros alone are only suspected: zero is a value too, and they stay in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from console.diagnosis.segment_inventory import Index, Mask, carries_rows
from console.questdb.segment import Segment
from console.questdb.segment_data import TornRows, check_segment_data
from console.recovery.sequencer.disk import TableOnDisk
from console.text import clean_line, plural

_TOLD: Final = 20
_CUT: Final = 1000
"""Entries at which `check_segment_data` stops: then transactions are checked one by one, so that none is overlooked."""


@dataclass(frozen=True, slots=True)
class Torn:
    """`mask` over the inventory's events: surely torn. `suspects` are sentences about those that only may be."""

    mask: Mask
    suspects: tuple[str, ...]


FindTorn = Callable[[Index], Torn]
"""Given indices of unapplied events, returns which of them are torn."""


def finder(table: TableOnDisk) -> FindTorn:
    """Return the check of `table`'s segments. It never raises: a column that cannot be read holds nothing."""

    def find(events: Index) -> Torn:
        inventory = table.inventory
        mask = np.zeros(len(inventory), np.bool_)
        suspects: list[str] = []
        rows = inventory.events[events]
        carrying = events[carries_rows(rows) & (rows["end"] > rows["start"])]
        keys = inventory.events[carrying][["wal", "segment"]]
        for wal, number in np.unique(keys).tolist():
            mine = carrying[(keys["wal"] == wal) & (keys["segment"] == number)]
            segment = table.segments[wal, number]
            if segment.metadata is None:
                mask[mine] = True
                continue
            txns = inventory.events["txn"][mine]
            found = _check(segment, txns.tolist())
            bad = {each.event for each in found if not each.suspect}
            mask[mine[np.isin(txns, list(bad))]] = True
            suspects += [_told(wal, number, each) for each in found if each.suspect and each.event not in bad]
        more = [f"and {len(suspects) - _TOLD:,} more like these"] if len(suspects) > _TOLD else []
        return Torn(mask, (*suspects[:_TOLD], *more))

    return find


def _check(segment: Segment, txns: list[int]) -> list[TornRows]:
    found = check_segment_data(segment, txns)
    if len(found) < _CUT:
        return list(found)
    return [each for txn in txns for each in check_segment_data(segment, [txn])]


def _told(wal: int, number: int, torn: TornRows) -> str:
    return clean_line(
        f"wal{wal}/{number} transaction {torn.event}, column {torn.column}: {torn.what} "
        f"({plural(torn.rows, 'row')}); the disk may have lost them"
    )
