"""The log of a service: opened from the dashboard, followed, filtered, held still, read again when it breaks."""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from textual.pilot import Pilot

from console.app import ConsoleApp
from console.probes.log_tail import LogLine
from console.services.model import ServiceError
from console.settings import Settings
from screens.dashboard import Dashboard
from screens.unit_log import UnitLog
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.showing import settled, shown, typed, until

AT = 1_763_000_000.0


class Journal:
    """Gives each service its lines, then what is said later; `broken` is raised in place of an answer."""

    def __init__(self, lines: dict[str, list[LogLine]] | None = None) -> None:
        self.lines = lines or {}
        self.queue: asyncio.Queue[LogLine] = asyncio.Queue()
        self.opened: list[str] = []
        self.open = 0
        self.broken = ""

    async def follow(self, settings: Settings, unit: str) -> AsyncGenerator[LogLine, None]:
        self.opened.append(unit)
        self.open += 1
        try:
            if self.broken:
                raise ServiceError(self.broken)
            for line in self.lines.get(unit, [LogLine(f"{unit} speaks", AT)]):
                yield line
            while True:
                yield await self.queue.get()
        finally:
            self.open -= 1


async def opened(pilot: Pilot[Any], *keys: str) -> UnitLog:
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    await settled(pilot)
    app.take(*samples.incident())
    await settled(pilot)
    for key in keys:
        await pilot.press(key)
        await settled(pilot)
    screen = app.screen
    assert isinstance(screen, UnitLog)
    return screen


def numbered(count: int) -> list[LogLine]:
    return [LogLine(f"line {i} of many", AT + i, 6) for i in range(count)]


async def test_enter_on_a_service_opens_its_log(console: MakeApp) -> None:
    journal = Journal()
    app = console(logs=journal.follow)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "3", "up", "up", "up", "up", "down", "enter")
        second = samples.SERVICES.units[1].name
        await until(pilot, lambda: f"{second} speaks" in shown(app))
        assert f"log of {second}" in shown(app)
        await pilot.press("right")
        third = samples.SERVICES.units[2].name
        await until(pilot, lambda: f"{third} speaks" in shown(app))
        assert f"{second} speaks" not in shown(app)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, Dashboard)
        await until(pilot, lambda: journal.open == 0)


async def test_the_service_that_fails_is_the_first_to_be_shown(console: MakeApp) -> None:
    journal = Journal()
    app = console(logs=journal.follow)
    async with app.run_test() as pilot:
        *first, last = (replace(unit, loop="") for unit in samples.SERVICES.units)
        app.take(samples.sample("services", replace(samples.SERVICES, units=(*first, replace(last, loop="again")))))
        await pilot.press("l")
        await settled(pilot)
        assert journal.opened == [last.name]


async def test_the_newest_line_stays_in_sight_until_one_looks_back(console: MakeApp) -> None:
    journal = Journal({unit.name: numbered(300) for unit in samples.SERVICES.units})
    app = console(logs=journal.follow)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "l")
        await until(pilot, lambda: "line 299 of many" in shown(app))
        journal.queue.put_nowait(LogLine("the writer gave up", AT, 3))
        await until(pilot, lambda: "✗ the writer gave up" in shown(app))
        await pilot.press("pageup")
        await settled(pilot)
        before = shown(app)
        assert "the writer gave up" not in before
        assert "HELD, 15 below" in before
        journal.queue.put_nowait(LogLine("one more", AT, 6))
        await until(pilot, lambda: "HELD, 16 below" in shown(app))
        assert before.splitlines()[5:] == shown(app).splitlines()[5:]
        await pilot.press("home")
        await until(pilot, lambda: "line 0 of many" in shown(app))
        await pilot.press("end")
        await until(pilot, lambda: "one more" in shown(app))
        assert "following" in shown(app)


async def test_filter_and_errors(console: MakeApp) -> None:
    lines = [*numbered(50), LogLine("java.lang.NullPointerException: x", AT), LogLine("Line 7 again", AT, 3)]
    journal = Journal({unit.name: lines for unit in samples.SERVICES.units})
    app = console(logs=journal.follow)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "l", "slash")
        await typed(pilot, "LINE 7")
        await pilot.press("enter")
        await settled(pilot)
        assert "/LINE 7: 2 of 52" in shown(app)
        assert "line 7 of many" in shown(app)
        assert "line 8 of many" not in shown(app)
        await pilot.press("e")
        await settled(pilot)
        assert "line 7 of many" not in shown(app)
        assert "Line 7 again" in shown(app)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, UnitLog)
        assert "NullPointerException" in shown(app)
        assert "trouble: 2 of 52" in shown(app)


async def test_a_log_that_cannot_be_read_says_so_and_is_tried_again(console: MakeApp, monkeypatch: Any) -> None:
    monkeypatch.setattr("screens.unit_log._AGAIN", 0.05)
    journal = Journal()
    journal.broken = "there is no supervisord socket at /run/s.sock; is supervisord running?"
    app = console(logs=journal.follow)
    async with app.run_test(size=(120, 24)) as pilot:
        await opened(pilot, "l")
        await until(pilot, lambda: "no supervisord socket" in shown(app))
        journal.broken = ""
        await until(pilot, lambda: "speaks" in shown(app))
        await until(pilot, lambda: "no supervisord socket" not in shown(app))


async def test_a_flood_is_held_in_bounded_memory_and_drawn_in_steps(console: MakeApp) -> None:
    count = 20_000
    journal = Journal({unit.name: numbered(count) for unit in samples.SERVICES.units})
    app = console(logs=journal.follow)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, "l")
        await until(pilot, lambda: f"line {count - 1} of many" in shown(app))
        assert screen._tail._count == count
        assert screen._tail.counts()[2] == 5_000


async def test_long_lines_are_shown_whole(console: MakeApp) -> None:
    words = " ".join(f"word{i}" for i in random.Random(7).sample(range(1_000), 60))
    journal = Journal({unit.name: [LogLine(words, AT)] for unit in samples.SERVICES.units})
    app = console(logs=journal.follow)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "l")
        await until(pilot, lambda: words.split()[-1] in shown(app))
        assert all(word in shown(app) for word in words.split())
