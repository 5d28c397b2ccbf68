"""Waiting for what a server, a service or a queue is about to do."""

from collections.abc import Callable

from console.waiting import wait_until


def until(condition: Callable[[], bool], what: str = "what was waited for", seconds: float = 20.0) -> None:
    """Wait until `condition` holds. Raises AssertionError where it does not in time, and says `what`."""
    assert wait_until(condition, seconds, 0.05), f"not within {seconds:.0f} s: {what}"
