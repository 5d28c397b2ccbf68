"""What waits in the queue before the database, per stream and group, and what a repair asks of it besides. Reads only.

What Redis tells does not always settle it (`redis_queue.lag`): then what lies behind the group's last delivered entry
is counted, up to a bound.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from console.errors import WalmedicError
from console.redis_queue.client import FAILURES, connect, failure
from console.redis_queue.facts import ask, facts, lag_of
from console.redis_queue.lag import StreamLag, counted, order_of
from console.redis_queue.location import located
from console.redis_queue.model import StreamFacts
from console.settings import RedisSettings, Stream

_ANSWER = 5.0  # seconds
_COUNT_MOST = 200_000
_PAGE = 5_000


class QueueError(WalmedicError):
    """Redis did not answer, or has no such stream or group."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one stream for one group; `lag` is a lower bound unless `exact`, `newest` is in epoch seconds.

    `trimmed` counts entries that went before the group read them, over its whole life; None where that is not known.
    `last_id` is the newest entry's.
    """

    stream: str
    table: str
    lag: int
    exact: bool
    pending: int
    length: int
    newest: float | None
    trimmed: int | None = None
    last_id: str = "0-0"

    @property
    def total(self) -> int:
        return self.lag + self.pending


class Queue:
    """Connections to the station's Redis; every answer has a deadline. All methods raise QueueError, in a sentence."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._servers: list[tuple[redis.Redis, tuple[str, ...]]] = []

    def close(self) -> None:
        for client, _ in self._servers:
            client.close()

    def servers(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of the streams, by the server that holds them: more than one is a cluster."""
        with self._asking():
            return tuple(names for _, names in self._connected())

    def _connected(self) -> list[tuple[redis.Redis, tuple[str, ...]]]:
        if not self._servers:
            self._servers = [
                (connect(each, _ANSWER), tuple(stream.name for stream in each.streams))
                for each in located(self._settings, _ANSWER)
            ]
        return self._servers

    def _on(self, name: str) -> redis.Redis:
        servers = self._connected()
        return next((client for client, names in servers if name in names), servers[0][0])

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except QueueError:
            raise
        except FAILURES as error:
            raise QueueError(failure(error, self._settings, _ANSWER)) from error

    def waiting(self) -> tuple[Waiting, ...]:
        """Return what waits in each configured stream. A stream or group that is not there is a QueueError."""
        with self._asking():
            return tuple(self._of(stream) for stream in self._settings.streams)

    def _of(self, stream: Stream) -> Waiting:
        pipe = self._on(stream.name).pipeline(transaction=False)
        ask(pipe, stream)
        found = facts(stream, pipe.execute(raise_on_error=False), self._settings.database)
        lag = self._lag(stream.name, found)
        if lag is None or found.error:
            raise QueueError(found.error)
        newest = order_of(found.last_id)[0]
        return Waiting(
            stream.name, stream.table, lag.least, lag.exact, found.pending or 0, found.length,
            newest / 1000 if newest else None, lag.trimmed, found.last_id,
        )  # fmt: skip

    def unread_to(self, stream: Stream, last_id: str) -> tuple[int, int]:
        """Return how many entries up to `last_id` are not acknowledged: (unread, pending), a page of each at most."""
        with self._asking():
            server = self._on(stream.name)
            groups: Iterable[dict[str, Any]] = server.xinfo_groups(stream.name)
            delivered = next((str(g["last-delivered-id"]) for g in groups if g["name"] == stream.group), "0-0")
            pending: list[Any] = server.xpending_range(stream.name, stream.group, "-", last_id, _PAGE)
            behind = order_of(delivered) < order_of(last_id)
            unread: list[Any] = (server.xrange(stream.name, f"({delivered}", last_id, _PAGE) or []) if behind else []
        return len(unread), len(pending)

    def pending_span(self, stream: Stream) -> tuple[float, float] | None:
        """Return when the oldest and the newest entry were added that are delivered and not acknowledged."""
        with self._asking():
            summary: dict[str, Any] = self._on(stream.name).xpending(stream.name, stream.group)
        if not summary.get("pending"):
            return None
        return order_of(str(summary["min"]))[0] / 1000, order_of(str(summary["max"]))[0] / 1000

    def rate(self, name: str, window: float, most: int) -> float:
        """Return the entries that come in per second, over the last `window` seconds or `most` entries."""
        with self._asking():
            server = self._on(name)
            seconds, micros = server.time()
            now = float(seconds) + float(micros) / 1e6
            found: list[Any] = server.xrevrange(name, "+", str(int((now - window) * 1000)), most) or []
        if not found:
            return 0.0
        oldest = order_of(str(found[-1][0]))[0] / 1000
        return len(found) / max(1.0, now - oldest if len(found) == most else window)

    def bytes_of(self, name: str) -> int:
        """Return the memory that a stream takes, in bytes."""
        with self._asking():
            return int(self._on(name).memory_usage(name) or 0)

    def information(self, name: str) -> dict[str, Any]:
        """Return what INFO says of the server that holds the stream `name`."""
        with self._asking():
            found: dict[str, Any] = self._on(name).info()
        return found

    def _lag(self, name: str, found: StreamFacts) -> StreamLag | None:
        group_lag = lag_of(found)
        if group_lag is None or group_lag.exact or found.delivered_id is None:
            return group_lag
        count, whole = self._behind(name, found.delivered_id)
        return (
            counted(count, found.lag)
            if whole
            else StreamLag(max(count, group_lag.least), max(count, group_lag.most) + 1)
        )

    def _behind(self, name: str, delivered: str) -> tuple[int, bool]:
        """Return how many entries come after `delivered`, and whether that is all of them."""
        count, after = 0, delivered
        while count < _COUNT_MOST:
            page: list[Any] = self._on(name).xrange(name, min=f"({after}", max="+", count=_PAGE) or []
            count += len(page)
            if len(page) < _PAGE:
                return count, True
            after = str(page[-1][0])
        return count, False
