"""One Redis that holds streams, watched over time: its memory, what it warns of, and its streams in one pipeline."""

import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import redis.asyncio as redis
from redis.exceptions import BusyLoadingError, MovedError, RedisError

from console.probes.contents import BacklogSample, StreamSample
from console.probes.lag_counter import CHUNK
from console.probes.stream_watch import StreamWatch, filling, until_full
from console.redis_queue import facts as stream_facts
from console.redis_queue.client import connect_async
from console.redis_queue.lag import order_of
from console.redis_queue.model import StreamFacts
from console.settings import RedisSettings, Stream
from console.text import clean_line, plural

_FEW = 5  # databases that are named
_MEMORY_WINDOW = 60.0  # seconds over which the growth of memory is taken: it moves in steps
_STEADY = 12.0  # seconds of growth from which on an end that is not near is believed
_NEAR = 120.0  # seconds below which an end is said at once


class WatchedRedis:
    """One server by the settings of it alone; `watches` are those of its streams."""

    def __init__(self, settings: RedisSettings, watches: Sequence[StreamWatch], seconds: float) -> None:
        self._settings = settings
        self.watches = watches
        self._memory: deque[tuple[float, int]] = deque()
        self._client = connect_async(settings, seconds)
        self.elsewhere = False  # whether the last reading saw that a stream or the master is on another server

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self._client.aclose()

    async def read(self) -> BacklogSample:
        """Return what it tells now. Raises FAILURES, of them BusyLoadingError with the share that is loaded."""
        info: Mapping[str, Any] = await self._client.info()
        if info.get("loading"):
            done = info.get("loading_loaded_perc")
            raise BusyLoadingError(f"{float(done):.0f} % done" if done is not None else "")
        pipe = self._client.pipeline(transaction=False)
        for watch in self.watches:
            stream_facts.ask(pipe, watch.stream)
        answers = await pipe.execute(raise_on_error=False)
        self.elsewhere = info.get("role") == "slave" or any(isinstance(each, MovedError) for each in answers)
        now = time.monotonic()
        streams = []
        for i, watch in enumerate(self.watches):
            own = answers[i * stream_facts.COMMANDS : (i + 1) * stream_facts.COMMANDS]
            stream = await self._stream(watch, own, now)
            streams.append(replace(stream, error=self._with_databases(stream.error, own[0], info)))
        to_full = self._seconds_to_full(info, now, streams)
        return BacklogSample(
            version=_version(info),
            memory_used=int(info["used_memory"]),
            memory_limit=int(info.get("maxmemory", 0)),
            policy=clean_line(str(info.get("maxmemory_policy", ""))),
            streams=tuple(filling(stream, to_full) for stream in streams),
            seconds_to_full=to_full,
            persistence=_persistence(info),
            warnings=_warnings(info),
        )

    async def _stream(self, watch: StreamWatch, answers: list[Any], now: float) -> StreamSample:
        async def count(after: str, to: str) -> tuple[int, str]:
            entries = await self._client.xrange(watch.stream.name, min=f"({after}", max=to, count=CHUNK) or []
            return len(entries), str(entries[-1][0]) if entries else after

        facts = stream_facts.facts(watch.stream, answers, self._settings.database)
        return await watch.sample(facts, now, count, await _gone_while_pending(self._client, watch.stream, facts))

    def _seconds_to_full(self, info: Mapping[str, Any], now: float, streams: Sequence[StreamSample]) -> float | None:
        """Return the time to the memory limit at the rate of the last minute; None without a limit or growth.

        A stream grows until MAXLEN trims it: where the limit is not reached before that, it never is.
        """
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        if self._memory and used < self._memory[-1][1] // 2:
            self._memory.clear()
        self._memory.append((now, used))
        while now - self._memory[0][0] > _MEMORY_WINDOW:
            self._memory.popleft()
        elapsed, grown = now - self._memory[0][0], used - self._memory[0][1]
        if not limit or elapsed < 2.0 or grown <= 0:
            return None
        end = until_full(max(0, limit - used), grown / elapsed, streams)
        return None if elapsed < _STEADY and end is not None and end > _NEAR else end

    def _with_databases(self, error: str, kind: object, info: Mapping[str, Any]) -> str:
        """Return the text of a stream that is not there, with the other databases of this Redis that hold keys."""
        own = f"db{self._settings.database}"
        others = sorted(name[2:] for name in info if name[:2] == "db" and name[2:].isdigit() and name != own)
        if kind != "none" or not others:
            return error
        return f"{error}; there are keys in database {', '.join(others[:_FEW])}: redis.database says where to look"


async def _gone_while_pending(client: "redis.Redis", stream: Stream, facts: StreamFacts) -> int:
    """Return how many entries, CHUNK at most, were delivered, never acknowledged, and are no longer in the stream."""
    if not facts.pending or facts.pending_id is None:
        return 0
    if facts.first_id is None:
        return facts.pending
    if order_of(facts.pending_id) >= order_of(facts.first_id):
        return 0
    gone = await client.xpending_range(stream.name, stream.group, min="-", max=f"({facts.first_id}", count=CHUNK)
    return len(gone)


def _version(info: Mapping[str, Any]) -> str:
    """Return `7.0.15`, or `Valkey 9.1.2`, which also tells the version of Redis that it is like."""
    valkey = str(info.get("valkey_version") or "")
    return clean_line(f"Valkey {valkey}" if valkey else str(info.get("redis_version", "")))


def _persistence(info: Mapping[str, Any]) -> str:
    if info.get("aof_enabled"):
        return "AOF on" if info.get("aof_last_write_status", "ok") == "ok" else "AOF on, last write failed"
    unsaved = int(info.get("rdb_changes_since_last_save", 0))
    return f"no AOF: a crash of Redis loses up to {plural(unsaved, 'change')} since the last snapshot"


def _warnings(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what keeps the feeds from adding entries, or soon will; one sentence each."""
    found = []
    if info.get("role") == "slave":
        found.append("this Redis is a replica and read-only: feeds cannot add to it")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        found.append("its last snapshot failed, so by default it refuses writes: look at its disk")
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        found.append("its append-only file cannot be written, so it refuses writes: look at its disk")
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    policy = str(info.get("maxmemory_policy", ""))
    if limit and used >= limit:
        full = "it refuses writes" if policy == "noeviction" else f"it evicts whole keys ({clean_line(policy)})"
        found.append(f"its memory limit is reached: {full}")
    elif limit and policy.startswith("allkeys"):
        found.append(f"maxmemory-policy {clean_line(policy)} removes whole streams once memory is full")
    return tuple(found)
