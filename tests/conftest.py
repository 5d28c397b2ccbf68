"""What all tests share: a test that runs a command in this process leaves the next one its rights to new files."""

import os
from collections.abc import Iterator

import pytest

_UMASK = os.umask(0o022)
os.umask(_UMASK)


@pytest.fixture(autouse=True)
def the_umask_is_given_back() -> Iterator[None]:
    """Undo what a command does to its process: it keeps all files that it makes to its user."""
    yield
    os.umask(_UMASK)
