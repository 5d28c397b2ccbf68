"""The Redis probe: what waits in the streams before the database, and how long that can go on."""

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import redis.asyncio as redis
from redis.exceptions import BusyLoadingError, RedisError

from console.probes.lag_counter import CHUNK
from console.probes.sample import BacklogSample, Sample, Status, StreamSample
from console.probes.stream_watch import StreamWatch, filling
from console.redis_queue import facts as stream_facts
from console.redis_queue.client import FAILURES, connect_async, failure, refused
from console.redis_queue.lag import order_of
from console.redis_queue.model import StreamFacts
from console.settings import Settings, Stream
from console.text import clean_line, plural

_ANSWER = 3.0  # seconds for one whole reading
_FEW = 5  # databases that are named
_MEMORY_WINDOW = 60.0  # seconds over which the growth of memory is taken: it moves in steps


class BacklogProbe:
    """Reads all streams in one pipeline. The scheduler retries; the client does not."""

    name = "backlog"
    interval = 2.0
    deadline = 5.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.redis
        self._bare = settings.bare
        self._client: redis.Redis | None = None
        self._watches = [StreamWatch(stream) for stream in settings.redis.streams]
        self._memory: deque[tuple[float, int]] = deque()
        self.address = f"{settings.redis.host}:{settings.redis.port}"

    async def read(self) -> Sample[BacklogSample]:
        """Take one sample."""
        if self._bare or not self._watches:
            return Sample(self.name, Status.UNKNOWN, None, "no streams are configured (settings: redis.streams)")
        try:
            async with asyncio.timeout(_ANSWER):
                return await self._read()
        except BusyLoadingError:
            return Sample(self.name, Status.DEGRADED, None, f"Redis at {self.address} is loading its data; wait for it")
        except FAILURES as error:
            await self._drop()
            status = Status.REFUSED if refused(error) else Status.DOWN
            return Sample(self.name, status, None, failure(error, self._settings, _ANSWER))

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()

    async def _read(self) -> Sample[BacklogSample]:
        client = self._connected()
        info: Mapping[str, Any] = await client.info()
        if info.get("loading"):
            done = info.get("loading_loaded_perc")
            share = f" ({float(done):.0f} % done)" if done is not None else ""
            message = f"Redis at {self.address} is loading its data{share}; feeds and writer wait for it"
            return Sample(self.name, Status.DEGRADED, None, message)
        pipe = client.pipeline(transaction=False)
        for watch in self._watches:
            stream_facts.ask(pipe, watch.stream)
        answers = await pipe.execute(raise_on_error=False)
        now = time.monotonic()
        streams = []
        for i, watch in enumerate(self._watches):
            own = answers[i * stream_facts.COMMANDS : (i + 1) * stream_facts.COMMANDS]
            stream = await self._stream(client, watch, own, now)
            streams.append(dataclasses.replace(stream, error=_with_databases(stream.error, own[0], info)))
        to_full = self._seconds_to_full(info, now)
        warnings = _warnings(info)
        troubles = [stream.error for stream in streams if stream.error]
        data = BacklogSample(
            version=clean_line(str(info.get("redis_version", ""))),
            memory_used=int(info["used_memory"]),
            memory_limit=int(info.get("maxmemory", 0)),
            policy=clean_line(str(info.get("maxmemory_policy", ""))),
            streams=tuple(filling(stream, to_full) for stream in streams),
            seconds_to_full=to_full,
            persistence=_persistence(info),
            warnings=warnings,
        )
        status = Status.DEGRADED if troubles or warnings else Status.OK
        return Sample(self.name, status, data, "; ".join([*troubles, *warnings]))

    async def _stream(self, client: "redis.Redis", watch: StreamWatch, answers: list[Any], now: float) -> StreamSample:
        async def count(after: str, to: str) -> tuple[int, str]:
            entries = await client.xrange(watch.stream.name, min=f"({after}", max=to, count=CHUNK) or []
            return len(entries), str(entries[-1][0]) if entries else after

        facts = stream_facts.facts(watch.stream, answers)
        return await watch.sample(facts, now, count, await _gone_while_pending(client, watch.stream, facts))

    def _seconds_to_full(self, info: Mapping[str, Any], now: float) -> float | None:
        """Return the time to the memory limit at the rate of the last minute; None without a limit or growth."""
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        if self._memory and used < self._memory[-1][1] // 2:
            self._memory.clear()
        self._memory.append((now, used))
        while now - self._memory[0][0] > _MEMORY_WINDOW:
            self._memory.popleft()
        elapsed, grown = now - self._memory[0][0], used - self._memory[0][1]
        if not limit or elapsed < 2.0 or grown <= 0:
            return None
        return max(0.0, (limit - used) / (grown / elapsed))

    def _connected(self) -> "redis.Redis":
        if self._client is None:
            self._client = connect_async(self._settings, _ANSWER)
        return self._client

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await asyncio.wait_for(client.aclose(), 1.0)


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


def _with_databases(error: str, kind: object, info: Mapping[str, Any]) -> str:
    """Return the text of a stream that is not there, with the other databases of this Redis that hold keys."""
    others = sorted(name[2:] for name in info if name[:2] == "db" and name[2:].isdigit() and name != "db0")
    if kind != "none" or not others:
        return error
    return f"{error}; there are keys in database {', '.join(others[:_FEW])}, where walmedic does not look"


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
