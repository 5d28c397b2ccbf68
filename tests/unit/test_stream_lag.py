"""What a group has still to read, where Redis counts what it trimmed."""

import pytest

from console.redis_queue.lag import StreamLag, counted, order_of, stream_lag


def _lag(delivered: str, reported: int | None, *, length: int = 10, added: int | None = 100) -> StreamLag:
    """The stream keeps entries 90-0 to 99-0 of 100."""
    return stream_lag(
        length=length, first_id="90-0" if length else None, last_id="99-0", added=added, delivered_id=delivered,
        reported=reported,
    )  # fmt: skip


def test_a_group_at_the_end_waits_for_nothing_whatever_was_trimmed() -> None:
    assert _lag("99-0", 40) == StreamLag(0, 0, 40)
    assert _lag("99-0", 0) == StreamLag(0, 0, 0)
    assert _lag("99-0", None) == StreamLag(0, 0, None)


def test_a_group_behind_the_oldest_entry_waits_for_all_that_is_left() -> None:
    assert _lag("0-0", 100) == StreamLag(10, 10, 90)
    assert _lag("89-7", 10) == StreamLag(10, 10, 0)


def test_an_empty_stream_holds_nothing_to_wait_for() -> None:
    assert _lag("50-0", 49, length=0) == StreamLag(0, 0, 49)


def test_a_group_within_a_stream_that_was_trimmed_has_bounds_only() -> None:
    assert _lag("94-0", 5) == StreamLag(0, 5)
    assert _lag("94-0", 95) == StreamLag(5, 10)
    assert _lag("94-0", None) == StreamLag(0, 10)
    assert _lag("94-0", 5, added=None) == StreamLag(0, 5)


def test_a_group_within_a_stream_that_was_never_trimmed_is_as_redis_says() -> None:
    assert _lag("94-0", 5, added=10) == StreamLag(5, 5, 0)


def test_counting_settles_it() -> None:
    assert counted(5, 45) == StreamLag(5, 5, 40)
    assert counted(5, None).exact


@pytest.mark.parametrize(("low", "high"), [("9-0", "10-0"), ("10-9", "10-10"), ("10", "10-1")])
def test_ids_are_ordered_as_numbers(low: str, high: str) -> None:
    assert order_of(low) < order_of(high)
