"""The operator's way back by keys alone at 80x24 on the real station: widgets, workers, processes, all real."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.settings import Settings
from console.station.build import Station
from screens.dashboard import Dashboard
from screens.execution import Execution
from screens.palette import Palette
from screens.plan import PlanScreen
from tests.real.incident_steps import STEPS, all_is_back
from tests.ui.showing import shown, typed


@pytest.mark.faults  # by keys in tmux, tests/real/test_console_tmux.py does the same in every run
async def test_the_incident_is_brought_back_by_keys(incident_station: Station) -> None:
    settings = incident_station.settings()
    async with _console(settings) as (pilot, app):
        await _until(pilot, lambda: "6,359 rows at risk" in shown(app), 60)
        assert "OBSERVE" in shown(app).splitlines()[1]
        assert "BROKEN  market_trades" in shown(app)
        await pilot.press("o")
        await _until(pilot, lambda: "operate" in shown(app))
        await typed(pilot, "operate")
        await pilot.press("enter")
        await _until(pilot, lambda: "OPERATE" in shown(app).splitlines()[1])
        for action, table, phrase in STEPS:
            await _by_keys(pilot, app, action, table, phrase)
        await _until(pilot, lambda: shown(app).count("✓ healthy") == 2, 60)
        assert "at risk" not in shown(app)
    all_is_back(incident_station)


async def _by_keys(pilot: Pilot[int], app: ConsoleApp, action: str, table: str | None, phrase: str) -> None:
    """Open the palette, choose table and action, read the plan, type its phrase, watch it to its proof, go back."""
    await pilot.press("a")
    await _until(pilot, lambda: isinstance(app.screen, Palette) and action in shown(app), 60)
    while table is not None and _chosen_table(app) != table:
        await pilot.press("right")
        await _until(pilot, lambda: action in shown(app))
    await typed(pilot, action)
    await pilot.press("enter")
    await _until(pilot, lambda: isinstance(app.screen, PlanScreen) and f"Type  {phrase}" in shown(app), 60)
    await typed(pilot, phrase)
    await pilot.press("enter")
    await _until(pilot, lambda: isinstance(app.screen, Execution), 60)
    await _until(pilot, lambda: _result(app) is not None, 180)
    result = _result(app)
    assert result.outcome.value == "done", f"{action}: {result}"
    assert all(claim.ok for claim in result.verification), result
    while not isinstance(app.screen, Dashboard):
        await pilot.press("escape")


def _chosen_table(app: ConsoleApp) -> str | None:
    assert isinstance(app.screen, Palette)
    return app.screen._table


def _result(app: ConsoleApp) -> Any:
    screen = app.screen
    assert isinstance(screen, Execution), f"{screen} shows:\n{shown(app)}"
    assert screen.view is None or not screen.view.error, screen.view
    return screen.view.result if screen.view is not None else None


@asynccontextmanager
async def _console(settings: Settings) -> AsyncIterator[tuple[Pilot[int], ConsoleApp]]:
    app = ConsoleApp(settings)
    async with app.run_test(size=(80, 24)) as pilot:
        yield pilot, app


async def _until(pilot: Pilot[int], condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let the console work until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, shown(pilot.app)
        await asyncio.sleep(0.05)
        await pilot.pause()
