"""What all tests share: the umask (some run servers as another user), how examples are made, which worker runs what."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from console.recovery.store.places import free_space

# How long an example takes says how busy the machine is; what fails is printed so that it can be repeated.
settings.register_profile("walmedic", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("walmedic")

gc.set_threshold(100_000, 50, 100)  # a tenth of what the tests' own processes do is looking for garbage otherwise

_SHARED = "tests/real/incident/"


class StationScheduling(LoadFileScheduling):  # type: ignore[misc]
    """A file's tests run on one worker; so do those of a folder whose modules share a station."""

    def _split_scope(self, nodeid: str) -> str:
        return _SHARED if nodeid.startswith(_SHARED) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> StationScheduling:
    """Give xdist our scheduling, however many workers there are."""
    return StationScheduling(config, log)


_ROOM = 4 << 30  # bytes; a whole run takes three quarters of that


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to begin where repairs would be refused: one sentence in place of hundreds of failures."""
    place = Path(tempfile.gettempdir())
    free, reserve = free_space(place)
    if not hasattr(session.config, "workerinput") and free < reserve + _ROOM:
        raise pytest.UsageError(
            f"{place} has {free >> 20} MiB free; the tests take up to {_ROOM >> 20} MiB, and no repair begins where "
            f"less than {reserve >> 20} MiB stay free: make room, or name a directory on another disk in TMPDIR"
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Let each worker remove what it made, gigabytes: the first process would, one after the other, at the end."""
    if hasattr(session.config, "workerinput") and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(session.config.option.basetemp, ignore_errors=True)


_MEMORY = Path("/dev/shm")
_ROOM_IN_MEMORY = 6 << 30


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is room, for modules that repair many tables: each step syncs its files."""
    folder = tmp_path_factory.mktemp("memory")
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_IN_MEMORY:
        folder = Path(tempfile.mkdtemp(prefix="walmedic-tests-", dir=_MEMORY))
    yield folder.resolve()
    if not os.environ.get("WALMEDIC_KEEP"):
        shutil.rmtree(folder, ignore_errors=True)


_UMASK = 0o022
os.umask(_UMASK)


@pytest.fixture(autouse=True)
def the_usual_umask() -> Iterator[None]:
    """Undo what a command does to its process: it keeps all files that it makes to its user."""
    yield
    os.umask(_UMASK)
