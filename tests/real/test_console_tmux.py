"""The built wheel, installed, in a tmux pane, driven by keys as over SSH: stations brought back by what is highlighted.

The pane of 80x23 is what a terminal of 80x24 leaves beside tmux's status line.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.station.build import Station, station
from console.station.scenario import Scenario
from tests import wheel
from tests.real.incident_steps import all_is_back
from tests.real.tmux_pane import Pane, brought_back

SIZES = [(80, 23), (80, 24), (120, 40), (200, 50)]
by_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@pytest.fixture
def pane(incident_station: Station, tmp_path: Path) -> Iterator[Pane]:
    """The console of the wheel on the broken station."""
    command = wheel.install(wheel.build(tmp_path), tmp_path / "installed")
    opened = Pane([str(command), "--config", str(incident_station.layout.settings_file)], tmp_path, (80, 23))
    yield opened
    opened.close()


@contextmanager
def console_on(scenario: Scenario, folder: Path, size: tuple[int, int]) -> Iterator[tuple[Station, Pane]]:
    """Give a station of its own and the console on it."""
    with station(scenario, directory=folder / "station") as built:
        opened = Pane([sys.executable, "-m", "console", "--config", str(built.layout.settings_file)], folder, size)
        try:
            opened.until(lambda s: "BROKEN" in s and "next 1 " in s)
            yield built, opened
        finally:
            opened.close()


def test_the_incident_is_brought_back_by_keys_in_tmux(pane: Pane, incident_station: Station) -> None:
    """By the highlighted step alone: `a`, Enter, the phrase that is shown, Enter; no step twice, at most seven."""
    screen = pane.until(lambda s: "6,359 rows at risk" in s)
    assert "OBSERVE" in screen.splitlines()[1]
    phrases = brought_back(pane, "The station is back: 6,359 rows recovered, 0 lost", most=7)
    assert phrases[0] == "freeze-writer demo"
    all_is_back(incident_station)


@pytest.mark.faults
@by_size
def test_the_incident_is_brought_back_by_what_is_highlighted(tmp_path: Path, size: tuple[int, int]) -> None:
    with console_on(Scenario.INCIDENT, tmp_path, size) as (built, opened):
        phrases = brought_back(opened, "The station is back: 6,359 rows recovered, 0 lost", most=7)
        assert phrases[0] == "freeze-writer demo"
        all_is_back(built)


@pytest.mark.faults
@by_size
def test_a_crash_loop_is_brought_back_by_what_is_highlighted(tmp_path: Path, size: tuple[int, int]) -> None:
    """The server is up and down all the time: the highlighted step stays, and evidence is taken once."""
    with console_on(Scenario.CRASH_LOOP, tmp_path, size) as (built, opened):
        phrases = brought_back(opened, "The station is back", most=9)
        assert phrases.count("capture-evidence demo") == 1
        assert phrases.count("stop-server demo") == 1
        all_is_back(built)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [(80, 23), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_power_loss_is_brought_back_by_keys_in_tmux(tmp_path: Path, size: tuple[int, int]) -> None:
    """Six damages of two tables, by the highlighted step alone; the phrases say what is lost."""
    with console_on(Scenario.POWER_LOSS, tmp_path, size) as (built, opened):
        lost, values = built.facts("market_orderbook").rows_lost, built.facts("market_trades").values_lost
        phrases = brought_back(opened, f"{lost:,} lost", most=11)
        assert sorted(phrase for phrase in phrases if " lose " in phrase and not phrase.endswith(" lose 0")) == [
            f"market_orderbook lose {lost}", f"market_trades lose 0 rows and {values} values",
        ]  # fmt: skip
        all_is_back(built)
