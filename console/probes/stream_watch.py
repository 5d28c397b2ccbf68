"""One stream watched over time: how much waits, how fast it comes and goes, when it is full or lost."""

import dataclasses
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from console.probes.sample import StreamSample
from console.probes.stream_facts import StreamFacts, order
from console.settings import Stream
from console.text import clean_line

CHUNK = 5_000  # entries read at once to count them
CHUNKS = 4  # at most so many in one reading; what is left is counted in the next one
_RATE_WINDOW = 15.0  # seconds over which rates are taken
_HISTORY = 60

# Returns how many entries lie in (after, to], at most CHUNK, and the id of the last one counted.
Count = Callable[[str, str], Awaitable[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class _Point:
    at: float
    added: int | None  # entries added since the watch began
    waiting: int | None


class LagCounter:
    """Counts the entries behind the last delivered one, for servers that do not: a bounded number in each reading.

    It remembers what it has counted, so that the count of a long backlog becomes exact after some readings and stays
    so at the price of what is new.
    """

    def __init__(self) -> None:
        self._from = self._to = ""
        self._counted = 0

    async def count(self, facts: StreamFacts, count: Count) -> tuple[int | None, bool]:
        """Return (entries after the delivered one, True), or (a lower bound of them, False)."""
        delivered = facts.delivered_id
        if delivered is None:
            return None, False
        if facts.length == 0:
            return 0, True
        if facts.first_id is not None and order(facts.first_id) > order(delivered):
            return facts.length, True  # everything that is in the stream is unread
        await self._move_start(delivered, count)
        for _ in range(CHUNKS):
            found, last = await count(self._to, "+")
            self._counted += found
            self._to = last
            if found < CHUNK:
                return min(self._counted, facts.length), True
        return min(self._counted, facts.length), False

    async def _move_start(self, delivered: str, count: Count) -> None:
        """Forget what was delivered meanwhile, or all where that cannot be counted."""
        if self._from == delivered:
            return
        if self._from and order(self._from) < order(delivered) < order(self._to):
            found, _ = await count(self._from, delivered)
            if found < CHUNK:
                self._from, self._counted = delivered, self._counted - found
                return
        self._from = self._to = delivered
        self._counted = 0


class StreamWatch:
    """Makes the samples of one stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._lag = LagCounter()
        self._points: deque[_Point] = deque()
        self._history: deque[int] = deque(maxlen=_HISTORY)
        self._before: StreamFacts | None = None
        self._added = 0
        self._losing = False

    async def sample(self, facts: StreamFacts, now: float, count: Count) -> StreamSample:
        """Return the sample of `facts`, read at `now` (time.monotonic())."""
        name, group = clean_line(self.stream.name), clean_line(self.stream.group)
        if facts.error:
            self._points.clear()
            self._before = None
            return StreamSample(name, group, facts.length, None, False, facts.pending, error=facts.error)
        lag, exact = (facts.lag, True) if facts.lag is not None else await self._lag.count(facts, count)
        # Redis 7 goes on counting what MAXLEN removed before it was read (measured): that waits no longer, it is lost.
        lost = max(0, lag - facts.length) if lag is not None else 0
        lag = lag - lost if lag is not None else None
        waiting = lag + facts.pending if exact and lag is not None and facts.pending is not None else None
        await self._follow(facts, waiting, lost, now, count)
        rate_in, rate_out = self._rates()
        headroom = self.stream.max_length - waiting if self.stream.max_length and waiting is not None else None
        growth = rate_in - rate_out if rate_in is not None and rate_out is not None else None
        return StreamSample(
            stream=name,
            group=group,
            length=facts.length,
            lag=lag,
            lag_known=exact,
            pending=facts.pending,
            oldest_pending=facts.oldest_pending,
            held_since=facts.held_since,
            rate_in=rate_in,
            rate_out=rate_out,
            seconds_to_drain=_seconds(waiting, -growth if growth is not None else None),
            history=tuple(self._history),
            trim_headroom=max(0, headroom) if headroom is not None else None,
            seconds_to_loss=_seconds(headroom, growth),
            losing=self._losing,
            lost=lost or None,
            consumers=facts.consumers,
            consumer_idle=facts.consumer_idle,
        )

    async def _follow(self, facts: StreamFacts, waiting: int | None, lost: int, now: float, count: Count) -> None:
        """Take the moment into the windows that rates, losses and sparkline are made of."""
        before = self._before
        self._before = facts
        added = 0 if before is None else await self._new_entries(before, facts, count)
        if added is None:  # counted anew, or too many to count: what was before says nothing of the rate
            self._points.clear()
            added = 0
        self._added += added
        self._points.append(_Point(now, self._added, waiting))
        while now - self._points[0].at > _RATE_WINDOW:
            self._points.popleft()
        if waiting is not None:
            self._history.append(waiting)
        self._losing = lost > 0 or _unread_moved(before, facts)

    async def _new_entries(self, before: StreamFacts, facts: StreamFacts, count: Count) -> int | None:
        """Return how many entries were added since `before`, None where that cannot be told."""
        if order(facts.last_id) < order(before.last_id):
            return None  # another stream of the same name
        if facts.added is not None and before.added is not None:
            return facts.added - before.added if facts.added >= before.added else None
        if facts.last_id == before.last_id:
            return 0
        found, _ = await count(before.last_id, facts.last_id)
        return found if found < CHUNK else None

    def _rates(self) -> tuple[float | None, float | None]:
        """Return entries per second in and out, over the window."""
        first, last = self._points[0], self._points[-1]
        elapsed = last.at - first.at
        if elapsed < 1.0 or first.added is None or last.added is None:
            return None, None
        rate_in = (last.added - first.added) / elapsed
        if first.waiting is None or last.waiting is None:
            return rate_in, None
        return rate_in, max(0.0, rate_in - (last.waiting - first.waiting) / elapsed)


def filling(sample: StreamSample, seconds_to_full: float | None) -> StreamSample:
    """Return `sample` with the time to the memory limit, where the stream is one of those that grow."""
    grows = sample.rate_in is not None and (sample.rate_out is None or sample.rate_in > sample.rate_out)
    return dataclasses.replace(sample, seconds_to_full=seconds_to_full) if grows else sample


def _seconds(amount: int | None, rate: float | None) -> float | None:
    """Return the seconds that `amount` lasts at `rate` a second; None where it is unknown or does not end."""
    if amount is None or rate is None or rate <= 0.05 or amount <= 0:
        return None
    return amount / rate


def _unread_moved(before: StreamFacts | None, facts: StreamFacts) -> bool:
    """Return whether entries that the group had not got are gone: the first one moved on, and the group was not there.

    Redis 6.2 shows the removal of unread entries in no other way.
    """
    if before is None or before.first_id is None or facts.first_id is None or facts.delivered_id is None:
        return False
    return facts.first_id != before.first_id and order(before.first_id) > order(facts.delivered_id)
