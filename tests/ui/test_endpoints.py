"""Endpoints that are dead or that accept and never answer: every pane says so in time, and the keys never wait."""

import asyncio
import contextlib
import logging
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.probes.backlog import BacklogProbe
from console.probes.scheduler import Scheduler
from console.probes.server import ServerProbe
from console.probes.services import ServicesProbe
from console.questdb_client.watch import PgWire, ServerUnreachable
from console.settings import QuestDBSettings, RedisSettings, Role, ServicesSettings, Settings, Stream, Unit
from console.widgets.pane import Pane
from console.wiring import station_sources
from screens.dashboard import Dashboard
from tests.real.redis_server import BINARIES, SIX, RedisServer
from tests.ui.showing import shown

_BLOCKED = 0.1  # seconds for which the interface may be held up
_TRIES = 5  # the best counts: a machine that is busy with something else holds everything up

DEAF = {
    "server": "127.0.0.1:{pg} accepts connections and does not answer within 3 s",
    "backlog": "accepts connections and does not answer within 3 s",
    "services": "did not answer within 5 s",
}
DEAD = {
    "server": "127.0.0.1:{pg} refuses connections: nothing listens there",
    "backlog": "refuses connections: nothing listens there",
    "services": "there is no supervisord socket at",
}


@contextlib.contextmanager
def endpoints(folder: Path, *, listening: bool) -> Iterator[Settings]:
    """Give settings whose PGWire, health port, Redis and supervisord accept and never answer, or are not there."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(3):
            each = stack.enter_context(socket.socket())
            each.bind(("127.0.0.1", 0))
            if listening:
                each.listen()
            ports.append(each.getsockname()[1])
        path = folder / ("deaf" if listening else "none")
        if listening:
            supervisor = stack.enter_context(socket.socket(socket.AF_UNIX))
            supervisor.bind(str(path))
            supervisor.listen()
        pg, health, redis = ports
        units = (Unit("questdb", Role.DATABASE), Unit("batch-writer", Role.WRITER))
        yield Settings(
            station="deaf",
            state_dir=str(folder / "state"),
            questdb=QuestDBSettings(pg_port=pg, health_port=health, password="canary-1", readonly_password="canary-2"),
            redis=RedisSettings(port=redis, password="canary-3", streams=(Stream("trades"),)),
            services=ServicesSettings("supervisor", str(path), units),
        )


class Pulse:
    """The longest time (seconds) that the event loop was held up while it was watched."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Pulse":
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _beat(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.longest, before = max(self.longest, now - before - 0.005), now


def deadlines(settings: Settings) -> dict[str, float]:
    probes: list[Any] = [ServerProbe(settings), BacklogProbe(settings), ServicesProbe(settings)]
    return {probe.name: probe.deadline for probe in probes}


async def press_until(pilot: Pilot[int], said: Callable[[], bool], deadline: float) -> None:
    """Press keys all the time, as an impatient operator does, until the sentence stands there."""
    end = time.monotonic() + deadline
    for digit in 1_000 * "123454":
        if said():
            return
        assert time.monotonic() < end, shown(pilot.app)
        await pilot.press(digit)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("listening", [True, False], ids=["never answers", "not there"])
async def test_each_pane_says_so_in_time_and_nothing_waits(
    tmp_path: Path, listening: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """No password of the settings stands in a sample, on the screen, or in the log at its most talkative."""
    caplog.set_level(logging.DEBUG)
    sentences = DEAF if listening else DEAD
    longest = []
    for number in range(_TRIES):
        folder = tmp_path / str(number)
        folder.mkdir()
        with endpoints(folder, listening=listening) as settings:
            app = ConsoleApp(settings, sources=station_sources)
            limits = deadlines(settings)
            async with app.run_test(size=(160, 40)) as pilot:
                await pilot.pause()
                started = time.monotonic()
                async with Pulse() as pulse:
                    for probe, sentence in sentences.items():
                        wanted = sentence.format(pg=settings.questdb.pg_port)
                        rest = limits[probe] - (time.monotonic() - started)
                        await press_until(pilot, lambda: wanted in app.state.reading(probe).error, rest)  # noqa: B023
                longest.append(pulse.longest)
                await on_the_screen(app, pilot, sentences)
                told = [shown(app), app.export_screenshot(), repr(app.state), repr(app.settings), caplog.text]
                assert not any("canary" in each for each in told)
        if min(longest) < _BLOCKED:
            break
    assert min(longest) < _BLOCKED, longest


async def on_the_screen(app: ConsoleApp, pilot: Pilot[int], sentences: dict[str, str]) -> None:
    """Assert that the panes themselves say it, and when they try again."""
    while not isinstance(app.screen, Dashboard):
        await pilot.press("escape")
    await pilot.press("escape")
    await pilot.pause()
    for pane, words in (("backlog", sentences["backlog"]), ("services", sentences["services"])):
        drawn = "".join(span.text for row in app.screen.query_one(f"#{pane}", Pane).rows for span in row)
        assert all(word in drawn for word in words.split()), drawn
        assert "tried again in" in drawn or "trying now" in drawn, drawn


async def test_no_secret_in_the_traceback_of_a_refusal(tmp_path: Path) -> None:
    """A password that is wrong, refused by a real Redis; one that a server never hears: nothing of it is told."""
    redis = RedisServer(Path(BINARIES[SIX]), tmp_path, ["--requirepass", "another"])
    redis.start()
    try:
        with endpoints(tmp_path, listening=False) as settings:
            wire = PgWire(settings.questdb)
            with pytest.raises(ServerUnreachable) as refused:
                await wire.query("select 1", 1.0)
            wrong = replace(settings, redis=replace(settings.redis, port=redis.port))
            sample = await BacklogProbe(wrong).read()
    finally:
        redis.kill()
    assert "refuses the default user with this password" in sample.error
    error = refused.value
    text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    assert "canary" not in text + sample.error + repr(error.__cause__)


async def test_closing_does_not_wait_for_what_hangs(tmp_path: Path) -> None:
    with endpoints(tmp_path, listening=True) as settings:
        scheduler = station_sources(settings, lambda sample: None)
        assert isinstance(scheduler, Scheduler)
        scheduler.start()
        await asyncio.sleep(0.3)
        started = time.monotonic()
        await scheduler.close()
        assert time.monotonic() - started < 4.0
