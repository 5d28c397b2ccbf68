"""How long the queue can take what comes while the writer is frozen: until unread entries go, or memory is full.

Rates come from the entries' own ids, which are the milliseconds at which they were added. Reads only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psutil

from console.redis_queue.reader import Queue, QueueError, Waiting
from console.settings import RedisSettings
from console.text import clean_line, plural

ENOUGH: Final = 600.0
"""Seconds below which the room is called short."""
_WINDOW: Final = 60.0  # seconds over which the rate is taken
_MOST: Final = 5_000  # entries that are looked at for it


@dataclass(frozen=True, slots=True)
class Headroom:
    """Seconds until the first loss, None if nothing grows or it is not known; `description` says which.

    `room` says how long in a few words; `raises` is the limit that ends it, empty if it is none that can be raised.
    """

    seconds: float | None
    description: str
    room: str = ""
    raises: str = ""

    @property
    def short(self) -> bool:
        return self.seconds is not None and self.seconds < ENOUGH


@dataclass(frozen=True, slots=True)
class _End:
    seconds: float
    why: str
    raises: str = ""


def headroom_of(settings: RedisSettings) -> Headroom:
    """Return the room that is left at the present rates. A Redis that does not answer is an answer: unknown."""
    if not settings.streams:
        return Headroom(None, "room in Redis unknown: no streams are configured")
    queue = Queue(settings)
    try:
        waiting = queue.waiting()
        rates = {each.stream: queue.rate(each.stream, _WINDOW, _MOST) for each in waiting}
        ends = [*_trims(settings, waiting, rates)]
        for names in queue.servers():
            there = tuple(each for each in waiting if each.stream in names)
            ends += _memory(settings, queue, there, rates)
    except (QueueError, KeyError, ValueError) as error:
        return Headroom(None, f"room in Redis unknown: {clean_line(str(error), 200)}")
    finally:
        queue.close()
    total = sum(rates.values())
    coming = f"{sum(each.total for each in waiting):,} unread entries, {total:,.1f} more a second"
    if not total:
        return Headroom(None, f"no data is arriving, so Redis is not filling ({coming})")
    if not ends:
        return Headroom(None, f"no MAXLEN and no memory limit is known ({coming})")
    first = min(ends, key=lambda end: end.seconds)
    room = f"room for about {_span(first.seconds)}"
    return Headroom(first.seconds, f"{room}, then {first.why} ({coming})", room, first.raises)


def _trims(settings: RedisSettings, waiting: tuple[Waiting, ...], rates: dict[str, float]) -> Iterator[_End]:
    lengths = {stream.name: stream.max_length for stream in settings.streams}
    for each in waiting:
        most, rate = lengths.get(each.stream, 0), rates[each.stream]
        if most and rate:
            why = f"{clean_line(each.stream)} reaches MAXLEN {most:,} and loses its oldest unread entries"
            yield _End(max(0.0, (most - each.total) / rate), why, "the feeds' MAXLEN")


def _memory(
    settings: RedisSettings, queue: Queue, waiting: tuple[Waiting, ...], rates: dict[str, float]
) -> Iterator[_End]:
    lengths = {stream.name: stream.max_length for stream in settings.streams}
    growth = sum(
        rates[each.stream] * queue.bytes_of(each.stream) / each.length
        for each in waiting
        if each.length and rates[each.stream] and (not lengths.get(each.stream) or each.length < lengths[each.stream])
    )
    if not growth:
        return
    info: dict[str, Any] = queue.information(waiting[0].stream)
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if limit:
        policy = clean_line(str(info.get("maxmemory_policy", "")))
        refuses = policy == "noeviction"
        what = "refuses new entries" if refuses else f"evicts keys ({policy})"
        why = f"Redis reaches maxmemory ({limit >> 20:,} MiB) and {what}"
        yield _End(max(0.0, (limit - used) / growth), why, "maxmemory")
    elif settings.local:
        free = psutil.virtual_memory().available
        yield _End(free / growth, f"the host's free memory ({free >> 20:,} MiB) is used up: Redis has no maxmemory")


def _span(seconds: float) -> str:
    if seconds < 120:
        return plural(int(seconds), "second")
    if seconds < 600 * 60:
        return plural(int(seconds // 60), "minute")
    return plural(int(seconds // 3600), "hour")
