"""Keys that come faster than the screens they are for: none is lost, none goes elsewhere, none confirms anything."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen

from console.app import ConsoleApp
from console.settings import QuestDBSettings, Settings
from console.widgets.hex_view import HexView
from screens.arm import Arm
from screens.browser import Browser
from screens.dashboard import Dashboard
from screens.palette import Palette
from screens.plan import PlanScreen
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.database import damaged
from tests.ui.driving import running
from tests.ui.scripted import PLAN, ScriptedEngine
from tests.ui.showing import settled, shown, typed

_NAMES = {"\r": "enter", "\x1b": "escape"}


def keys_of(text: str) -> Iterable[Key]:
    """Return the events that a terminal's driver makes of `text`."""
    for character in text:
        name = _NAMES.get(character) or (character if character.isalnum() else _character_to_key(character))
        yield Key(name, character)


def on_top(app: ConsoleApp) -> type[Screen[Any]]:
    """Return what kind of screen is on top."""
    return type(app.screen)


async def burst(pilot: Pilot[int], text: str) -> None:
    """Type all of `text` at once, as tmux send-keys does, and wait until the screen stands still."""
    for event in keys_of(text):
        pilot.app.post_message(event)
    await settled(pilot)


async def test_a_burst_goes_through_the_browser_to_an_offset(
    console: MakeApp, settings: Settings, tmp_path: Path
) -> None:
    database, report = damaged(tmp_path)
    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root))))
    async with app.run_test(size=(120, 40)) as pilot:
        app.take(*samples.incident(), samples.sample("tables", report))
        await burst(pilot, "b/txn_seq txnlog\r\rg0x20\r")
        assert on_top(app) is Browser
        assert app.screen.query_one(HexView).cursor == 0x20
        assert "txn_seq/_txnlog" in shown(app).splitlines()[2]
        assert "bytes a record" in shown(app)  # x of 0x20 would have changed the rows
        await burst(pilot, "g40\rg0x30\rl")
        assert app.screen.query_one(HexView).cursor == 0x31


async def test_what_is_asked_of_no_open_file_takes_its_keys_all_the_same(
    console: MakeApp, settings: Settings, tmp_path: Path
) -> None:
    database, _ = damaged(tmp_path)
    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root))))
    async with app.run_test(size=(80, 24)) as pilot:
        await burst(pilot, "bg0x20\r")
        assert "open a file first" in shown(app)
        assert "_txnlog" not in shown(app).splitlines()[2]


@pytest.mark.parametrize("text", ["/orderbook\r", "/orderbook"])
async def test_a_burst_filters_the_dashboard(console: MakeApp, text: str) -> None:
    app = console()
    async with running(app, (120, 40)) as pilot:
        await burst(pilot, text)
        assert on_top(app) is Dashboard
        assert "✗ BROKEN  market_orderbook" in shown(app)
        assert "✗ BROKEN  market_trades" in shown(app)  # what is broken is never filtered away
        assert "binance-trades" not in shown(app)
        assert ("filter by name: orderbook" in shown(app)) is (not text.endswith("\r"))


async def test_a_burst_filters_the_palette_and_opens_the_plan(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        await burst(pilot, "astop-s")
        assert on_top(app) is Palette
        assert "> stop-s" in shown(app)
        assert "freeze-writer" not in shown(app)
        await burst(pilot, "\x1b")
        await burst(pilot, f"a{PLAN.action}\r")
        assert on_top(app) is PlanScreen
        await pilot.press("escape")
        await settled(pilot)
        assert on_top(app) is Palette
        assert f"> {PLAN.action}" not in shown(app)
    assert engine.launched == []


async def test_a_phrase_that_was_typed_before_its_plan_was_shown_confirms_nothing(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await burst(pilot, f"a\r{PLAN.confirmation}\r")
        assert on_top(app) is PlanScreen
        assert engine.launched == []
        assert engine.rehearsals == []
        assert "right; checking" not in shown(app)
        # Typed by somebody who can see the plan, it is taken.
        await typed(pilot, PLAN.confirmation)
        assert f"> {PLAN.confirmation}" in shown(app)


async def test_a_phrase_in_flight_when_the_plan_changes_confirms_nothing(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await burst(pilot, "a\r")
        typed_before = [*keys_of(f"{PLAN.confirmation}\r")]
        field = app.screen.query_one("#phrase")
        engine.made = replace(PLAN, plan_id="77777777", facts=PLAN.facts[:1])
        app.take()
        screen = app.screen
        assert isinstance(screen, PlanScreen)
        screen.action_replan()
        await settled(pilot)
        assert "void" in shown(app)
        for event in typed_before:
            app.post_message(event)
        await settled(pilot)
        assert "typed before this was shown is not taken" in shown(app)
        assert field.display
    assert engine.launched == []


async def test_the_word_of_operate_mode_in_one_burst_with_its_key_arms_nothing(console: MakeApp) -> None:
    app = console()
    async with running(app) as pilot:
        await burst(pilot, "ooperate\r")
        assert on_top(app) is Arm
        assert app.armed_for == 0
        assert "typed before this was shown is not taken" in shown(app)
        await burst(pilot, "operate\r")
        assert app.armed_for > 0


async def test_escape_is_never_held_back(console: MakeApp, settings: Settings, tmp_path: Path) -> None:
    """Keys wait for a disk that does not answer; the way out does not."""
    database, _ = damaged(tmp_path)
    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root))))
    async with app.run_test(size=(80, 24)) as pilot:
        await burst(pilot, "b")
        screen = app.screen
        screen._unanswered.add("file")  # type: ignore[attr-defined]
        for event in keys_of("gg\x1b"):
            app.post_message(event)
        await pilot.pause()
        await pilot.pause()
        assert on_top(app) is Dashboard
