"""Waiting for what a server, a service or a queue is about to do."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str = "what was waited for", seconds: float = 20.0) -> None:
    """Wait until `condition` holds. Raises AssertionError where it does not in time, and says `what`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
