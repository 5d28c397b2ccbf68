"""The scheduler: no probe holds up another, whatever it does; everything ends when it is closed."""

import asyncio
import threading
import time
from typing import Any

import pytest

from console.errors import WalmedicError
from console.probes.sample import Sample, Status
from console.probes.scheduler import Scheduler, read_once
from console.probes.worker import StillBusy, Worker


class Counting:
    """A probe that answers at once, with how often it was asked."""

    interval = 0.02
    deadline = 1.0

    def __init__(self, name: str = "counting", status: Status = Status.OK) -> None:
        self.name = name
        self.status = status
        self.asked = 0
        self.closed = False

    async def read(self) -> Sample[int]:
        self.asked += 1
        return Sample(self.name, self.status, self.asked)

    async def close(self) -> None:
        self.closed = True


class Deaf(Counting):
    """A probe that neither answers nor lets itself be cancelled for a while, nor closes."""

    deadline = 0.1

    async def read(self) -> Sample[int]:
        self.asked += 1
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                continue
        return Sample(self.name, Status.OK, 1)

    async def close(self) -> None:
        await asyncio.sleep(30)


class Raising(Counting):
    """A probe that breaks its promise."""

    def __init__(self, error: Exception) -> None:
        super().__init__("raising")
        self.error = error

    async def read(self) -> Sample[int]:
        raise self.error


def is_paused(scheduler: Scheduler) -> bool:
    return scheduler.paused


def taken(samples: list[Sample[Any]], name: str) -> list[Sample[Any]]:
    return [sample for sample in samples if sample.probe == name]


async def test_a_hanging_probe_delays_no_other_and_not_the_end() -> None:
    samples: list[Sample[Any]] = []
    good, deaf = Counting(), Deaf("deaf")
    scheduler = Scheduler([deaf, good], samples.append)
    scheduler.start()
    await asyncio.sleep(0.5)
    assert len(taken(samples, "counting")) >= 10
    down = taken(samples, "deaf")
    assert down
    assert {sample.status for sample in down} == {Status.DOWN}
    assert down[0].error == "no answer within 0.1 s"
    started = time.monotonic()
    await scheduler.close()
    assert time.monotonic() - started < 3.5
    assert good.closed
    count = len(samples)
    await asyncio.sleep(0.1)
    assert len(samples) == count


async def test_whatever_a_probe_raises_becomes_a_sample() -> None:
    said = await read_once(Raising(WalmedicError("Redis is gone; start it")))
    assert (said.status, said.error) == (Status.DOWN, "Redis is gone; start it")
    unexpected = await read_once(Raising(ValueError("bad \x1b[31m thing")))
    assert unexpected.status is Status.DOWN
    assert "an unexpected ValueError: bad thing" in unexpected.error
    assert "\x1b" not in unexpected.error


async def test_a_receiver_that_fails_stops_nothing() -> None:
    seen = 0

    def receive(sample: Sample[Any]) -> None:
        nonlocal seen
        seen += 1
        raise RuntimeError("the pane is broken")

    scheduler = Scheduler([Counting()], receive)
    scheduler.start()
    await asyncio.sleep(0.2)
    await scheduler.close()
    assert seen >= 3


async def test_a_source_that_is_down_is_asked_ever_more_rarely_but_at_once_when_poked() -> None:
    samples: list[Sample[Any]] = []
    down, up = Counting("down", Status.DOWN), Counting("up")
    scheduler = Scheduler([down, up], samples.append, longest_wait=5.0)
    scheduler.start()
    await asyncio.sleep(1.0)
    assert down.asked <= 7
    assert up.asked >= 20
    newest = [sample for sample in samples if sample.probe == "down"][-1]
    assert newest.again_at is not None
    assert newest.again_at - newest.monotonic > 0.05
    before = down.asked
    down.status = Status.OK
    scheduler.poke("down", "no such probe")
    for _ in range(100):  # two seconds: at the pace of the dead, five more would take far longer
        if down.asked >= before + 5:
            break
        await asyncio.sleep(0.02)
    assert down.asked >= before + 5  # it answers again: the usual pace is back
    await scheduler.close()


async def test_pause_holds_samples_back_and_goes_on_reading() -> None:
    samples: list[Sample[Any]] = []
    probe = Counting()
    scheduler = Scheduler([probe], samples.append)
    scheduler.start()
    await asyncio.sleep(0.1)
    scheduler.pause()
    scheduler.pause()
    count, asked = len(samples), probe.asked
    await asyncio.sleep(0.2)
    assert len(samples) == count
    assert is_paused(scheduler)
    assert probe.asked > asked
    scheduler.resume()
    assert not is_paused(scheduler)
    assert samples[-1].data is not None
    assert samples[-1].data > asked  # the newest, not the first that was held
    assert len(samples) == count + 1
    await scheduler.close()


async def test_pace() -> None:
    probe = Counting()
    scheduler = Scheduler([probe], lambda sample: None)
    scheduler.pace = 100.0
    scheduler.start()
    await asyncio.sleep(0.2)
    assert probe.asked == 1
    await scheduler.close()


async def test_work_that_hangs_gets_no_second_thread_and_blocks_no_exit() -> None:
    worker = Worker("disk")
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.call(release.wait, 30), 0.05)
    with pytest.raises(StillBusy, match="the reading before still hangs"):
        await worker.call(lambda: 1)
    hanging = [thread for thread in threading.enumerate() if thread.name == "probe-disk"]
    assert len(hanging) == 1
    assert hanging[0].daemon
    release.set()
    hanging[0].join()
    assert await worker.call(lambda: 2) == 2
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0)


async def test_a_worker_that_came_back_is_free_at_once() -> None:
    worker = Worker("disk")
    assert [await worker.call(int, number) for number in range(500)] == list(range(500))


def test_a_loop_that_is_gone_is_no_error_for_the_thread() -> None:
    worker = Worker("disk")
    release = threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.call(release.wait, 30), 0.02)

    asyncio.run(give_up())
    failures: list[object] = []
    before = threading.excepthook
    threading.excepthook = failures.append
    try:
        release.set()
        for thread in threading.enumerate():
            if thread.name == "probe-disk":
                thread.join()
    finally:
        threading.excepthook = before
    assert failures == []
