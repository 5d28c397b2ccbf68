"""Real parts for the real tests: a QuestDB to run, and the demo station broken as in the incident."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.recovery.server.jvm import ServerBinary
from console.station import downloads
from console.station.build import Station, station
from console.station.scenario import Scenario
from tests.unhurried import unhurried


@pytest.fixture(scope="session")
def questdb() -> ServerBinary:
    """QuestDB 9.1.0 and a Java, fetched once; the workers of a parallel run wait for each other."""
    return downloads.questdb_binary()


@pytest.fixture(scope="module")
def incident_station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A station in the incident's end state, one for each test module: what a module recovers is its own.

    Building takes about 16 seconds. `incident_station.settings()` is what the console would load.
    """
    directory: Path = tmp_path_factory.mktemp("station")
    with station(Scenario.INCIDENT, directory=directory) as built:
        yield built


@pytest.fixture(scope="module")
def workshop(memory: Path) -> Iterator[Path]:
    """A folder for tables that are repaired with no server on them: nothing that only one would do is waited for."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        unhurried(monkeypatch)
        yield memory
