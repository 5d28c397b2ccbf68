"""The browser opened on a small damaged database, for its tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen

from console.app import ConsoleApp
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings, Settings
from console.widgets.hex_view import HexView
from screens.browser import Browser
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.showing import settled, typed


@asynccontextmanager
async def browsing(
    console: MakeApp, settings: Settings, database: DatabaseRoot, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Pilot[int], ConsoleApp]]:
    """Open the browser on `database`, with what the diagnosis says of it."""
    from console.diagnosis.database import diagnose

    app = console(settings=replace(settings, questdb=QuestDBSettings(db_root=str(database.root))))
    async with app.run_test(size=size) as pilot:
        app.take(samples.sample("tables", diagnose(database)))
        await pilot.press("b")
        await settled(pilot)
        assert isinstance(app.screen, Browser)
        yield pilot, app


def on_top(app: ConsoleApp) -> type[Screen[Any]]:
    """Return what kind of screen is on top."""
    return type(app.screen)


async def to_log(pilot: Pilot[int]) -> HexView:
    """Open the damaged log by going to the first finding that names a file."""
    await pilot.press("n")
    await settled(pilot)
    return pilot.app.screen.query_one(HexView)


async def go_to(pilot: Pilot[int], place: str) -> None:
    """Go to an offset or a transaction, as it is typed."""
    await pilot.press("g")
    await typed(pilot, place)
    await pilot.press("enter")
    await settled(pilot)
