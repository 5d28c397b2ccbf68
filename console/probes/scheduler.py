"""Reads every probe again and again, each in a task of its own: one that hangs or fails never delays another."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from console.errors import WalmedicError
from console.probes.sample import Probe, Sample, Status
from console.text import clean_line

_LOG = logging.getLogger(__name__)
_LONGEST_WAIT = 30.0  # seconds between two tries of a source that is down
_CLOSING = 2.0  # seconds that a probe gets to close

OnSample = Callable[[Sample[Any]], None]


class Scheduler:
    """Calls `on_sample` in the event loop with every reading. A source that is down is tried ever more rarely.

    `pace` multiplies all intervals (2.0: half as often) and may be changed at any time.
    """

    def __init__(
        self, probes: Iterable[Probe[Any]], on_sample: OnSample, *, longest_wait: float = _LONGEST_WAIT
    ) -> None:
        self.probes = tuple(probes)
        self.pace = 1.0
        self._on_sample = on_sample
        self._longest_wait = longest_wait
        self._wake = {probe.name: asyncio.Event() for probe in self.probes}
        self._held: dict[str, Sample[Any]] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def paused(self) -> bool:
        return self._held is not None

    def start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep_reading(p), name=f"probe {p.name}") for p in self.probes]

    def pause(self) -> None:
        """Hold samples back. Reading goes on, so that rates and ages stay true."""
        if self._held is None:
            self._held = {}

    def resume(self) -> None:
        """Deliver the newest sample of each probe that was held back, and go on."""
        held, self._held = self._held or {}, None
        for sample in held.values():
            self._deliver(sample)

    def poke(self, *names: str) -> None:
        """Read the named probes (all where none is named) now."""
        for name in names or tuple(self._wake):
            if name in self._wake:
                self._wake[name].set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(self._close(probe) for probe in self.probes))

    async def _keep_reading(self, probe: Probe[Any]) -> None:
        failures = 0
        while True:
            self._wake[probe.name].clear()
            sample = await read_once(probe)
            failures = failures + 1 if sample.status.failed else 0
            wait = self._wait(probe, failures)
            self._deliver(replace(sample, again_at=time.monotonic() + wait))
            try:
                await asyncio.wait_for(self._wake[probe.name].wait(), wait)
            except TimeoutError:
                continue

    def _wait(self, probe: Probe[Any], failures: int) -> float:
        """Return the seconds until the next reading: doubled by every failure in a row, with jitter."""
        usual = probe.interval * self.pace
        if failures <= 1:
            return usual
        longest = max(usual, self._longest_wait)
        return float(min(longest, usual * 2 ** min(failures - 1, 10)) * random.uniform(0.8, 1.2))  # noqa: S311

    def _deliver(self, sample: Sample[Any]) -> None:
        if self._held is not None:
            self._held[sample.probe] = sample
            return
        try:
            self._on_sample(sample)
        except Exception:
            _LOG.exception("a sample of %s could not be taken in", sample.probe)

    async def _close(self, probe: Probe[Any]) -> None:
        try:
            await asyncio.wait_for(probe.close(), _CLOSING)
        except Exception as error:
            _LOG.info("probe %s did not close: %s", probe.name, clean_line(str(error)) or type(error).__name__)


async def read_once(probe: Probe[Any]) -> Sample[Any]:
    """Return one reading of `probe`, at the latest at its deadline, whatever the probe does."""
    reading = asyncio.create_task(probe.read())
    try:
        done, _ = await asyncio.wait({reading}, timeout=probe.deadline)
    except asyncio.CancelledError:
        reading.cancel()
        raise
    if not done:
        # Not awaited: what does not answer may not answer its cancellation either.
        reading.cancel()
        reading.add_done_callback(_forget)
        return Sample(probe.name, Status.DOWN, None, f"no answer within {probe.deadline:g} s")
    try:
        return reading.result()
    except asyncio.CancelledError:
        return Sample(probe.name, Status.DOWN, None, "the reading was given up")
    except WalmedicError as error:
        return Sample(probe.name, Status.DOWN, None, str(error))
    except Exception as error:
        _LOG.exception("probe %s failed", probe.name)
        message = clean_line(str(error), 200)
        return Sample(probe.name, Status.DOWN, None, f"an unexpected {type(error).__name__}: {message}; see the log")


def _forget(task: asyncio.Task[Any]) -> None:
    """Take the outcome of a reading that nobody waits for, so that asyncio does not complain of it."""
    if not task.cancelled():
        task.exception()
