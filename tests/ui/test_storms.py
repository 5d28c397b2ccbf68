"""What no operator does on purpose: hundreds of sizes, hundreds of keys at random. Nothing breaks or is started."""

import os
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.events import Key
from textual.pilot import Pilot
from textual.screen import Screen

from console.app import ConsoleApp
from console.settings import QuestDBSettings, Settings
from screens.dashboard import Dashboard
from screens.plan import PlanScreen
from screens.too_small import MIN_HEIGHT, MIN_WIDTH
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.database import damaged
from tests.ui.scripted import ScriptedEngine
from tests.ui.showing import handled, settled, shown, until

KEYS: Sequence[str] = (
    *"abcefghjklnoprstvwxyzGNY0123456789/?",
    *("up", "down", "left", "right", "pageup", "pagedown", "home", "end", "enter", "escape", "tab", "shift+tab"),
    *("backspace", "space", "f1", "q"),
)
NAMES = {"/": "slash", "?": "question_mark"}
CHARACTERS = {"space": " "}
ALONE: dict[str, type[Screen[Any]]] = {"q": Dashboard, "h": PlanScreen}
"""Keys that are not pressed on a screen: the one ends the console, the other starts a rehearsal with its own server."""


def chance() -> random.Random:
    """Return a source of chance whose seed is printed; WALMEDIC_SEED repeats a run."""
    seed = int(os.environ.get("WALMEDIC_SEED", "0")) or random.randrange(1 << 30)
    sys.stderr.write(f"seed {seed}\n")
    return random.Random(seed)


async def press_at_random(pilot: Pilot[int], source: random.Random, count: int) -> list[str]:
    """Press `count` keys in bursts, none that would end the console; return the screens that were seen."""
    seen: dict[str, None] = {}
    pressed = 0
    while pressed < count:
        for key in source.choices(KEYS, k=source.randint(1, 8)):
            if key in ALONE:
                await settled(pilot)  # an answer that is still to come may bring another screen
                screen = pilot.app.screen
                if isinstance(screen, ALONE[key]):
                    continue
            pilot.app.post_message(Key(NAMES.get(key, key), key if len(key) == 1 else CHARACTERS.get(key)))
            pressed += 1
            if key in ALONE:
                await handled(pilot)
        await handled(pilot)
        seen.update(dict.fromkeys(type(screen).__name__ for screen in pilot.app.screen_stack))
        if source.random() < 0.05:
            await settled(pilot)
            while len(pilot.app.screen_stack) > 4:
                await pilot.app.pop_screen()
    await settled(pilot)
    return list(seen)


@pytest.mark.parametrize(
    "keys",
    [(), ("l",), ("j",), ("t",), ("s",), ("o",), ("b", "n"), ("b", "n", "c"), ("a",), ("a", "enter")],
    ids=str,
)
async def test_a_storm_of_sizes(console: MakeApp, settings: Settings, tmp_path: Path, keys: tuple[str, ...]) -> None:
    database, report = damaged(tmp_path)
    source = chance()
    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root))))
    async with app.run_test(size=(80, 24)) as pilot:
        app.take(*samples.incident(), samples.sample("tables", report))
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        for _ in range(30):
            tiny = source.randint(1, 60), source.randint(1, 8)
            width, height = source.choice([(source.randint(1, 250), source.randint(1, 70)), tiny, (80, 24), (200, 50)])
            await pilot.resize_terminal(width, height)
            await until(pilot, partial(_fits, app, width, height))
            rows = shown(app).splitlines()
            if width < MIN_WIDTH or height < MIN_HEIGHT:
                assert not any("BROKEN" in row or "bytes a r" in row for row in rows), (width, height)
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert "? Help" in shown(app)


def _fits(app: ConsoleApp, width: int, height: int) -> bool:
    rows = shown(app).splitlines()
    return len(rows) <= height and all(cell_len(row) <= width for row in rows)


async def test_keys_at_random_while_the_size_changes(console: MakeApp, engine: ScriptedEngine) -> None:
    source = chance()
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.arm()
        app.take(*samples.incident())
        for _ in range(15):
            await press_at_random(pilot, source, 20)
            await pilot.resize_terminal(source.randint(20, 220), source.randint(5, 60))
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert app.is_running
    assert engine.launched == []


async def test_keys_at_random_start_nothing(
    console: MakeApp, settings: Settings, engine: ScriptedEngine, tmp_path: Path
) -> None:
    database, report = damaged(tmp_path)
    app: ConsoleApp = console(
        settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root)), state_dir=str(tmp_path / "s"))
    )
    async with app.run_test(size=(80, 24)) as pilot:
        app.arm()  # armed, so that nothing but the typed phrase stands between a key and an action
        app.take(*samples.incident(), samples.sample("tables", report))
        seen = await press_at_random(pilot, chance(), 1000)
        assert app.is_running
    assert len(seen) >= 4, seen
    assert engine.launched == []
