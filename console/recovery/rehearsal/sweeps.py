"""Seeing a purge sweep pass: a sentinel directory in the clone's table that only a sweep removes.

WalPurgeJob.discoverWalSegments takes every directory `walN` of a table whose lock it wins, and deletes those that no
record of the log beyond the applied transaction names. An empty `walN` with an id that no writer will ever reach is
such a one, so it is gone as soon as a sweep has been through this very table, and not before.
"""

from collections.abc import Callable
from pathlib import Path

from console.errors import WalmedicError
from console.waiting import looks

_FIRST_ID = 2_000_000_000  # ids are handed out one by one from 1 (int32): no table comes near this
_POLL = 0.05


class NoSweepError(WalmedicError):
    """The purge did not come by in time: it is stuck on this table, or off."""


class Sweeps:
    """Sentinels in one table directory of a clone; `passed` counts the sweeps that were seen."""

    def __init__(self, table: Path, alive: Callable[[], None]) -> None:
        self._table = table
        self._alive = alive
        self.passed = 0

    def wait(self, timeout: float = 60.0) -> None:
        """Return when a sweep that began after this call has been through the table.

        Raises NoSweepError after `timeout` seconds, and what `alive` raises where the server is gone.
        """
        sentinel = self._table / f"wal{_FIRST_ID + self.passed}"
        sentinel.mkdir()
        for late in looks(timeout, _POLL):
            if not sentinel.exists():
                break
            self._alive()
            if late:
                raise NoSweepError(
                    f"no purge sweep came through the table within {timeout:.0f} s: the purge cannot read its sequencer"
                )
        self.passed += 1
