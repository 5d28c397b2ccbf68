"""The palette asks the engine: what is typed before the answer is there counts, and nothing old is offered as new."""

import pytest

from console.recovery.model import FirstStep
from screens.palette import Palette
from screens.plan import PlanScreen
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.driving import at_plan, confirmed, pressed, running
from tests.ui.scripted import BACK, PLAN, ScriptedEngine
from tests.ui.showing import settled, shown, typed, until


async def test_letters_and_enter_before_the_answer_are_kept_shown_and_applied(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        engine.answer.clear()
        await pilot.press("a", *"stop", "enter")
        await until(pilot, lambda: "Enter opens its plan then" in shown(app), still=False)
        assert "> stop" in shown(app)
        engine.answer.set()
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
    assert engine.planned[-1] == ("stop-server", None)


async def test_what_is_typed_after_an_early_enter_neither_filters_nor_confirms(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    """It was meant for a plan that nobody had read yet."""
    app = console()
    async with running(app) as pilot:
        app.arm()
        engine.answer.clear()
        await pilot.press("a", *"resto", "enter", *"mark")
        await until(pilot, lambda: "Enter opens its plan then" in shown(app), still=False)
        assert "> resto " in shown(app)
        engine.answer.set()
        await until(pilot, lambda: isinstance(app.screen, PlanScreen) and PLAN.confirmation in shown(app))
        await typed(pilot, "mar")
        assert "> mar\n" in shown(app)
    assert engine.planned == [("restore-sequencer", "market_orderbook")]


async def test_where_all_is_healthy_no_action_is_preselected(console: MakeApp, engine: ScriptedEngine) -> None:
    engine.recommends = False
    app = console()
    async with running(app) as pilot:
        app.take(*samples.healthy())
        await pressed(pilot, "a")
        assert "recommended now" not in shown(app)
        assert "asking what is possible" not in shown(app)
        assert "✓ nothing to do: every table is healthy" in shown(app)
        await pressed(pilot, "enter")
        assert not engine.planned
        await pressed(pilot, "down", "enter")
        assert isinstance(app.screen, PlanScreen)


async def test_where_no_action_helps_the_pane_says_what_a_person_can_do(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.recommends = False
    app = console()
    async with running(app) as pilot:
        await pressed(pilot, "a")
        assert "by hand: " in shown(app)
        await pressed(pilot, "enter")
        assert isinstance(app.screen, Palette)


async def test_after_the_last_action_the_proof_says_that_the_station_is_back(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.after = None
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await confirmed(pilot, PLAN.confirmation)
        assert engine.recovered is not None
        sentence = engine.recovered.sentence
        await until(pilot, lambda: sentence in shown(app))


async def test_the_filter_is_empty_and_the_list_is_new_after_an_action(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        app.arm()
        await pressed(pilot, "a", *"resto", "enter")
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        await pressed(pilot, "escape")
        assert isinstance(app.screen, Palette)
        assert "> resto" not in shown(app)
        assert "type to filter" in shown(app)
        assert "capture-evidence" in shown(app)


async def test_a_letter_of_a_phrase_never_ends_operate_mode_where_nothing_can_be_confirmed(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    engine.alive = True
    app = console()
    async with running(app) as pilot:
        app.arm()
        await at_plan(pilot)
        await pilot.press("o", "o")
        await settled(pilot)
        assert app.armed_for > 0
        assert isinstance(app.screen, PlanScreen)
        await pressed(pilot, "f2")
        assert app.armed_for == 0


async def test_dashboard_and_palette_name_the_same_next_step(console: MakeApp, engine: ScriptedEngine) -> None:
    app = console()
    async with running(app) as pilot:
        assert "next 1 freeze-writer (a)" in shown(app).splitlines()[0]
        assert "fix restore-sequencer" in shown(app)
        app.arm()
        await at_plan(pilot)
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "next  4 start-server" in shown(app))
        assert f"it applies the {BACK} that wait" in shown(app)


@pytest.mark.parametrize("way", ["next", "next at once", "back", "back to the dashboard"])
async def test_after_an_action_the_palette_stands_on_the_table_of_the_next_step(
    console: MakeApp, engine: ScriptedEngine, way: str
) -> None:
    """Not on the one that was just brought back, nor on the one that was chosen for it, nor where the dashboard is."""
    engine.after = FirstStep("capture-evidence", "market_trades", "nothing of it has been put aside")
    app = console()
    async with running(app) as pilot:
        app.arm()
        await pressed(pilot, "a", "right", "right", *"resto", "enter")
        await until(pilot, lambda: PLAN.confirmation in shown(app))
        if way == "next at once":
            engine.looks.clear()
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app), still=False)
        engine.judged.clear()
        match way:
            case "next at once":
                await pilot.press("a")
                await until(pilot, lambda: isinstance(app.screen, Palette), still=False)
                engine.looks.set()
            case "next":
                await until(pilot, lambda: "next  3 capture-evidence" in shown(app))
                await pressed(pilot, "a")
            case "back":
                await pressed(pilot, "escape")
            case _:
                await pressed(pilot, "escape", "escape", "a")
        await until(pilot, lambda: isinstance(app.screen, Palette) and "recommended now" in shown(app))
        assert engine.judged[-1] == "market_trades"


async def test_a_table_that_was_chosen_stays_chosen_after_a_look_at_a_plan(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    app = console()
    async with running(app) as pilot:
        await pressed(pilot, "a")
        assert engine.judged == ["market_orderbook"]
        await pressed(pilot, "right", *"resto", "enter", "escape")
        assert isinstance(app.screen, Palette)
        assert engine.judged == ["market_orderbook", "market_trades", "market_trades"]
