"""How long the oldest market data waits in Redis for the batch writer."""

import time
from typing import Any

import redis

from console.settings import Stream
from console.station.layout import STREAMS, Layout


def oldest_waiting(layout: Layout) -> float:
    """Return the age in seconds of the oldest entry that QuestDB has not accepted yet, 0 where there is none.

    It needs neither the group's `lag` (unknown to Redis before 7) nor a walk through the stream: entry ids are times.
    Raises redis.RedisError.
    """
    client = redis.Redis(host="127.0.0.1", port=layout.redis_port, socket_timeout=5, protocol=2)
    waiting = [entry for stream in STREAMS for entry in _first_waiting(client, stream)]
    return max(0.0, time.time() - min(waiting) / 1000) if waiting else 0.0


def waiting_entries(layout: Layout) -> int:
    """Return about how many entries wait: the length of both streams after what the group acknowledged."""
    client = redis.Redis(host="127.0.0.1", port=layout.redis_port, socket_timeout=5, protocol=2)
    count = 0
    for stream in STREAMS:
        group = _group(client, stream)
        count += int(group["pending"])
        count += len(_after(client, stream, group, stream.max_length))
    return count


def _first_waiting(client: redis.Redis, stream: Stream) -> list[int]:
    """Return the times (milliseconds) of the oldest pending and the first undelivered entry."""
    found: Any = client.xpending(stream.name, stream.group)
    ids = [found["min"]] if found["pending"] else []
    ids += _after(client, stream, _group(client, stream), 1)
    return [int(_text(each).partition("-")[0]) for each in ids]


def _after(client: redis.Redis, stream: Stream, group: Any, count: int) -> list[bytes]:
    """Return the ids of the first `count` entries that were not delivered to the group yet."""
    entries: Any = client.xrange(stream.name, min="(" + _text(group["last-delivered-id"]), count=count)
    return [entry for entry, _ in entries]


def _group(client: redis.Redis, stream: Stream) -> Any:
    groups: Any = client.xinfo_groups(stream.name)
    return next(group for group in groups if _text(group["name"]) == stream.group)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
