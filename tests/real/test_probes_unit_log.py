"""The log of a service, from a real journald and a real supervisord: the last lines, then each new one."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.probes.log_tail import LogLine
from console.probes.unit_log import journal, unit_log
from console.services.model import ServiceError
from console.services.supervisor import SupervisorControl
from console.settings import Role, ServicesSettings, Settings, Unit
from tests.real.supervisord import Supervisord
from tests.real.systemd_user import SystemdUser
from tests.real.waiting import until
from tests.ui.showing import shown

SAYS = (
    "for i in 1 2 3; do echo line $i; done; printf 'red \\033[31mnot\\377\\n'; while read x; do echo \"said $x\"; done"
)


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdUser]:
    folder = tmp_path_factory.mktemp("systemd")
    (folder / "journal").mkdir()
    manager = SystemdUser(folder, folder / "journal")
    manager.start()
    script, pipe = folder / "says", folder / "pipe"
    script.write_text(SAYS)
    os.mkfifo(pipe)
    manager.write(manager.units, "says.service", f"ExecStart=/bin/bash -c 'exec bash {script} <>{pipe}'")
    # journalctl does not see a directory that comes later
    until(lambda: any((folder / "journal").rglob("*.journal")), "journald writes", 60)
    yield manager
    manager.systemctl("stop", "says.service")
    manager.stop()


async def take(lines: AsyncIterator[LogLine], count: int) -> list[LogLine]:
    async with asyncio.timeout(20):
        return [await anext(lines) for _ in range(count)]


def wait_for_lines(log: Path, count: int) -> None:
    until(lambda: log.exists() and log.read_bytes().count(b"\n") >= count)


def followers() -> set[int]:
    """Return the journalctl processes of this one."""
    return {child.pid for child in psutil.Process().children() if child.name() == "journalctl"}


def follows() -> bool:
    """Return whether one of them has read what was there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return any("--follow" in psutil.Process(pid).cmdline() for pid in followers())
    return False


async def test_the_journal_from_its_last_lines_on(systemd: SystemdUser) -> None:
    """In its own control group namespace the manager's services look to journald like the system's."""
    assert systemd.journal is not None
    lines = journal("says.service", 200, directory=systemd.journal)
    first_lines = asyncio.create_task(take(lines, 4))  # of a unit that has said nothing yet
    await asyncio.to_thread(until, follows)
    assert systemd.systemctl("start", "says.service").returncode == 0
    first = await first_lines
    assert [line.text for line in first] == ["line 1", "line 2", "line 3", "red not�"]
    assert all(line.at is not None and line.at > 1e9 and line.priority == 6 for line in first)
    say(systemd, "hello")
    assert [line.text for line in await take(lines, 1)] == ["said hello"]
    assert followers()
    await lines.aclose()
    assert not followers()
    last = journal("says.service", 2, directory=systemd.journal)
    assert [line.text for line in await take(last, 2)] == ["red not�", "said hello"]
    say(systemd, "more")
    assert [line.text for line in await take(last, 1)] == ["said more"]
    await last.aclose()


def say(systemd: SystemdUser, line: str) -> None:
    (systemd.home.parent / "pipe").write_text(f"{line}\n")


async def on_screen(app: ConsoleApp, pilot: Pilot[int], *wanted: str) -> None:
    deadline = time.monotonic() + 30
    while not all(text in shown(app) for text in wanted):
        assert time.monotonic() < deadline, shown(app)
        await pilot.pause(0.05)


async def test_the_screen_follows_a_real_journal(systemd: SystemdUser) -> None:
    units = (Unit("says.service", Role.FEED),)
    settings = Settings(services=ServicesSettings("systemd-user", units=units))

    def follow(settings: Settings, unit: str) -> AsyncGenerator[LogLine, None]:
        return journal(unit, 200, directory=systemd.journal)

    assert systemd.systemctl("restart", "says.service").returncode == 0
    app = ConsoleApp(settings, sources=None, logs=follow)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("l")
        await on_screen(app, pilot, "log of says.service", "line 3", "red not")
        say(systemd, "an ERROR: flush\nhello again")
        await on_screen(app, pilot, "✗ said an ERROR: flush", "said hello again")
        assert followers()
        await pilot.press("e")
        await on_screen(app, pilot, "trouble: ")
        assert "said hello again" not in shown(app)
        await pilot.press("escape")
        await pilot.pause(0.2)
        assert not followers()


async def test_a_journal_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"`journalctl --unit=says\.service` ended: .*[Nn]o such file"):
        await take(journal("says.service", directory=tmp_path / "none"), 1)
    assert not followers()


async def test_a_name_is_never_an_option(systemd: SystemdUser) -> None:
    lines = journal("--vacuum-size=1", 5, directory=systemd.journal)
    with contextlib.suppress(TimeoutError, ServiceError):
        async with asyncio.timeout(1):
            await anext(lines)
    await lines.aclose()


async def test_a_supervised_program_through_rotation(tmp_path: Path) -> None:
    script = tmp_path / "says"
    script.write_text(SAYS)
    running = Supervisord(
        tmp_path,
        f"[program:says]\ncommand=bash -c 'exec bash {script} <>{tmp_path}/pipe'\nstartsecs=0\n"
        f"stdout_logfile={tmp_path}/says.log\nredirect_stderr=true\n"
        "[program:silent]\ncommand=sleep 1000\nstdout_logfile=NONE\n",
    )
    os.mkfifo(tmp_path / "pipe")
    running.start()
    settings = Settings(services=ServicesSettings("supervisor", str(running.socket)))
    try:
        await asyncio.to_thread(wait_for_lines, tmp_path / "says.log", 4)
        lines = unit_log(settings, "says", 3)
        assert [line.text for line in await take(lines, 3)] == ["line 2", "line 3", "red not�"]
        (tmp_path / "pipe").write_text("one\n")
        assert [line.text for line in await take(lines, 1)] == ["said one"]
        with SupervisorControl(str(running.socket))._connect(5) as server:
            server.call("clearProcessLogs", "says")
        (tmp_path / "pipe").write_text("two\n")
        assert [line.text for line in await take(lines, 1)] == ["said two"]
        await lines.aclose()
        units = tuple(Unit(name, Role.FEED) for name in ("says", "silent"))
        services = ServicesSettings("supervisor", str(running.socket), units)
        app = ConsoleApp(Settings(services=services), sources=None)
        async with app.run_test(size=(120, 30)) as pilot:
            await pilot.pause()
            await pilot.press("l")
            await on_screen(app, pilot, "log of says", "said two")
            (tmp_path / "pipe").write_text("three\n")
            await on_screen(app, pilot, "said three")
            await pilot.press("right")
            await on_screen(app, pilot, "log of silent", "keeps no log of silent")
        with pytest.raises(ServiceError, match="keeps no log of silent"):
            await take(unit_log(settings, "silent"), 1)
        with pytest.raises(ServiceError, match="knows no service nothing"):
            await take(unit_log(settings, "nothing"), 1)
    finally:
        running.stop()
    with pytest.raises(ServiceError, match="no supervisord socket"):
        await take(unit_log(settings, "says"), 1)


def test_without_a_backend_there_is_no_log() -> None:
    with pytest.raises(ServiceError, match=re.escape("services.backend")):
        unit_log(Settings(), "questdb")
