"""What Redis says of one stream and one group, in one shape for 6.2 (no `lag`, no `entries-added`) and 7."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError

from console.settings import Stream
from console.text import clean_line

COMMANDS = 6  # that `ask` queues
_EARLIEST = 1_262_304_000.0  # 2010: before that there was no Redis to write to


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream at one moment. Ids are Redis's own; None where the server does not tell. Times in seconds."""

    length: int
    first_id: str | None = None
    last_id: str = "0-0"  # the highest id ever given, also where its entry is gone
    added: int | None = None  # entries ever added
    delivered_id: str | None = None  # None: there is no such group
    lag: int | None = None
    pending: int | None = None
    oldest_pending: float | None = None
    held_since: float | None = None
    consumers: int | None = None
    consumer_idle: float | None = None
    error: str = ""


def order(entry_id: str) -> tuple[int, int]:
    """Return what entry ids are ordered by: milliseconds and sequence, both numbers."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def ask(pipe: "Pipeline", stream: Stream) -> None:
    """Queue the COMMANDS that `facts` reads the answers of."""
    pipe.type(stream.name)
    pipe.xinfo_stream(stream.name)
    pipe.xinfo_groups(stream.name)
    pipe.xpending(stream.name, stream.group)
    pipe.xpending_range(stream.name, stream.group, min="-", max="+", count=1)
    pipe.xinfo_consumers(stream.name, stream.group)


def facts(stream: Stream, answers: Sequence[Any]) -> StreamFacts:
    """Return the facts out of the answers to `ask`; a failed command's answer is its exception."""
    kind, info, groups, pending, oldest, consumers = answers
    if kind == "none":
        return StreamFacts(0, error=f"there is no stream {clean_line(stream.name)} yet: no feed has written to it")
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
    )
    group = next((g for g in groups if g["name"] == stream.group), None)
    if group is None:
        return _without_group(stream, known, [clean_line(str(g["name"])) for g in groups])
    return StreamFacts(
        known.length,
        known.first_id,
        known.last_id,
        known.added,
        delivered_id=str(group["last-delivered-id"]),
        lag=_whole(group.get("lag")),
        pending=int(pending["pending"]) if isinstance(pending, Mapping) else int(group["pending"]),
        oldest_pending=_oldest(oldest),
        held_since=_added_at(pending.get("min")) if isinstance(pending, Mapping) else None,
        consumers=int(group["consumers"]),
        consumer_idle=_liveliest(consumers),
    )


def _without_group(stream: Stream, known: StreamFacts, others: list[str]) -> StreamFacts:
    there = f"; its groups are {', '.join(others)}" if others else "; it has none"
    name = clean_line(stream.name)
    return StreamFacts(
        known.length,
        known.first_id,
        known.last_id,
        known.added,
        error=f"no group {clean_line(stream.group)} reads {name}{there}: what waits for the writer is unknown",
    )


def _refusal(stream: Stream, error: Exception) -> str:
    said = clean_line(str(error), 200)
    if isinstance(error, ResponseError) and "no permissions" in said.lower():
        return f"the Redis user may not look at {clean_line(stream.name)}: {said}"
    return f"{clean_line(stream.name)} cannot be read: {said}"


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
    seconds = order(entry_id)[0] / 1000
    return seconds if _EARLIEST < seconds < time.time() + 3_600 else None


def _liveliest(consumers: Any) -> float | None:
    if isinstance(consumers, Exception) or not consumers:
        return None
    return float(min(consumer["idle"] for consumer in consumers)) / 1000
