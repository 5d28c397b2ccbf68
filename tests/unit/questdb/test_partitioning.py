"""Partition floors and directory names: those of MicrosTimestampDriver and NanosTimestampDriver."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.questdb.partitioning import Partitioning


def _micros(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


@pytest.mark.parametrize(
    ("unit", "at", "name"),
    [
        ("DAY", "2024-01-01T00:00:00", "2024-01-01"),
        ("MONTH", "2024-02-01T00:00:00", "2024-02"),
        ("YEAR", "2024-01-01T00:00:00", "2024"),
        ("HOUR", "2024-01-01T05:00:00", "2024-01-01T05"),
        ("WEEK", "2024-12-30T00:00:00", "2025-W01"),
        ("WEEK", "2021-01-04T00:00:00", "2021-W01"),
        # split partitions begin inside their unit
        ("DAY", "2024-01-01T02:00:00", "2024-01-01T02"),
        ("DAY", "2024-01-01T02:03:04", "2024-01-01T020304"),
        ("DAY", "2024-01-01T02:00:00.000007", "2024-01-01T020000-000007"),
        ("MONTH", "2024-02-03T00:00:00", "2024-02-03"),
        ("YEAR", "2024-02-03T00:00:01", "2024-02-03T000001"),
        ("HOUR", "2024-01-01T05:30:00", "2024-01-01T053000"),
        ("WEEK", "2025-01-01T00:00:00", "2025-W01-3"),
        ("WEEK", "2025-01-01T07:08:09.5", "2025-W01-3T070809-500000"),
    ],
)
def test_directories_are_named_as_the_server_names_them(unit: str, at: str, name: str) -> None:
    """In microseconds and in nanoseconds, with and without suffix."""
    partitioning = Partitioning(unit, nanos=False)
    assert partitioning.name(_micros(at)) == name
    assert partitioning.directory(_micros(at), -1) == name
    assert partitioning.directory(_micros(at), 12) == f"{name}.12"
    nanos = name if "-0000" not in name and "-5000" not in name else f"{name}000"
    assert Partitioning(unit, nanos=True).name(_micros(at) * 1000) == nanos


def test_a_table_without_partitions_has_one_directory() -> None:
    """Called default."""
    partitioning = Partitioning("NONE", nanos=False)
    assert partitioning.directory(0, -1) == "default"
    assert partitioning.floors(np.array([1, 2])).tolist() == [0, 0]


@given(
    st.sampled_from(("HOUR", "DAY", "WEEK", "MONTH", "YEAR")),
    st.lists(st.integers(0, 4_102_444_800_000_000), min_size=1),
    st.booleans(),
)
def test_floors_are_those_of_the_calendar(unit: str, stamps: list[int], nanos: bool) -> None:
    """Against datetime; a floor is its own floor."""
    scale = 1000 if nanos else 1
    partitioning = Partitioning(unit, nanos)
    floors = partitioning.floors(np.array(stamps, np.int64) * scale)
    for stamp, floor in zip(stamps, floors.tolist(), strict=True):
        moment = datetime.fromtimestamp(stamp // 1_000_000, UTC).replace(minute=0, second=0)
        if unit != "HOUR":
            moment = moment.replace(hour=0)
        if unit == "WEEK":
            year, week, _ = moment.isocalendar()
            moment = datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC)
        elif unit in ("MONTH", "YEAR"):
            moment = moment.replace(day=1, month=1 if unit == "YEAR" else moment.month)
        assert floor == int(moment.timestamp()) * 1_000_000 * scale
    assert partitioning.floors(floors).tolist() == floors.tolist()


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from(("HOUR", "DAY", "WEEK", "MONTH", "YEAR", "NONE")))
def test_no_timestamp_breaks_a_name(start: int, unit: str) -> None:
    """A damaged `_txn` may hold anything; the name cannot lead elsewhere."""
    for nanos in (False, True):
        name = Partitioning(unit, nanos).directory(start, -1)
        assert name
        assert "/" not in name
