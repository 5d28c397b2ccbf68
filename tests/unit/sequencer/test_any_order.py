"""Records that stand in another order than their WAL: where that makes the same rows, and where not."""

import numpy as np
import pytest

from console.questdb.segment import DedupMode, EventType
from console.table.inventory import EVENT, any_order

Address = tuple[int, int, int]


@pytest.mark.parametrize(
    ("addresses", "same"),
    [
        (((1, 0, 0), (1, 0, 1), (2, 0, 0)), True),
        (((1, 0, 1), (1, 0, 0), (2, 0, 0)), True),
        (((2, 0, 0), (1, 0, 1), (1, 0, 0)), True),
        (((1, 1, 0), (2, 0, 0), (1, 0, 1)), False),  # the purge would delete segment 0 before it is applied
        (((1, 0, 0), (1, 0, 0), (2, 0, 0)), False),  # its rows would come twice
    ],
)
def test_only_rows_of_one_segment_or_of_several_writers_may_change_places(
    addresses: tuple[Address, ...], same: bool
) -> None:
    events = np.zeros(len(addresses), EVENT)
    events["wal"], events["segment"], events["txn"] = np.array(addresses).T
    events["type"] = EventType.DATA
    assert any_order(events) is same
    for kind in (EventType.SQL, EventType.TRUNCATE):
        events["type"][1] = kind
        assert not any_order(events)
    events["type"] = EventType.DATA
    events["mode"][1] = DedupMode.REPLACE_RANGE
    assert not any_order(events)
