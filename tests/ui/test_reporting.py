"""Timeline and bundle on the screen: read in a thread, previewed, written only when asked, errors in their words."""

import asyncio
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from screens.bundle import BundleScreen
from screens.timeline import Timeline
from tests.ui import reporting
from tests.ui.conftest import MakeApp
from tests.ui.reporting import ScriptedDesk
from tests.ui.showing import settled, shown

Snap = Callable[..., bool]
by_size = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


async def test_the_keys_open_both_and_the_archive_is_real(console: MakeApp, tmp_path: Path) -> None:
    settings, _ = reporting.station(tmp_path)
    app = console(settings=settings)
    async with app.run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await pilot.press("t")
        await settled(pilot)
        assert "3 crashes, one cause" in shown(app)
        assert "altered: log-max-txn-past-end" in shown(app)
        await pilot.press("s")
        await settled(pilot)
        reports = list((settings.state_path / "reports").glob("*.md"))
        assert [path.read_text()[:17] for path in reports] == ["# Incident report"]
        await pilot.press("s")
        await settled(pilot)
        assert "exists already and is not overwritten" in shown(app).replace("\n", " ")
        await pilot.press("escape")
        await pilot.press("s")
        await settled(pilot)
        assert "nothing is written yet" in shown(app)
        assert not (settings.state_path / "bundles").exists()
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        written = list((settings.state_path / "bundles").glob("*.tar.gz"))
        assert len(written) == 1
        assert "written" in shown(app)
        with tarfile.open(written[0]) as tar:
            assert tar.getnames()[0].endswith("/report.md")


async def test_what_fails_is_reported_and_what_was_known_stays(console: MakeApp, tmp_path: Path) -> None:
    known = await asyncio.to_thread(reporting.before, tmp_path / "a")
    desk = ScriptedDesk(known, await asyncio.to_thread(reporting.bundle, tmp_path / "b"))
    app = console()
    async with app.run_test(size=(100, 30)) as pilot:
        app.push_screen(Timeline(desk))
        await settled(pilot)
        desk.error = "the state directory cannot be written; name another with --state-dir"
        await pilot.press("s")
        await settled(pilot)
        assert "the state directory cannot be written" in shown(app)
        assert "3 crashes" in shown(app)
        await pilot.press("escape")
        app.push_screen(BundleScreen(desk))
        await settled(pilot)
        assert "the state directory cannot be written" in shown(app)
        await pilot.press("enter")
        desk.error = ""
        await pilot.press("r")
        await settled(pilot)
        assert "report.md" in shown(app)
        assert desk.saved == []


async def test_the_whole_timeline_can_be_read_on_a_small_screen(console: MakeApp, tmp_path: Path) -> None:
    app = console()
    known = await asyncio.to_thread(reporting.after, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(Timeline(ScriptedDesk(known)))
        await settled(pilot)
        seen = ""
        for _ in range(6):
            seen += shown(app)
            await pilot.press("pagedown")
            await settled(pilot)
        for event in known.events:
            assert event.what.split(":")[0] in seen
        assert "nothing is left to do" in seen


@by_size
def test_timeline(snap_compare: Snap, console: MakeApp, tmp_path: Path, size: tuple[int, int]) -> None:
    """Before anything was done: the crashes, when the file changed, when the copy appeared, what is left."""
    assert snap_compare(
        console(), terminal_size=size, run_before=_on(Timeline(ScriptedDesk(reporting.before(tmp_path))))
    )


def test_timeline_recovered(snap_compare: Snap, console: MakeApp, tmp_path: Path) -> None:
    """Afterwards: actions with rows back and lost, nothing left to do, the report saved."""
    screen = Timeline(ScriptedDesk(reporting.after(tmp_path)))
    assert snap_compare(console(), terminal_size=(120, 40), run_before=_on(screen, "s"))


@by_size
def test_bundle_preview(snap_compare: Snap, console: MakeApp, tmp_path: Path, size: tuple[int, int]) -> None:
    """What would be in it, what was taken out, what is missing, where to take it."""
    screen = BundleScreen(ScriptedDesk(made=reporting.bundle(tmp_path)))
    assert snap_compare(console(), terminal_size=size, run_before=_on(screen))


def test_bundle_written(snap_compare: Snap, console: MakeApp, tmp_path: Path) -> None:
    """Where it is, and its hash."""
    screen = BundleScreen(ScriptedDesk(made=reporting.bundle(tmp_path)))
    assert snap_compare(console(), run_before=_on(screen, "enter"))


def _on(screen: Timeline | BundleScreen, *keys: str) -> Callable[[Pilot[int]], object]:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        pilot.app.push_screen(screen)
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)

    return before
