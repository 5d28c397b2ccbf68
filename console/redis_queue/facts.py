"""What Redis says of one stream and one group, in one shape for 6.2 (no `lag`, no `entries-added`) and 7."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from redis.exceptions import BusyLoadingError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from console.redis_queue.lag import StreamLag, order_of, stream_lag
from console.redis_queue.model import StreamEntry, StreamFacts
from console.settings import Stream
from console.text import clean_line

COMMANDS = 6  # that `ask` queues
_SHOWN, _FIELDS = 200, 12  # characters and fields of an entry that is looked at
_EARLIEST = 1_262_304_000.0  # 2010: before that there was no Redis to write to


def ask(pipe: Any, stream: Stream) -> None:
    """Queue the COMMANDS that `facts` reads the answers of, on a pipeline of either kind of client."""
    pipe.type(stream.name)
    pipe.xinfo_stream(stream.name)
    pipe.xinfo_groups(stream.name)
    pipe.xpending(stream.name, stream.group)
    pipe.xpending_range(stream.name, stream.group, min="-", max="+", count=1)
    pipe.xinfo_consumers(stream.name, stream.group)


def facts(stream: Stream, answers: Sequence[Any], database: int = 0) -> StreamFacts:
    """Return the facts out of the answers to `ask` in `database`; a failed command's answer is its exception.

    Raises RedisError where the connection failed, or Redis still loads its data.
    """
    for answer in answers:
        if isinstance(answer, RedisConnectionError | RedisTimeoutError | BusyLoadingError):
            raise answer
    kind, info, groups, pending, oldest, consumers = answers
    if kind == "none":
        return StreamFacts(0, error=f"there is no stream {clean_line(stream.name)} in database {database}")
    if kind not in ("stream", b"stream") and not isinstance(kind, Exception):
        return StreamFacts(0, error=f"{clean_line(stream.name)} is no stream but a {clean_line(str(kind))}: wrong type")
    for answer in (kind, info, groups):
        if isinstance(answer, Exception):
            return StreamFacts(0, error=_refusal(stream, answer))
    first = info.get("first-entry")
    known = StreamFacts(
        length=int(info["length"]),
        first_id=str(first[0]) if first else None,
        last_id=str(info["last-generated-id"]),
        added=_whole(info.get("entries-added")),
        deleted_id=_text(info.get("max-deleted-entry-id")),
        first_entry=_entry(first),
        last_entry=_entry(info.get("last-entry")),
    )
    group = next((g for g in groups if g["name"] == stream.group), None)
    if group is None:
        return replace(known, error=_no_group(stream, [clean_line(str(g["name"])) for g in groups]))
    held = _text(pending.get("min")) if isinstance(pending, Mapping) else None
    return replace(
        known,
        delivered_id=str(group["last-delivered-id"]),
        lag=_whole(group.get("lag")),
        pending=int(pending["pending"]) if isinstance(pending, Mapping) else int(group["pending"]),
        pending_id=held,
        oldest_pending=_oldest(oldest),
        held_since=_added_at(held),
        consumers=int(group["consumers"]),
        consumer_idle=_liveliest(consumers),
    )


def lag_of(found: StreamFacts) -> StreamLag | None:
    """Return how far the group is behind by what Redis tells, None where there is no group."""
    if found.delivered_id is None:
        return None
    return stream_lag(
        length=found.length, first_id=found.first_id, last_id=found.last_id, added=found.added,
        delivered_id=found.delivered_id, reported=found.lag,
    )  # fmt: skip


def _no_group(stream: Stream, others: list[str]) -> str:
    there = f"; its groups are {', '.join(others)}" if others else "; no group reads it"
    name = clean_line(stream.name)
    return f"no group {clean_line(stream.group)} reads {name}{there}: the unread entries are unknown"


def _entry(answer: Any) -> StreamEntry | None:
    """Return an entry for the eye: no more of it than fits on a line."""
    if not answer:
        return None
    entry_id, values = str(answer[0]), answer[1] or {}
    shown = [f"{str(key)[:_SHOWN]}={str(value)[:_SHOWN]}" for key, value in islice(values.items(), _FIELDS)]
    more = ["…"] if len(values) > _FIELDS else []
    return StreamEntry(clean_line(entry_id), _added_at(entry_id), clean_line(" ".join([*shown, *more]), _SHOWN))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _refusal(stream: Stream, error: Exception) -> str:
    message = clean_line(str(error), 200)
    if isinstance(error, ResponseError) and "no permissions" in message.lower():
        return f"the Redis user may not look at {clean_line(stream.name)}: {message}"
    if isinstance(error, MovedError):
        node = clean_line(f"{error.host}:{error.port}")
        return f"{clean_line(stream.name)} is on another node of this cluster ({node}): set redis.cluster = true"
    return f"{clean_line(stream.name)} cannot be read: {message}"


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) else None


def _oldest(entries: Any) -> float | None:
    if isinstance(entries, Exception) or not entries:
        return None
    return float(entries[0]["time_since_delivered"]) / 1000


def _added_at(entry_id: object) -> float | None:
    """Return when an entry was added, in epoch seconds; None for ids that a sender chose and that are no time."""
    if not isinstance(entry_id, str):
        return None
    seconds = order_of(entry_id)[0] / 1000
    return seconds if _EARLIEST < seconds < time.time() + 3_600 else None


def _liveliest(consumers: Any) -> float | None:
    if isinstance(consumers, Exception) or not consumers:
        return None
    return float(min(consumer["idle"] for consumer in consumers)) / 1000
