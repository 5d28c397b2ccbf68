"""Waiting on a clock that a test moves."""

from itertools import islice

from console.waiting import Clock, Standstill, looks, wait_until


class Time:
    """A clock that passes only while one sleeps."""

    def __init__(self) -> None:
        self.at = 100.0
        self.clock = Clock(lambda: self.at, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_a_look_before_the_deadline_is_not_late_and_one_comes_after_it() -> None:
    time = Time()
    assert list(islice(looks(1.0, 0.4, time.clock), 5)) == [False, False, False, True, True]


def test_the_first_true_answer_ends_it() -> None:
    time, answers = Time(), iter(["", "", "here", "never asked"])
    assert wait_until(lambda: next(answers), 60, 0.5, time.clock) == "here"
    assert time.at == 101.0


def test_the_last_answer_is_returned_once_the_time_is_up() -> None:
    time = Time()
    assert wait_until(lambda: 0, 3, 1, time.clock) == 0
    assert time.at == 104.0  # one look after the deadline: what came true at the last moment counts


def test_no_time_still_gets_one_look() -> None:
    time = Time()
    assert wait_until(lambda: True, 0, 1, time.clock)
    assert time.at == 100.0


def test_a_standstill_begins_anew_with_each_change() -> None:
    time = Time()
    still = Standstill(time.clock)
    seen = []
    for value in (5, 5, 6, 6, 6):
        seen.append(still.seconds(value))
        time.sleep(2.0)
    assert seen == [0.0, 2.0, 0.0, 2.0, 4.0]
