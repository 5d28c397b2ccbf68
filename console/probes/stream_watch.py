"""One stream watched over time: how much waits, how fast it comes and goes, when it is full or lost."""

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from console.probes.contents import StreamSample
from console.probes.lag_counter import CHUNK, Count, LagWatch
from console.redis_queue.lag import order_of
from console.redis_queue.model import StreamFacts
from console.settings import Stream
from console.text import clean_line

_NODE = 128  # entries by which `MAXLEN ~` may leave a stream longer: it trims whole nodes, of 100 by default
_RATE_WINDOW = 15.0  # seconds over which rates are taken
_LOSING_FOR = 30.0  # seconds for which a loss counts as going on: `MAXLEN ~` removes whole nodes, in bursts
_HISTORY = 60


@dataclass(frozen=True, slots=True)
class _Point:
    at: float
    added: int | None  # entries added since the watch began
    waiting: int | None
    lost: int | None  # entries trimmed unread so far, None where the server does not count them


class StreamWatch:
    """Makes the samples of one stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._lag = LagWatch()
        self._points: deque[_Point] = deque()
        self._history: deque[int] = deque(maxlen=_HISTORY)
        self._before: StreamFacts | None = None
        self._added = 0
        self._lost: int | None = None
        self._lost_at: float | None = None
        self._trimmed_to = 0  # the longest that the stream was seen to be after it was trimmed

    async def sample(self, facts: StreamFacts, now: float, count: Count, lost_pending: int = 0) -> StreamSample:
        """Return the sample of `facts`, read at `now` (time.monotonic())."""
        name, group = clean_line(self.stream.name), clean_line(self.stream.group)
        unread = None if facts.error else await self._lag.lag(facts, count)
        if unread is None:
            self._points.clear()
            self._before = None
            return StreamSample(name, group, facts.length, None, False, facts.pending, error=facts.error)
        waiting = unread.least + facts.pending if facts.pending is not None else None
        self._note_loss(unread.trimmed, now)
        await self._follow(facts, waiting if unread.exact else None, now, count)
        rate_in, rate_out = self._rates()
        most = self.stream.max_length or self._trimmed_to
        headroom = most - waiting if most and waiting is not None and unread.exact else None
        growth = rate_in - rate_out if rate_in is not None and rate_out is not None else None
        return StreamSample(
            stream=name,
            group=group,
            length=facts.length,
            lag=unread.least,
            lag_known=unread.exact,
            pending=facts.pending,
            oldest_pending=facts.oldest_pending,
            held_since=facts.held_since,
            rate_in=rate_in,
            rate_out=rate_out,
            seconds_to_drain=_seconds(waiting, -growth if growth is not None else None),
            history=tuple(self._history),
            max_length=most or None,
            trim_headroom=max(0, headroom) if headroom is not None else None,
            seconds_to_loss=_seconds(headroom, growth),
            losing=self._lost_at is not None and now - self._lost_at < _LOSING_FOR,
            lost=self._lost or None,
            lost_pending=lost_pending,
            consumers=facts.consumers,
            consumer_idle=facts.consumer_idle,
            first_entry=facts.first_entry,
            last_entry=facts.last_entry,
        )

    async def _follow(self, facts: StreamFacts, waiting: int | None, now: float, count: Count) -> None:
        """Take the moment into the windows that rates, losses and sparkline are made of."""
        before = self._before
        self._before = facts
        added = 0 if before is None else await self._new_entries(before, facts, count)
        if added is None:  # counted anew, or too many to count: what was before says nothing of the rate
            self._points.clear()
            added = 0
        self._added += added
        self._points.append(_Point(now, self._added, waiting, self._lost))
        while now - self._points[0].at > _RATE_WINDOW:
            self._points.popleft()
        if waiting is not None:
            self._history.append(waiting)
        if before is not None and _unread_moved(before, facts):
            self._lost_at = now
        if before is not None and _was_trimmed(before, facts):
            self._trimmed_to = max(self._trimmed_to, facts.length)

    def _note_loss(self, trimmed: int | None, now: float) -> None:
        """Keep how many entries the group never got; None (not reported now) changes nothing."""
        if trimmed is None:
            return
        if self._lost is not None and trimmed > self._lost:
            self._lost_at = now
        self._lost = trimmed

    async def _new_entries(self, before: StreamFacts, facts: StreamFacts, count: Count) -> int | None:
        """Return how many entries were added since `before`, None where that is not known."""
        if order_of(facts.last_id) < order_of(before.last_id):
            return None  # another stream of the same name
        if facts.added is not None and before.added is not None:
            return facts.added - before.added if facts.added >= before.added else None
        if facts.last_id == before.last_id:
            return 0
        found, _ = await count(before.last_id, facts.last_id)
        return found if found < CHUNK else None

    def _rates(self) -> tuple[float | None, float | None]:
        first, last = self._points[0], self._points[-1]
        elapsed = last.at - first.at
        if elapsed < 1.0 or first.added is None or last.added is None:
            return None, None
        rate_in = (last.added - first.added) / elapsed
        if first.waiting is None or last.waiting is None:
            return rate_in, None
        if first.lost is None or last.lost is None:
            if self._lost_at is not None and self._lost_at > first.at:
                return rate_in, None  # what was trimmed and what was read cannot be distinguished
            return rate_in, max(0.0, rate_in - (last.waiting - first.waiting) / elapsed)
        return rate_in, max(0.0, rate_in - (last.waiting - first.waiting + last.lost - first.lost) / elapsed)


def filling(sample: StreamSample, seconds_to_full: float | None) -> StreamSample:
    """Return `sample` with the time to the memory limit, where the stream is one of those that grow."""
    grows = sample.rate_in is not None and (sample.rate_out is None or sample.rate_in > sample.rate_out)
    return dataclasses.replace(sample, seconds_to_full=seconds_to_full) if grows else sample


def until_full(room: int, growth: float, streams: Sequence[StreamSample]) -> float | None:
    """Return the seconds until `room` bytes are used at `growth` bytes a second; None if MAXLEN ends the growth before.

    Each stream has its share of the growth by the entries that it takes, and stops growing at its MAXLEN. One that is
    far longer is not trimmed.
    """
    ends = []
    for stream in streams:
        most = stream.max_length or 0
        endless = not most or stream.length > most + max(_NODE, most // 10)
        if stream.rate_in is None or (stream.rate_in and endless):
            return room / growth  # one that nothing is known of, or that grows without end
        if stream.rate_in:
            ends.append((max(0, most - stream.length) / stream.rate_in, stream.rate_in))
    total = sum(rate for _, rate in ends)
    if not total:
        return room / growth
    passed, left = 0.0, float(room)
    growing = total
    for end, rate in sorted(ends):
        used = (end - passed) * growth * growing / total
        if used > left:
            return passed + left / (growth * growing / total)
        passed, left, growing = end, left - used, growing - rate
    return None


def _seconds(amount: int | None, rate: float | None) -> float | None:
    """Return the seconds that `amount` lasts at `rate` a second; None where it is unknown or does not end."""
    if amount is None or rate is None or rate <= 0.05 or amount <= 0:
        return None
    return amount / rate


def _unread_moved(before: StreamFacts, facts: StreamFacts) -> bool:
    """Return whether entries that the group had not got are gone: the first one moved on, and the group was not there.

    Redis 6.2 shows the removal of unread entries in no other way.
    """
    if before.first_id is None or facts.first_id is None or facts.delivered_id is None:
        return False
    return facts.first_id != before.first_id and order_of(before.first_id) > order_of(facts.delivered_id)


def _was_trimmed(before: StreamFacts, facts: StreamFacts) -> bool:
    """Return whether the oldest entries went by trimming (XADD MAXLEN, XTRIM) and not by XDEL; Redis 7 tells it."""
    if facts.deleted_id is None or before.first_id is None or facts.first_id is None:
        return False
    return facts.deleted_id == before.deleted_id and order_of(facts.first_id) > order_of(before.first_id)
