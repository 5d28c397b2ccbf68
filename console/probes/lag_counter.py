"""How much of a stream a group has still to read: as Redis tells it where that can be trusted, else counted."""

from collections.abc import Awaitable, Callable

from console.redis_queue.facts import lag_of
from console.redis_queue.lag import StreamLag, counted, order_of
from console.redis_queue.model import StreamFacts

CHUNK = 5_000  # entries read at once to count them
CHUNKS = 4  # at most so many in one reading; what is left is counted in the next one

# Returns how many entries lie in (after, to], at most CHUNK, and the id of the last one counted.
Count = Callable[[str, str], Awaitable[tuple[int, str]]]


class LagCounter:
    """Counts the entries behind the last delivered one, a bounded number in each reading.

    It remembers what it has counted, so that the count of a long backlog becomes exact after some readings and stays
    so at the price of what is new.
    """

    def __init__(self) -> None:
        self._from = self._to = ""
        self._counted = 0

    async def count(self, length: int, delivered: str, count: Count) -> tuple[int, bool]:
        """Return (entries after the delivered one, True), or (a lower bound of them, False)."""
        await self._move_start(delivered, count)
        for _ in range(CHUNKS):
            found, last = await count(self._to, "+")
            self._counted += found
            self._to = last
            if found < CHUNK:
                return min(self._counted, length), True
        return min(self._counted, length), False

    async def _move_start(self, delivered: str, count: Count) -> None:
        """Forget what was delivered meanwhile, or all where that cannot be counted."""
        if self._from == delivered:
            return
        if self._from and order_of(self._from) < order_of(delivered) < order_of(self._to):
            found, _ = await count(self._from, delivered)
            if found < CHUNK:
                self._from, self._counted = delivered, self._counted - found
                return
        self._from = self._to = delivered
        self._counted = 0


class LagWatch:
    """What waits for one group, reading after reading.

    Redis 7's own lag keeps every entry that was trimmed unread. How many those are is learnt once, at an end of the
    stream or by counting, and holds until the trimming passes the group again: then it is learnt anew.
    """

    def __init__(self) -> None:
        self._counter = LagCounter()
        self._trimmed: int | None = None
        self._delivered = "0-0"

    async def lag(self, facts: StreamFacts, count: Count) -> StreamLag | None:
        """Return what waits, None where there is no group."""
        group_lag, delivered = lag_of(facts), facts.delivered_id
        if group_lag is None or delivered is None:
            return None
        if not group_lag.exact:
            known = self._as_before(facts, delivered, group_lag)
            group_lag = known if known is not None else await self._counted(facts, delivered, group_lag, count)
        self._trimmed = group_lag.trimmed
        self._delivered = delivered
        return group_lag

    def _as_before(self, facts: StreamFacts, delivered: str, group_lag: StreamLag) -> StreamLag | None:
        """Return the lag less what is known to be trimmed, None where that may have changed since."""
        if facts.lag is None or self._trimmed is None or facts.first_id is None:
            return None
        before = order_of(self._delivered)
        if order_of(delivered) < before or order_of(facts.first_id) > before:
            return None
        waiting = facts.lag - self._trimmed
        return counted(waiting, facts.lag) if group_lag.least <= waiting <= group_lag.most else None

    async def _counted(self, facts: StreamFacts, delivered: str, group_lag: StreamLag, count: Count) -> StreamLag:
        found, exact = await self._counter.count(facts.length, delivered, count)
        return (
            counted(found, facts.lag) if exact else StreamLag(max(group_lag.least, found), max(group_lag.most, found))
        )
