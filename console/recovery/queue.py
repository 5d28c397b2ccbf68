"""The queue before the database, as far as the writer's thaw needs it: what waits, per stream and group. Reads only.

What Redis tells does not always settle it (`services.stream_lag`): then what lies behind the group's last delivered
entry is counted, up to a bound.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import redis

from console.errors import WalmedicError
from console.services.redis_answers import NOT_REDIS, AnswerTooLargeError, BoundedParser
from console.services.stream_lag import StreamLag, counted, order_of, stream_lag
from console.settings import RedisSettings, Stream
from console.text import clean_line

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
        """Entries not yet acknowledged."""
        return self.lag + self.pending


class Queue:
    """A connection to the station's Redis; every call has a deadline of a few seconds."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        pool = redis.ConnectionPool(
            host=settings.host, port=settings.port, password=settings.password or None, socket_timeout=5,
            socket_connect_timeout=3, decode_responses=True, parser_class=BoundedParser,
        )  # fmt: skip
        self._redis = redis.Redis.from_pool(pool)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _failed(self, error: Exception) -> QueueError:
        """Return the sentence for an error: no answer, one that is none, or a refusal."""
        place = f"Redis at {self._settings.host}:{self._settings.port}"
        said = clean_line(str(error), 200)
        if isinstance(error, AnswerTooLargeError):
            return QueueError(f"{place} {said}: whatever listens there is not the Redis that it should be")
        if isinstance(error, NOT_REDIS):
            return QueueError(f"{place} answers as no Redis does ({type(error).__name__}): check redis.port")
        if isinstance(error, redis.ResponseError | redis.AuthenticationError):
            return QueueError(f"{place} refused: {said}")
        return QueueError(f"{place} does not answer ({said})")

    def waiting(self) -> tuple[Waiting, ...]:
        """Return what waits in each configured stream. Raises QueueError in one sentence."""
        try:
            return tuple(self._of(stream) for stream in self._settings.streams)
        except (redis.RedisError, OSError, *NOT_REDIS) as error:
            raise self._failed(error) from error

    def _of(self, stream: Stream) -> Waiting:
        if self._redis.type(stream.name) == "none":
            raise QueueError(f"there is no stream {clean_line(stream.name)} in database 0, the only one looked at")
        groups: Iterable[dict[str, Any]] = self._redis.xinfo_groups(stream.name)
        group = next((each for each in groups if each["name"] == stream.group), None)
        if group is None:
            raise QueueError(f"the stream {clean_line(stream.name)} has no group {clean_line(stream.group)}")
        info: dict[str, Any] = self._redis.xinfo_stream(stream.name)
        lag = self._lag(stream.name, info, group)
        newest = str(info["last-generated-id"]).partition("-")[0]
        return Waiting(
            stream.name, stream.table, lag.least, lag.exact, int(group["pending"]), int(info["length"]),
            int(newest) / 1000 if newest.isdigit() and int(newest) else None, lag.trimmed,
            str(info["last-generated-id"]),
        )  # fmt: skip

    def unread_to(self, stream: Stream, last_id: str) -> tuple[int, int]:
        """Return how many entries up to `last_id` are not acknowledged: (unread, pending), a page of each at most."""
        try:
            groups: Iterable[dict[str, Any]] = self._redis.xinfo_groups(stream.name)
            delivered = next((str(g["last-delivered-id"]) for g in groups if g["name"] == stream.group), "0-0")
            pending: list[Any] = self._redis.xpending_range(stream.name, stream.group, "-", last_id, _PAGE)
            behind = order_of(delivered) < order_of(last_id)
            unread: list[Any] = (
                (self._redis.xrange(stream.name, f"({delivered}", last_id, _PAGE) or []) if behind else []
            )
        except (redis.RedisError, OSError, *NOT_REDIS) as error:
            raise self._failed(error) from error
        return len(unread), len(pending)

    def pending_span(self, stream: Stream) -> tuple[float, float] | None:
        """Return when the oldest and the newest entry were added that are delivered and not acknowledged."""
        try:
            said: dict[str, Any] = self._redis.xpending(stream.name, stream.group)
        except (redis.RedisError, OSError, *NOT_REDIS) as error:
            raise self._failed(error) from error
        if not said.get("pending"):
            return None
        return order_of(str(said["min"]))[0] / 1000, order_of(str(said["max"]))[0] / 1000

    def rate(self, name: str, window: float, most: int) -> float:
        """Return the entries that come in per second, over the last `window` seconds or `most` entries."""
        seconds, micros = self._redis.time()
        now = float(seconds) + float(micros) / 1e6
        since = int((now - window) * 1000)
        found: list[Any] = self._redis.xrevrange(name, "+", str(since), most) or []
        if not found:
            return 0.0
        oldest = order_of(str(found[-1][0]))[0] / 1000
        return len(found) / max(1.0, now - oldest if len(found) == most else window)

    def bytes_of(self, name: str) -> int:
        """Return the memory that a stream takes, in bytes."""
        return int(self._redis.memory_usage(name) or 0)

    def information(self) -> dict[str, Any]:
        """Return what INFO says."""
        found: dict[str, Any] = self._redis.info()
        return found

    def _lag(self, name: str, info: dict[str, Any], group: dict[str, Any]) -> StreamLag:
        first, reported = info.get("first-entry"), group.get("lag")
        delivered = str(group["last-delivered-id"])
        told = stream_lag(
            length=int(info["length"]),
            first_id=str(first[0]) if first else None,
            last_id=str(info["last-generated-id"]),
            added=info.get("entries-added"),
            delivered_id=delivered,
            reported=reported,
        )
        if told.exact:
            return told
        count, whole = self._behind(name, delivered)
        return counted(count, reported) if whole else StreamLag(max(count, told.least), max(count, told.most) + 1)

    def _behind(self, name: str, delivered: str) -> tuple[int, bool]:
        """Return how many entries come after `delivered`, and whether that is all of them."""
        count, after = 0, delivered
        while count < _COUNT_MOST:
            page: list[Any] = self._redis.xrange(name, min=f"({after}", max="+", count=_PAGE) or []
            count += len(page)
            if len(page) < _PAGE:
                return count, True
            after = str(page[-1][0])
        return count, False
