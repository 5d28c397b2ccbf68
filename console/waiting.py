"""Waiting for what a server, a service or another process is about to do, on a clock that a test can move."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` in seconds from any moment on, never backwards; `sleep` takes seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


CLOCK: Final = Clock()


def looks(seconds: float, pause: float, clock: Clock = CLOCK) -> Iterator[bool]:
    """Yield for each look, with a pause between two. True says that `seconds` are over; the caller ends the loop."""
    deadline = clock.now() + seconds
    while True:
        yield clock.now() > deadline
        clock.sleep(pause)


def wait_until(ready: Callable[[], T], seconds: float, pause: float = 0.1, clock: Clock = CLOCK) -> T:
    """Ask `ready` until its answer is true or `seconds` are over; return the last answer."""
    each = looks(seconds, pause, clock)
    while True:
        late = next(each)
        if (answer := ready()) or late:
            return answer


class Standstill:
    """For how long a value has not changed."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self._since = clock.now()
        self._last: object = None

    def seconds(self, value: object) -> float:
        """Return for how many seconds `value` has been the same, 0 where it just changed."""
        if value != self._last:
            self._last, self._since = value, self._clock.now()
        return self._clock.now() - self._since
