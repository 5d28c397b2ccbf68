"""The state: the newest sample of each probe, the last good data with its age, and never more than that."""

import pickle
import sys

from hypothesis import given
from hypothesis import strategies as st

from console.probes.sample import Sample, Status
from console.probes.state import Reading, StationState

STATUSES = st.sampled_from([(Status.OK, 1), (Status.DEGRADED, 2), (Status.DOWN, None), (Status.UNKNOWN, None)])


def sample(status: Status, data: object = None, at: float = 0.0) -> Sample[object]:
    return Sample("server", status, data, "" if data else "gone", taken_at=1_000 + at, monotonic=at)


def test_nothing_read_yet() -> None:
    reading = StationState().server
    assert (reading.data, reading.status, reading.error, reading.age(), reading.stale) == (
        None, Status.UNKNOWN, "", None, False,
    )  # fmt: skip


def test_the_last_good_data_stays_and_grows_old() -> None:
    state = StationState().taking(sample(Status.OK, "data", 10))
    assert not state.reading("server").stale
    for at in (12, 14, 16):
        state = state.taking(sample(Status.DOWN, None, at))
    reading = state.reading("server")
    assert (reading.data, reading.status, reading.error) == ("data", Status.DOWN, "gone")
    assert reading.stale
    assert reading.age(now=20) == 10
    assert reading.down_since == 1_012
    back = state.taking(sample(Status.OK, "new", 18)).reading("server")
    assert (back.data, back.stale, back.down_since, back.age(now=20)) == ("new", False, None, 2)


def test_samples_of_one_probe_leave_the_others_alone() -> None:
    before = StationState().taking(sample(Status.OK, "data", 1))
    after = before.taking(Sample("journal", Status.OK, None))
    assert after.reading("server") is before.reading("server")
    assert "journal" not in before.readings


@given(st.lists(STATUSES, max_size=40))
def test_data_is_that_of_the_last_sample_that_had_any(told: list[tuple[Status, int | None]]) -> None:
    reading: Reading[object] = Reading()
    for at, (status, data) in enumerate(told):
        reading = reading.taking(sample(status, data, at))
    good = [(at, data) for at, (_, data) in enumerate(told) if data is not None]
    assert reading.data == (good[-1][1] if good else None)
    assert reading.stale == bool(good and good[-1][0] != len(told) - 1)
    ended_down = bool(told) and told[-1][0] is Status.DOWN
    assert (reading.down_since is not None) == ended_down


def test_a_day_of_samples_takes_no_more_room_than_a_minute() -> None:
    """Two-second samples of 24 hours: what is kept is one sample more than at the beginning, never a history."""

    def size(state: StationState) -> int:
        reading = state.reading("server")
        return sum(sys.getsizeof(each) for each in (state, reading, reading.latest, reading.good)) + len(
            pickle.dumps((reading.latest, reading.good))
        )

    state = StationState()
    sizes = []
    for second in range(0, 24 * 3_600, 2):
        failed = second % 600 > 500
        state = state.taking(sample(Status.DOWN if failed else Status.OK, None if failed else "x" * 100, float(second)))
        if second in (300, 86_398 - 398):
            sizes.append(size(state))
    assert len(state.readings) == 1
    assert abs(sizes[1] - sizes[0]) < 64
