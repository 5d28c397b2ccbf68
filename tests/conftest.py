"""What all tests share: the umask (some run servers and readers as another user), and how examples are made."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is; what fails is printed so that it can be repeated.
settings.register_profile("walmedic", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("walmedic")

_UMASK = 0o022
os.umask(_UMASK)


@pytest.fixture(autouse=True)
def the_usual_umask() -> Iterator[None]:
    """Undo what a command does to its process: it keeps all files that it makes to its user."""
    yield
    os.umask(_UMASK)
