"""Twenty-four hours of samples: what the live side keeps of them does not grow."""

import gc
import random
import sys
from types import CodeType, FunctionType, ModuleType
from typing import Any

from console.probes.contents import BacklogSample, ServerSample, ServicesSample, WalSample, WalTable
from console.probes.log_tail import LogLine, LogTail
from console.probes.rates import Slope
from console.probes.sample import Sample, Status
from console.probes.services import ServicesProbe
from console.probes.state import StationState
from console.probes.stream_watch import StreamWatch
from console.probes.wal import DiskWatch
from console.redis_queue.model import StreamFacts
from console.services.model import UnitSample, UnitState
from console.settings import Settings, Stream

HOUR = 3_600
STEP = 2  # seconds between two readings
MOST = 64 * 1024  # bytes that may be held more after a day than after its first seven hours


def service(now: int) -> UnitSample:
    """Return a service that crashes every ten minutes, as a new process each time."""
    run, up = now // 600, now % 600 > 10
    state = UnitState.UP if up else UnitState.STARTING
    return UnitSample("questdb", "database", state, 1_000 + run, restarts=run, result="" if up else "SIGABRT")


class Day:
    """All that is kept between readings, fed by a station that changes all the time."""

    def __init__(self) -> None:
        self.now = 0
        self.chance = random.Random(24)
        self.state = StationState()
        self.streams = [StreamWatch(Stream(name, max_length=500_000)) for name in ("trades", "orderbook")]
        self.services = ServicesProbe(Settings())
        self.disk = DiskWatch()
        self.rates = Slope(30.0)
        self.log = LogTail()
        self.added = 0

    async def until(self, end: int) -> None:
        while self.now < end:
            await self.step(self.now)
            self.now += STEP

    async def step(self, now: int) -> None:
        self.added += self.chance.randrange(600)
        waiting = self.chance.randrange(1, 400_000)
        facts = StreamFacts(
            length=500_000,
            first_id=f"{max(0, self.added - 500_000) + 1}-0",
            last_id=f"{self.added + 500_000}-0",
            added=self.added + 500_000,
            deleted_id="0-0",
            delivered_id=f"{self.added + 500_000 - waiting}-0",
            lag=waiting,
            pending=self.chance.randrange(500),
        )

        async def count(after: str, to: str) -> tuple[int, str]:
            return self.chance.randrange(5_000), f"{self.added + 500_000}-0"

        streams = tuple([await watch.sample(facts, float(now), count) for watch in self.streams])
        self.take("backlog", BacklogSample("7.0", now, 0, "noeviction", streams), now)
        followed = self.services._followed(service(now), float(now))
        self.take("services", ServicesSample("systemd", (followed,)), now)
        rate = self.rates.rate(float(now), self.added)
        table = WalTable("trades", self.added, self.added - 5, 1.0, rate, rate)
        self.take("wal", WalSample((table,), self.disk.seen(2**40, 2**39 - now * 1_000, float(now))), now)
        self.take("server", ServerSample("9.1.0", True, 0.01, ()), now)
        for _ in range(3):
            self.log.add(LogLine(f"line {self.chance.random()} of the writer", float(now), 6))

    def take(self, probe: str, data: Any, now: int) -> None:
        self.state = self.state.taking(Sample(probe, Status.OK, data, taken_at=float(now), monotonic=float(now)))


def held(root: object) -> int:
    """Return the bytes of all that can be reached from `root`, code left out. Tracing would make the day last long."""
    seen: set[int] = set()
    waiting = [root]
    total = 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | ModuleType | FunctionType | CodeType):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        waiting.extend(gc.get_referents(each))
    return total


async def test_memory_is_flat_over_a_day() -> None:
    """43,200 readings of each source. The disk's window is six hours: what it needs is there by then."""
    day = Day()
    await day.until(7 * HOUR)
    early = held(day)
    await day.until(24 * HOUR)
    late = held(day)
    assert len(day.state.readings) == 4
    assert early > 500_000  # the log's newest 5,000 lines at least
    assert late - early < MOST, f"{early:,} bytes after seven hours, {late:,} after a day"
