"""How long the oldest market data waits in Redis for the batch writer."""

import time
from contextlib import closing
from typing import Any

import redis

from console.redis_queue.client import connect
from console.redis_queue.lag import order_of
from console.redis_queue.reader import Queue
from console.settings import RedisSettings, Stream
from console.station.layout import STREAMS, Layout


def oldest_waiting(layout: Layout) -> float:
    """Return the age in seconds of the oldest entry that QuestDB has not accepted yet, 0 where there is none.

    It needs neither the group's `lag` (unknown to Redis before 7) nor a walk through the stream: entry ids are times.
    Raises redis.RedisError.
    """
    client = connect(RedisSettings(port=layout.redis_port), 5)
    waiting = [entry for stream in STREAMS for entry in _first_waiting(client, stream)]
    return max(0.0, time.time() - min(waiting) / 1000) if waiting else 0.0


def waiting_entries(layout: Layout) -> int:
    """Return how many entries of both streams are not acknowledged. Raises QueueError."""
    with closing(Queue(RedisSettings(port=layout.redis_port, streams=STREAMS))) as queue:
        return sum(each.total for each in queue.waiting())


def _first_waiting(client: redis.Redis, stream: Stream) -> list[int]:
    """Return the times (milliseconds) of the oldest pending and the first undelivered entry."""
    found: Any = client.xpending(stream.name, stream.group)
    ids = [found["min"]] if found["pending"] else []
    ids += _after(client, stream, _group(client, stream), 1)
    return [order_of(each)[0] for each in ids]


def _after(client: redis.Redis, stream: Stream, group: Any, count: int) -> list[str]:
    """Return the ids of the first `count` entries that were not delivered to the group yet."""
    entries: Any = client.xrange(stream.name, min="(" + group["last-delivered-id"], count=count)
    return [entry for entry, _ in entries]


def _group(client: redis.Redis, stream: Stream) -> Any:
    groups: Any = client.xinfo_groups(stream.name)
    return next(group for group in groups if group["name"] == stream.group)
