"""The broken database, built once for all workers of a run, and a fresh copy of it with evidence for every test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.private_server import ServerBinary
from console.station import downloads
from tests.faults.broken_database import build, captured


@pytest.fixture(scope="session")
def questdb() -> ServerBinary:
    """QuestDB 9.1.0 and a Java, fetched once."""
    return downloads.questdb_binary()


@pytest.fixture(scope="session")
def master(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database as it was broken; never changed by a test."""
    root = tmp_path_factory.mktemp("master") / "root"
    root.mkdir()
    build(root, questdb)
    return root


@pytest.fixture
def root(master: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the broken database."""
    copy = tmp_path / "root"
    shutil.copytree(master, copy)
    yield copy
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def engine(root: Path, tmp_path: Path) -> Engine:
    """An engine on the copy, with evidence captured."""
    return captured(root, tmp_path / "state")
