"""What stands on the screen, and when it stands still."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.events import Key
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from console.app import ConsoleApp
from screens.frame import FramedScreen

_PATIENCE = 60.0  # seconds; a machine that builds other things at the same time is slow


def shown(app: App[Any]) -> str:
    """Return the screen as text, one line per row."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until all keys are worked off and the screen on top has what it asked of threads; no clock is trusted."""
    deadline = time.monotonic() + _PATIENCE
    quiet = 0
    while quiet < 3:
        assert time.monotonic() < deadline, f"{pilot.app.screen} still waits"
        app, screen = pilot.app, pilot.app.screen
        await handled(pilot)
        asks = isinstance(app, ConsoleApp) and app.guide.asking
        waits = asks or (isinstance(screen, FramedScreen) and screen.waits)
        quiet = 0 if waits or screen is not app.screen else quiet + 1
        if waits:
            await asyncio.sleep(0.01)
    await pilot.pause()


async def handled(pilot: Pilot[Any]) -> None:
    """Wait until the keys so far are worked off, not for what they asked of threads. An ended console has none."""
    # A key is the application's; what it asks comes back to the screen, and that lets held keys go on.
    for pump in (pilot.app, pilot.app.screen, pilot.app):
        if pilot.app.is_running:
            await _worked_off(pump)


async def _worked_off(pump: MessagePump) -> None:
    """Wait until all messages that `pump` has now are handled; one that is being closed handles none."""
    done = asyncio.Event()
    if pump.is_running and pump.call_later(done.set):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 2)


async def typed(pilot: Pilot[Any], text: str) -> None:
    """Type `text`, as the driver would bring it, by somebody who waits until the screen stands still."""
    await settled(pilot)
    for character in text:
        name = {" ": "space", "_": "underscore", "~": "tilde"}.get(character, character)
        pilot.app.post_message(Key(name, character))
    await settled(pilot)


async def until(pilot: Pilot[Any], condition: Callable[[], bool], *, still: bool = True) -> None:
    """Wait for messages until `condition` holds; with `still` also until nothing is waited for."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not come to that; the screen shows:\n{shown(pilot.app)}"
        if still:
            await settled(pilot)
        await asyncio.sleep(0.02)
