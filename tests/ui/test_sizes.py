"""Every size from 60x15 on shows verdict, next step, plan and proof; below that no key does anything."""

import pytest

from screens.dashboard import Dashboard
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.driving import at_plan, confirmed, pressed, running
from tests.ui.scripted import PLAN, ScriptedEngine
from tests.ui.showing import settled, shown, until

SIZES = [(60, 15), (80, 20), (80, 23), (100, 23), (80, 24), (120, 40), (200, 50)]
by_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@by_size
async def test_from_the_verdict_to_the_proof(console: MakeApp, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = console()
    async with running(app, size) as pilot:
        text = shown(app)
        assert "✗ 2 of 2" in text.splitlines()[0]
        assert "next 1 freeze" in text
        assert text.count("✗ BROKEN") == 2
        app.arm()
        await at_plan(pilot)
        text = shown(app)
        assert "LOST" in text
        assert f"{PLAN.rows_back:,}" in text
        assert PLAN.confirmation in text
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        await until(pilot, lambda: "next  4 start-server" in shown(app))


@pytest.mark.parametrize("size", [(59, 24), (80, 14)], ids=str)
async def test_keys_do_nothing_on_a_screen_that_cannot_be_seen(
    console: MakeApp, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = console()
    async with running(app) as pilot:
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert "This terminal is too small." in shown(app)
        await pressed(pilot, "s", "enter", "a", "enter", "q")
        assert app.is_running
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert isinstance(app.screen, Dashboard)
    assert engine.planned == []


async def test_operate_mode_is_renewed_by_a_confirmed_action_and_says_when_it_ends(
    console: MakeApp, engine: ScriptedEngine
) -> None:
    clock = [samples.CLOCK]
    app = console(monotonic=lambda: clock[0])
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        app.take(*samples.incident())
        app.arm()
        await at_plan(pilot)
        clock[0] += 500
        await confirmed(pilot, PLAN.confirmation)
        await until(pilot, lambda: "DONE AND VERIFIED" in shown(app))
        assert app.armed_for == pytest.approx(600)
        clock[0] += 601
        app._tick()
        await settled(pilot)
        assert any("Operate mode has ended" in note.message for note in app._notifications)


async def test_a_key_that_does_nothing_says_so(console: MakeApp) -> None:
    app = console()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        app.take(*samples.incident())
        await pressed(pilot, "x")
        assert any("x does nothing here" in note.message for note in app._notifications)
