"""The Redis probe: what waits in the streams before the database, and how long that can go on."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace

from redis.exceptions import BusyLoadingError

from console.probes.contents import HISTORY_STEP, BacklogSample
from console.probes.redis_server import WatchedRedis
from console.probes.sample import Sample, Status
from console.probes.stream_watch import StreamWatch
from console.redis_queue.client import FAILURES, failure, refused
from console.redis_queue.location import located
from console.settings import Settings

_ANSWER = 3.0  # seconds for one whole reading


class BacklogProbe:
    """Reads all streams, those of one server in one pipeline. The scheduler retries; the client does not."""

    name = "backlog"
    interval = HISTORY_STEP
    deadline = 5.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.redis
        self._bare = settings.bare
        self._servers: list[WatchedRedis] = []
        self._watches = [StreamWatch(stream) for stream in settings.redis.streams]
        self.address = settings.redis.address

    async def read(self) -> Sample[BacklogSample]:
        if self._bare or not self._watches:
            return Sample(self.name, Status.UNKNOWN, None, "no streams are configured (settings: redis.streams)")
        try:
            async with asyncio.timeout(_ANSWER):
                return await self._read()
        except BusyLoadingError as error:
            share = f" ({error})" if str(error).endswith("done") else ""
            message = f"Redis at {self.address} is loading its data{share}; feeds and writer wait for it"
            return Sample(self.name, Status.DEGRADED, None, message)
        except FAILURES as error:
            await self.close()
            status = Status.REFUSED if refused(error) else Status.DOWN
            return Sample(self.name, status, None, failure(error, self._settings, _ANSWER))

    async def close(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.close(), 1.0)

    async def _read(self) -> Sample[BacklogSample]:
        if not self._servers:
            await self._connect()
        data = self._one([(server, await server.read()) for server in self._servers])
        if any(server.elsewhere for server in self._servers) and (
            self._settings.sentinel_master or self._settings.cluster
        ):
            await self.close()  # the next reading asks anew where they are
        troubles = [stream.error for stream in data.streams if stream.error]
        status = Status.DEGRADED if troubles or data.warnings else Status.OK
        return Sample(self.name, status, data, "; ".join([*troubles, *data.warnings]))

    async def _connect(self) -> None:
        """Find the servers of the streams. What was watched of each stream is kept."""
        if self._settings.sentinel_master or self._settings.cluster:
            places = await asyncio.to_thread(located, self._settings, _ANSWER / 2)
        else:
            places = located(self._settings, _ANSWER)
        for place in places:
            watches = [watch for watch in self._watches if watch.stream in place.streams]
            self._servers.append(WatchedRedis(place, watches, _ANSWER))

    def _one(self, samples: list[tuple[WatchedRedis, BacklogSample]]) -> BacklogSample:
        """Return the samples of all servers as one: the memory is that of the server that is full first."""
        first = min((sample for _, sample in samples), key=_room)
        streams = {
            watch.stream: stream
            for server, sample in samples
            for watch, stream in zip(server.watches, sample.streams, strict=True)
        }
        ordered = tuple(streams[watch.stream] for watch in self._watches)
        return replace(first, streams=ordered, warnings=_each_once(sample for _, sample in samples))


def _room(sample: BacklogSample) -> tuple[float, float]:
    share = sample.memory_used / sample.memory_limit if sample.memory_limit else 0.0
    return (sample.seconds_to_full if sample.seconds_to_full is not None else float("inf")), -share


def _each_once(samples: Iterable[BacklogSample]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(warning for sample in samples for warning in sample.warnings))
