"""The palette of everything: screens, panes, tables, logs and actions by some letters; and the next step at once."""

from dataclasses import replace

import pytest

from console.widgets.clipboard import notification
from screens.browser import Browser
from screens.commands import Commands
from screens.dashboard import Dashboard
from screens.guidance import Guided
from screens.journal import JournalScreen
from screens.palette import Palette
from screens.plan import PlanScreen
from tests.ui import captured, samples
from tests.ui.conftest import MakeApp
from tests.ui.driving import pressed, running
from tests.ui.scripted import ScriptedEngine
from tests.ui.showing import settled, shown, typed, until


@pytest.mark.parametrize(
    ("letters", "screen"),
    [
        ("journ", JournalScreen),
        ("browser", Browser),
        ("stop-s", PlanScreen),
        ("market_tr", Palette),
        ("jrnl", JournalScreen),
    ],
)
@pytest.mark.parametrize("key", ["colon", "ctrl+p"])
async def test_a_few_letters_open_anything(console: MakeApp, letters: str, screen: type[object], key: str) -> None:
    app = console()
    async with running(app) as pilot:
        await pressed(pilot, key)
        assert isinstance(app.screen, Commands)
        await typed(pilot, letters)
        await pressed(pilot, "enter")
        assert isinstance(app.screen, screen), type(app.screen)


async def test_the_next_step_stands_first_and_only_its_plan_opens(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        await pressed(pilot, "colon")
        assert "next    freeze-writer" in shown(app)
        await pressed(pilot, "enter")
        assert isinstance(app.screen, PlanScreen)
    assert engine.planned == [("freeze-writer", None)]
    assert engine.launched == []


async def test_a_pane_opens_from_any_screen_and_letters_that_nothing_has_open_nothing(console: MakeApp) -> None:
    app = console()
    async with running(app) as pilot:
        await pressed(pilot, "j", "colon")
        await typed(pilot, "backlog")
        await pressed(pilot, "enter")
        assert isinstance(app.screen, Dashboard)
        assert "── redis backlog" in shown(app).splitlines()[2]
        await pressed(pilot, "colon")
        await typed(pilot, "zzzz")
        await pressed(pilot, "enter")
        assert isinstance(app.screen, Commands)
        await pressed(pilot, "escape")
        assert isinstance(app.screen, Dashboard)


async def test_the_palette_opens_the_known_step_before_the_engine_has_answered(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        engine.answer.clear()
        await pilot.press("a")
        await until(pilot, lambda: "freeze-writer" in shown(app) and isinstance(app.screen, Palette), still=False)
        assert "checking what is possible… ◐ 0 s" in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen), still=False)
        engine.answer.set()
        await settled(pilot)
    assert engine.planned[0] == ("freeze-writer", None)


async def test_an_answer_from_before_the_end_of_an_action_names_no_step(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        assert "next 1 freeze-writer" in shown(app)
        app.expire_way()
        app.post_message(Guided(app.way, asked=0.0))  # asked long before, and answered late
        await until(pilot, lambda: app.guide.asking or "next 1 freeze-writer" in shown(app), still=False)
        await settled(pilot)
        assert "next 1 freeze-writer" in shown(app)  # by an answer of its own
    assert engine.launched == []


async def test_the_operator_is_called_by_a_new_crash_and_by_no_old_one(
    console: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = console()
    called: list[str] = []
    monkeypatch.setattr(app, "call_operator", called.append)
    async with running(app) as pilot:
        assert called == []
        crashes = captured.INCIDENT_CRASHES
        app.take(samples.sample("crashes", replace(crashes, total=crashes.total + 1)))
        await settled(pilot)
        assert called == [f"QuestDB has crashed again: {crashes.total + 1} crashes"]


def test_a_call_goes_through_tmux_and_carries_no_control_codes() -> None:
    assert notification("done", {}) == "\x1b]9;done\x07"
    assert notification("a\x1b]0;b\x07c", {"TMUX": "/tmp/x"}).count("\x07") == 1
