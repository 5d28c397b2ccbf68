"""Lists in other orders, services held on purpose, and settings that are read again when their file changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.errors import WalmedicError
from console.probes.contents import UnitState
from console.recovery.model import FirstStep
from console.recovery.next_steps.way import Standing, Walked, way_of
from console.settings import Settings, SettingsError, load
from console.settings_file import SettingsFile
from console.widgets.pane import Pane
from screens.dashboard import Dashboard
from tests.ui import captured, samples
from tests.ui.conftest import MakeApp
from tests.ui.driving import pressed, running
from tests.ui.showing import settled, shown, until


def _at(text: str, *names: str) -> list[int]:
    """Return where names stand below the header."""
    below = text.split("\n", 2)[2]
    return [below.index(name) for name in names]


async def test_tables_and_services_are_sorted_by_a_key(console: MakeApp) -> None:
    app = console()
    async with running(app, (120, 40)) as pilot:
        await pressed(pilot, "z")
        text = shown(app)
        assert "by name, files" in text
        assert _at(text, "market_orderbook ", "market_trades ") == sorted(
            _at(text, "market_orderbook ", "market_trades ")
        )
        await pressed(pilot, "z", "z", "z")
        assert "by name" not in shown(app)
        await pressed(pilot, "3", "z", "z")
        text = shown(app)
        assert "by name, now" in text
        names = sorted(unit.name for unit in captured.INCIDENT_SERVICES.units)
        assert _at(text, *(f" {name} " for name in names)) == sorted(_at(text, *(f" {name} " for name in names)))
        await pressed(pilot, "down", "enter")
        await until(pilot, lambda: names[1] in shown(app).splitlines()[2])


async def test_a_service_that_a_step_has_stopped_is_held_and_no_alarm(console: MakeApp) -> None:
    app = console()
    units = tuple(
        replace(unit, state=UnitState.DOWN) if unit.role == "writer" else unit
        for unit in captured.INCIDENT_SERVICES.units
    )
    async with running(app) as pilot:
        app.take(samples.sample("services", replace(captured.INCIDENT_SERVICES, units=units)))
        await settled(pilot)
        assert "✗ DOWN batch-writer" in shown(app)
        frozen = Standing(True, False, (Walked("freeze-writer", None, samples.NOW),))
        app.take_way(way_of(samples.INCIDENT, FirstStep("stop-server", None, ""), frozen))
        await settled(pilot)
        assert "• held batch-writer" in shown(app)


def test_a_file_is_read_again_once_after_each_change(tmp_path: Path) -> None:
    file = tmp_path / "walmedic.toml"
    file.write_text('station = "one"\n')
    watched = SettingsFile(str(file), lambda: load(file, environment={}))
    assert watched.changed() is None
    file.write_text('station = "another"\nmouse = true\n')
    found = watched.changed()
    assert found is not None
    assert (found.station, found.mouse) == ("another", True)
    assert watched.changed() is None
    file.unlink()
    assert watched.changed() is None
    file.write_text("mouse = 3\n")
    with pytest.raises(SettingsError, match="mouse must be true or false"):
        watched.changed()
    assert watched.changed() is None  # said once


async def test_new_settings_are_taken_on_the_dashboard_and_unusable_ones_refused(
    console: MakeApp, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "walmedic.toml"
    file.write_text("# one\n")
    found: list[Settings | WalmedicError] = [replace(settings, station="renamed", file=str(file))]

    def reload() -> Settings:
        if isinstance(found[0], WalmedicError):
            raise found[0]
        return found[0]

    app = console(settings=replace(settings, file=str(file)), reload=reload)
    async with running(app) as pilot:
        await pressed(pilot, "a")
        file.write_text("# another one\n")
        app._look_at_settings()
        assert app.settings.station_name == settings.station_name  # not below an open screen
        await pressed(pilot, "escape")
        app._look_at_settings()
        await until(pilot, lambda: app.settings.station_name == "renamed")
        await until(pilot, lambda: "reading" in shown(app))  # nothing of the old station is shown any more
        assert isinstance(app.screen, Dashboard)
        found[0] = SettingsError("walmedic.toml: no such key")
        file.write_text("# a third one, longer\n")
        app._look_at_settings()
        await settled(pilot)
        assert any("Settings not read again" in note.message for note in app._notifications)
        assert app.settings.station_name == "renamed"


async def test_at_rest_the_panes_are_drawn_every_other_second(
    console: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes new is drawn at once."""
    drawn: list[str | None] = []
    monkeypatch.setattr(Pane, "show", lambda pane, view: drawn.append(pane.id))
    app = console()
    async with running(app):
        assert isinstance(app.screen, Dashboard)
        app.take()
        drawn.clear()
        counts = []
        for _ in range(4):
            app.screen.clock()
            counts.append(drawn.count("tables"))
        assert counts == [0, 1, 1, 2]
        app.take()
        assert drawn.count("tables") == 3
