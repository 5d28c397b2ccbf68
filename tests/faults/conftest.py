"""The broken database, built once for all workers of a run, and a fresh copy of it with evidence for every test."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.diagnosis.server.open_files import FileUsers
from console.recovery.engine import Engine
from console.recovery.gate import policy
from console.recovery.server.jvm import ServerBinary
from console.station import downloads
from tests.faults.broken_database import build, captured, tree_of
from tests.faults.power_case import Case
from tests.faults.vault import Vault

_MEMORY = Path("/dev/shm")
_ENOUGH = 2 << 30  # of which 10 % stay free


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: kill -9 loses no page of a file, and thousands of cases sync theirs."""
    try:
        status = os.statvfs(_MEMORY)
    except OSError:
        yield tmp_path
        return
    if status.f_bavail * status.f_frsize < _ENOUGH:
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="walmedic-faults-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


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


@pytest.fixture
def case(master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A copy of the broken database, and a disk to lose power."""
    # Not asked for each plan of each state: the kernel's answer takes as long as the machine is busy.
    monkeypatch.setattr(policy, "users_of", lambda directory: FileUsers((), ()))
    seed = random.randrange(1 << 30)
    top = tmp_path / "disk"
    shutil.copytree(master, top / "root")
    return Case(top, Vault(top, tmp_path / "vault"), random.Random(seed), seed, {"before": tree_of(master)})
