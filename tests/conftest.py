"""What all tests share: the umask. Some run servers and readers as another user, who must be able to read files."""

import os
from collections.abc import Iterator

import pytest

_UMASK = 0o022
os.umask(_UMASK)


@pytest.fixture(autouse=True)
def the_usual_umask() -> Iterator[None]:
    """Undo what a command does to its process: it keeps all files that it makes to its user."""
    yield
    os.umask(_UMASK)
