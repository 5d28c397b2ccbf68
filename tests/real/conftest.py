"""Real parts for the real tests: a QuestDB to run, and the demo station broken as in the incident."""

import pytest

from console.recovery.private_server import ServerBinary
from console.station import downloads


@pytest.fixture(scope="session")
def questdb() -> ServerBinary:
    """QuestDB 9.1.0 and a Java, fetched once; the workers of a parallel run wait for each other."""
    return downloads.questdb_binary()
