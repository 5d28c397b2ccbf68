"""A QuestDB that a real manager runs, killed by a real SIGSEGV while it is watched: the crash log, its process, and the
start that followed are one story."""

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from console.probes.aftermath import Aftermath, aftermath
from console.probes.contents import UnitSample, UnitState
from console.probes.crashes import CrashesProbe
from console.probes.scheduler import read_once
from console.probes.services import ServicesProbe
from console.probes.state import StationState
from console.recovery.server.jvm import ServerBinary, server_command
from console.recovery.server.private_server import free_ports
from console.settings import QuestDBSettings, Role, ServicesSettings, Settings, Unit
from tests.real.supervisord import Supervisord
from tests.real.systemd_user import SystemdUser
from tests.real.waiting import until

_START = 120.0  # seconds for a JVM on a busy machine, to end and to start


def prepared(root: Path, binary: ServerBinary) -> str:
    """Make a data root and return the command line of its server, as both managers read it (`%%` is one `%`)."""
    http, pg = free_ports(2)
    (root / "conf").mkdir(parents=True)
    (root / "conf/server.conf").write_text(
        f"http.bind.to=127.0.0.1:{http}\nhttp.net.bind.to=127.0.0.1:{http}\nhttp.min.enabled=false\n"
        f"pg.net.bind.to=127.0.0.1:{pg}\nline.tcp.enabled=false\ntelemetry.enabled=false\n"
    )
    (root / "db").mkdir()
    # without container support: Java 17 looks for its control group where the test's own namespace hides it
    command = server_command(binary, root, heap=256 << 20, options=("-XX:-UseContainerSupport",))
    return shlex.join(command).replace("%", "%%")


@pytest.fixture
def under_supervisord(tmp_path: Path, questdb: ServerBinary) -> Iterator[Settings]:
    root = tmp_path / "root"
    command = prepared(root, questdb)
    running = Supervisord(tmp_path, f"[program:questdb]\ncommand={command}\nautorestart=true\nstartsecs=1\n")
    running.start()
    units = (Unit("questdb", Role.DATABASE),)
    services = ServicesSettings("supervisor", str(running.socket), units)
    yield Settings(questdb=QuestDBSettings(str(root)), services=services)
    running.stop()


@pytest.fixture
def under_systemd(tmp_path: Path, questdb: ServerBinary, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    root = tmp_path / "root"
    command = prepared(root, questdb)
    manager = SystemdUser(tmp_path)
    manager.start()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(manager.run))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    manager.write(
        manager.units,
        "questdb.service",
        f"ExecStart={command}\nRestart=always\nRestartSec=500ms",
        "StartLimitIntervalSec=0",
    )
    assert manager.systemctl("start", "questdb").returncode == 0
    units = (Unit("questdb.service", Role.DATABASE),)
    yield Settings(questdb=QuestDBSettings(str(root)), services=ServicesSettings("systemd-user", units=units))
    manager.stop()


class Watcher:
    """Reads services and crashes as the console does, and keeps what it said of the last crash."""

    def __init__(self, settings: Settings) -> None:
        self._probes = ServicesProbe(settings), CrashesProbe(settings)
        self.state = StationState()
        self.message: list[Aftermath] = []

    async def look(self) -> None:
        for probe in self._probes:
            self.state = self.state.taking(await read_once(probe))
        found = aftermath(self.state)
        if found is not None and (not self.message or self.message[-1] != found):
            self.message.append(found)

    @property
    def unit(self) -> UnitSample:
        assert self.state.services.data is not None, self.state.services.error
        return self.state.services.data.units[0]

    async def until_up(self, other_than: int | None = None) -> int:
        """Watch until the service runs, as another process where one is named."""
        deadline = time.monotonic() + _START
        while True:
            await self.look()
            if self.unit.state is UnitState.UP and self.unit.pid not in (None, other_than):
                assert self.unit.pid is not None
                return self.unit.pid
            assert time.monotonic() < deadline, (self.unit, self.message)
            await asyncio.sleep(0.1)


async def until_it_listens(pid: int) -> None:
    """Wait until the server listens: a crash while it makes its own tables can keep it from starting for a while."""
    await asyncio.to_thread(until, lambda: bool(psutil.Process(pid).net_connections("tcp")), "it listens", _START)


@pytest.mark.parametrize("manager", ["under_supervisord", "under_systemd"])
async def test_the_crash_is_tied_to_the_start_that_followed(manager: str, request: pytest.FixtureRequest) -> None:
    settings: Settings = request.getfixturevalue(manager)
    watcher = Watcher(settings)
    pid = await watcher.until_up()
    await until_it_listens(pid)
    await watcher.look()
    assert watcher.message == []
    name = settings.services.units[0].name
    for number in (1, 2):
        os.kill(pid, signal.SIGSEGV)
        after = await watcher.until_up(other_than=pid)
        crashes = watcher.state.crashes.data
        assert crashes is not None
        assert (crashes.total, crashes.last_pid) == (number, pid)
        assert sum(cause.count for cause in crashes.causes) == number
        assert all(cause.title.startswith("SIGSEGV") for cause in crashes.causes)
        last = watcher.message[-1]
        assert last.message.startswith(f"pid {pid} crashed; {name} started again after ")
        assert last.message.endswith(f" as pid {after}, restart {number}")
        assert (last.up, last.certain) == (True, True)
        assert (watcher.unit.restarts, watcher.unit.result) == (number, "SIGABRT")
        pid = after
        await until_it_listens(pid)


async def test_a_kill_without_a_crash_log_is_no_crash(under_supervisord: Settings) -> None:
    """SIGKILL leaves no log: the restart is counted, and tied to nothing."""
    watcher = Watcher(under_supervisord)
    pid = await watcher.until_up()
    os.kill(pid, signal.SIGKILL)
    await watcher.until_up(other_than=pid)
    assert watcher.message == []
    assert watcher.unit.restarts == 1
    assert watcher.unit.result == "SIGKILL"
