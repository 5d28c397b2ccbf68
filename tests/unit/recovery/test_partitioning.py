"""Which partition a timestamp belongs to, against Python's own calendar."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.recovery.partitioning import Partitioning

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def _name(unit: str, at: datetime.datetime) -> str:
    year, week, _ = at.isocalendar()
    return {
        "HOUR": f"{at:%Y-%m-%dT%H}",
        "DAY": f"{at:%Y-%m-%d}",
        "WEEK": f"{year:04d}-W{week:02d}",
        "MONTH": f"{at:%Y-%m}",
        "YEAR": f"{at:%Y}",
        "NONE": "default",
    }[unit]


@pytest.mark.parametrize("unit", ["HOUR", "DAY", "WEEK", "MONTH", "YEAR", "NONE"])
@pytest.mark.parametrize("nanos", [False, True])
def test_floor_and_name_agree_with_the_calendar(unit: str, nanos: bool) -> None:
    partitioning = Partitioning(unit, nanos)

    @given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2200, 12, 31)))  # noqa: DTZ001
    def check(naive: datetime.datetime) -> None:
        at = naive.replace(tzinfo=datetime.UTC)
        value = (at - _EPOCH) // datetime.timedelta(microseconds=1) * (1000 if nanos else 1)
        floor = int(partitioning.floors(np.array([value], np.int64))[0])
        assert floor <= value
        assert partitioning.name(floor) == _name(unit, at)
        if unit != "NONE":
            assert partitioning.floors(np.array([floor, floor - 1], np.int64)).tolist() != [floor, floor]

    check()
