"""How long the disk lasts, and how fast a count moves: known only once it was watched for long enough."""

from console.probes.rates import Slope
from console.probes.wal import DiskWatch

GIB = 2**30


def test_the_end_of_the_disk_is_not_foretold_from_a_glance() -> None:
    watch = DiskWatch()
    assert watch.seen(100 * GIB, 50 * GIB, 0.0).seconds_left is None
    early = watch.seen(100 * GIB, 49 * GIB, 300.0)
    assert (early.known, early.seconds_left, early.watched) == (False, None, 300.0)


def test_days_left_at_the_growth_that_was_seen() -> None:
    watch = DiskWatch()
    watch.seen(100 * GIB, 50 * GIB, 0.0)
    sample = watch.seen(100 * GIB, 49 * GIB, 3_600.0)
    assert sample.known
    assert sample.seconds_left == 49 * 3_600.0


def test_a_disk_that_does_not_grow_has_no_end() -> None:
    watch = DiskWatch()
    watch.seen(100 * GIB, 50 * GIB, 0.0)
    sample = watch.seen(100 * GIB, 51 * GIB, 3_600.0)
    assert (sample.known, sample.seconds_left) == (True, None)


def test_the_window_moves_on_and_stays_bounded() -> None:
    watch = DiskWatch()
    for second in range(0, 86_400, 2):
        sample = watch.seen(100 * GIB, 90 * GIB - second * 1_000, float(second))
    assert sample.watched <= 6 * 3_600
    assert len(watch._points) <= 6 * 60 + 1


def test_a_slope_needs_time_and_begins_again_where_the_count_falls() -> None:
    slope = Slope(10.0)
    assert slope.rate(0.0, 100) is None
    assert slope.rate(0.5, 105) is None
    assert slope.rate(2.0, 120) == 10.0
    assert slope.rate(3.0, 5) is None
    assert slope.rate(5.0, 25) == 10.0
    assert slope.rate(6.0, None) is None
    assert slope.rate(7.0, 40) is None
    assert slope.rate(20.0, 40) is None  # the window holds nothing older
