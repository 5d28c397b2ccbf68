"""The captured database of both log formats, writable, one copy for each test."""

from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from tests.data.samples import sample_database


@pytest.fixture
def v1(tmp_path: Path) -> DatabaseRoot:
    """A copy of the sample whose logs are V1."""
    return sample_database("v1", tmp_path.resolve() / "v1")


@pytest.fixture
def v2(tmp_path: Path) -> DatabaseRoot:
    """A copy of the sample whose logs are V2, three records to a part."""
    return sample_database("v2", tmp_path.resolve() / "v2")
