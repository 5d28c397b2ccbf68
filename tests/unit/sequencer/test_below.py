"""Records made anew below the applied transaction, so that no applied segment transaction looks forgotten."""

from typing import cast

import numpy as np

from console.recovery.sequencer.applied_records import records_below
from console.recovery.sequencer.disk import TableOnDisk
from console.table.filler import DependentView, FillerRule
from console.table.inventory import Inventory
from console.table.names import Names
from tests.unit.sequencer.made import inventory, named

NO_MARK = FillerRule(None, None, ())


class _Table:
    """What `records_below` asks a table for."""

    def __init__(self, of: Inventory, applied: int, structure: int = 0) -> None:
        self.inventory, self.applied, self.structure = of, applied, structure


def _below(
    of: Inventory, applied: int, names: Names | None = None, filler: FillerRule = NO_MARK, structure: int = 0
) -> list[tuple[int, int, int, int]]:
    table = cast(TableOnDisk, _Table(of, applied, structure))
    mask = np.ones(len(of), np.bool_)
    records = records_below(table, names or named(of, 0), mask, None, filler, last=True)
    return [tuple(int(r[n]) for n in ("structure_version", "wal_id", "segment_id", "segment_txn")) for r in records]  # type: ignore[misc]


def test_applied_events_take_the_last_places_in_the_order_of_their_wal() -> None:
    of = inventory((1, 0, 0), (1, 0, 1), (2, 3, 0))
    of.events["max_ts"] = [10, 30, 20]
    assert _below(of, 5) == [(0, 1, 0, 0), (0, 2, 3, 0), (0, 1, 0, 1)]


def test_a_log_that_ends_with_filler_carries_the_structure_version() -> None:
    assert _below(inventory(), 5, structure=0) == []
    assert _below(inventory(), 5, structure=2) == [(2, -1, -1, -1)]
    assert _below(inventory((1, 0, 0)), 5, structure=2) == [(2, 1, 0, 0)]


def test_names_keep_their_places_and_bound_their_neighbours() -> None:
    of = inventory((1, 0, 0), (1, 0, 1), (1, 0, 2))
    names = named(of, 0)
    names.seq[:] = [0, 3, 0]
    # The first must stand below 3, the last above it: places 5 and 2 are the highest such.
    assert _below(of, 5, names) == [(0, 1, 0, 0), (0, 1, 0, 1), (0, 0, 0, 0), (0, 1, 0, 2)]


def test_a_view_behind_gets_a_mark_that_names_a_wal_that_never_was() -> None:
    rule = FillerRule.of((DependentView("seen", 3),), ((1, 4),), 8, highest_wal=2)
    assert (rule.at, rule.wal) == (8, 3)
    assert _below(inventory(), 8, filler=rule) == [(0, 3, 0, 0)]
    assert FillerRule.of((DependentView("seen", 4),), ((1, 2), (5, 8)), 8, 2).at is None  # sees real records only
    assert FillerRule.of((DependentView("never", -1),), (), 8, 2).at is None  # a first refresh reads the whole table
