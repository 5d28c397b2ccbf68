"""One station of the incident for all modules here: those that leave it as it is, then the recovery.

Building it costs as much as fifteen starts of a server. One worker runs the modules of this folder (see the scheduler
in `tests/conftest.py`), in this order; each can be run alone too.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.station.build import Station, station
from console.station.scenario import Scenario

_ORDER = (
    "test_station.py", "test_interface.py", "test_secrets.py", "test_options.py", "test_observing.py",
    "test_recovery.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these modules before all others, which fill what time is left beside them, the recovery last."""
    here = Path(__file__).parent
    items.sort(key=lambda item: _ORDER.index(item.path.name) if item.path.parent == here else len(_ORDER))


@pytest.fixture(scope="package")
def incident_station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """The station; who changes it puts it right again, but for the recovery."""
    with station(Scenario.INCIDENT, directory=tmp_path_factory.mktemp("station")) as built:
        yield built
