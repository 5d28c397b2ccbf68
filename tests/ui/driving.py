"""Ways that the tests of the flows share: to the plan of the recommended action, through a confirmation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from console.app import ConsoleApp
from screens.plan import PlanScreen
from tests.ui import samples
from tests.ui.captured import DONE_ENTRY, RECOVERED_JOURNAL
from tests.ui.showing import settled, typed

_SHOWN = [line.entry for line in RECOVERED_JOURNAL.lines]
DOWN_TO_RESTORED = ("down",) * _SHOWN.index(DONE_ENTRY.id)  # from the journal's newest entry


@asynccontextmanager
async def running(app: ConsoleApp, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[int]]:
    """Run `app` on the station in the incident."""
    async with app.run_test(size=size) as pilot:
        app.take(*samples.incident())
        await settled(pilot)
        yield pilot


async def at_plan(pilot: Pilot[int]) -> PlanScreen:
    """Go to the plan of the recommended action."""
    await pressed(pilot, "a", "enter")
    screen = pilot.app.screen
    assert isinstance(screen, PlanScreen)
    return screen


async def pressed(pilot: Pilot[int], *keys: str) -> None:
    """Press keys, each once the one before has done its work."""
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


async def confirmed(pilot: Pilot[int], phrase: str) -> None:
    """Type a phrase and Enter."""
    await typed(pilot, phrase)
    await pressed(pilot, "enter")
