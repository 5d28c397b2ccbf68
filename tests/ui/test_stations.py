"""Several stations from one settings directory: the list, and the console that goes to another."""

from dataclasses import replace
from pathlib import Path

import pytest

from console import settings as settings_module
from console.settings import Settings
from screens.dashboard import Dashboard
from screens.stations import Stations
from tests.ui.conftest import MakeApp
from tests.ui.driving import pressed, running
from tests.ui.showing import shown


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "stations"
    folder.mkdir()
    for name in ("london", "tokyo"):
        (folder / f"{name}.toml").write_text(f'station = "{name}"\n[questdb]\ndb_root = "/srv/{name}"\n')
    (folder / "broken.toml").write_text("station = [")
    return folder


async def test_the_console_goes_to_another_station(console: MakeApp, settings: Settings, directory: Path) -> None:
    app = console(settings=replace(settings, file=str(directory / "london.toml")))
    async with running(app) as pilot:
        await pressed(pilot, "S")
        assert isinstance(app.screen, Stations)
        text = shown(app)
        assert "london" in text
        assert "/srv/tokyo" in text
        assert "broken.toml" in text
        await pressed(pilot, "down", "enter")
    assert app.chosen == directory / "tokyo.toml"


async def test_the_station_that_is_shown_is_no_change(console: MakeApp, settings: Settings, directory: Path) -> None:
    app = console(settings=replace(settings, file=str(directory / "tokyo.toml")))
    async with running(app) as pilot:
        await pressed(pilot, "S", "enter")
        assert isinstance(app.screen, Dashboard)
    assert app.chosen is None


def test_a_directory_of_settings_opens_its_first_station(directory: Path) -> None:
    (directory / "broken.toml").unlink()
    settings = settings_module.load(directory, environment={})
    assert (settings.station, settings.file) == ("london", str(directory / "london.toml"))
