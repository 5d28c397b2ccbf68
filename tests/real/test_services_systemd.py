"""Services under a real systemd: every state, start, stop, mask, and the manager gone while it is watched."""

import os
import re
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.probes.sample import Status
from console.probes.services import ServicesProbe
from console.services.model import ServiceError, UnitSample, UnitState
from console.services.systemd import SystemdControl
from console.settings import Role, ServicesSettings, Settings, Unit
from tests.real.systemd_user import SystemdUser

GOOD, BAD, LOOP = Unit("questdb", Role.DATABASE), Unit("batch-writer.service", Role.WRITER), Unit("feed", Role.FEED)


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdUser]:
    manager = SystemdUser(tmp_path_factory.mktemp("systemd"))
    manager.start()
    manager.write(manager.units, "questdb.service", "ExecStart=/bin/sleep 1000")
    manager.write(manager.units, "batch-writer.service", "ExecStart=/bin/sh -c 'exit 3'")
    manager.write(
        manager.units,
        "feed.service",
        "ExecStart=/bin/sh -c 'kill -ABRT $$$$'\nRestart=always\nRestartSec=300ms",
        "StartLimitIntervalSec=0",
    )
    manager.write(manager.units, "limited.service", "ExecStart=/bin/false\nRestart=always\nRestartSec=10ms")
    manager.write(manager.runtime, "runtime.service", "ExecStart=/bin/sleep 1000")
    yield manager
    manager.stop()


@pytest.fixture
def control(systemd: SystemdUser, monkeypatch: pytest.MonkeyPatch) -> SystemdControl:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(systemd.run))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    return SystemdControl(user=True)


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that every user can reach into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def state_of(control: SystemdControl, name: str) -> UnitSample:
    return control.states([Unit(name, Role.WRITER)])[0]


def wait_for(control: SystemdControl, name: str, what: UnitState) -> UnitSample:
    deadline = time.monotonic() + 10
    while (sample := state_of(control, name)).state is not what:
        assert time.monotonic() < deadline, sample
        time.sleep(0.05)
    return sample


def test_start_stop_and_what_is_reported(control: SystemdControl, systemd: SystemdUser) -> None:
    control.start("questdb")
    up = state_of(control, "questdb")
    assert up.state is UnitState.UP
    assert up.pid is not None
    deadline = time.monotonic() + 10
    while Path(f"/proc/{up.pid}/comm").read_text().strip() != "sleep":  # until then it is the manager's own child
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert up.uptime is not None
    assert 0 <= up.uptime < 60
    assert up.restarts == 0
    assert up.unit_file == str(systemd.units / "questdb.service")
    assert up.loop == ""
    control.stop("questdb")
    down = state_of(control, "questdb")
    assert (down.state, down.pid, down.uptime) == (UnitState.DOWN, None, None)
    assert not Path(f"/proc/{up.pid}").exists()
    control.stop("questdb")  # what is down is no error


def test_a_service_that_ends_at_once_fails_with_its_exit_status(control: SystemdControl, systemd: SystemdUser) -> None:
    said = ""
    for _ in range(5):  # on a busy machine it may live for both looks
        try:
            control.start("batch-writer.service")
        except ServiceError as error:
            said = str(error)
            break
        wait_for(control, "batch-writer.service", UnitState.FAILED)
    assert re.search(r"exit 3.*journalctl --user -u batch-writer\.service", said)
    sample = wait_for(control, "batch-writer.service", UnitState.FAILED)
    assert sample.result == "exit 3"


def test_a_jvm_that_is_stopped_has_not_failed(control: SystemdControl, systemd: SystemdUser) -> None:
    systemd.write(
        systemd.units, "jvm.service", "ExecStart=/bin/bash -c 'trap \"exit 143\" TERM; while :; do sleep 0.1; done'"
    )
    control.start("jvm")
    time.sleep(0.3)
    control.stop("jvm")
    assert state_of(control, "jvm").state is UnitState.DOWN


def test_killed_by_a_signal(control: SystemdControl) -> None:
    control.start("questdb")
    pid = state_of(control, "questdb").pid
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    sample = wait_for(control, "questdb", UnitState.FAILED)
    assert sample.result.startswith("SIGSEGV")
    control.start("questdb")
    assert state_of(control, "questdb").state is UnitState.UP
    control.stop("questdb")


def test_a_restart_loop_is_named_and_counted(control: SystemdControl, systemd: SystemdUser) -> None:
    systemd.systemctl("start", "--no-block", "feed.service")
    deadline = time.monotonic() + 15
    while (state_of(control, "feed").restarts or 0) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    while not (looping := state_of(control, "feed")).loop:
        assert time.monotonic() < deadline
    assert looping.state is UnitState.STARTING
    assert "crash loop" in looping.loop
    assert "no restart limit" in looping.loop
    assert looping.result.startswith("SIGABRT")
    control.stop("feed")
    assert state_of(control, "feed").state in (UnitState.DOWN, UnitState.FAILED)
    before = state_of(control, "feed").restarts
    time.sleep(0.5)
    assert state_of(control, "feed").restarts == before


def test_the_start_limit_is_named_and_a_start_forgets_it(control: SystemdControl, systemd: SystemdUser) -> None:
    systemd.systemctl("start", "--no-block", "limited.service")
    sample = wait_for(control, "limited", UnitState.FAILED)
    assert sample.loop == "gave up after 5 restarts: limit 5 in 10s"
    (systemd.units / "limited.service").write_text("[Service]\nExecStart=/bin/sleep 1000\n")
    assert systemd.systemctl("daemon-reload").returncode == 0
    control.start("limited")
    assert state_of(control, "limited").state is UnitState.UP
    control.stop("limited")


@pytest.mark.parametrize("name", ["questdb", "runtime"])
def test_masked_means_that_nothing_starts_it(control: SystemdControl, systemd: SystemdUser, name: str) -> None:
    """`systemctl mask --runtime` holds neither of them: one lies where /run comes second, the other in /run itself."""
    before = (systemd.units / "questdb.service").read_bytes()
    control.stop(name)
    control.mask_runtime(name)
    assert state_of(control, name).masked
    assert systemd.systemctl("start", name).returncode != 0
    with pytest.raises(ServiceError, match="is held down while its files are repaired"):
        control.start(name)
    assert state_of(control, name).state is not UnitState.UP
    control.mask_runtime(name)
    control.unmask(name)
    control.unmask(name)
    assert not state_of(control, name).masked
    control.start(name)
    assert state_of(control, name).state is UnitState.UP
    control.stop(name)
    assert (systemd.units / "questdb.service").read_bytes() == before


def test_units_keep_their_order_and_unknown_ones_are_reported(control: SystemdControl) -> None:
    wanted = [LOOP, Unit("no-such-unit", Role.FEED), GOOD, BAD]
    samples = control.states(wanted)
    assert [sample.name for sample in samples] == [unit.name for unit in wanted]
    assert [sample.role for sample in samples] == ["feed", "feed", "database", "writer"]
    assert samples[1].state is UnitState.UNKNOWN
    assert samples[1].result == "no such unit"
    with pytest.raises(ServiceError, match="no-such-unit"):
        control.start("no-such-unit")


def test_a_name_is_never_an_option(control: SystemdControl) -> None:
    sample = control.states([Unit("--help", Role.FEED)])[0]
    assert sample.state is UnitState.UNKNOWN


def test_the_commands_are_those_that_an_operator_types(control: SystemdControl) -> None:
    assert control.command_line("stop", "questdb") == "systemctl --user stop questdb.service"
    assert control.command_line("mask", "questdb").endswith("&& systemctl --user daemon-reload")
    assert SystemdControl(user=False).command_line("start", "questdb") == "systemctl start questdb.service"


def test_without_permission_the_command_that_would_work_is_reported(
    control: SystemdControl, systemd: SystemdUser, public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real systemctl of a real unprivileged user on a real bus: looking is allowed, commanding is denied."""
    control.start("questdb")
    systemd.open_bus(public / "bus")
    shim = tmp_path / "systemctl"
    real = shutil.which("systemctl")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    system = SystemdControl(user=False)

    def become(user: int) -> None:
        shim.write_text(f'#!/bin/sh\nexec {shlex.join(systemd.as_system_of(user))} {real} "$@"\n')
        shim.chmod(0o755)

    become(65_534)
    assert state_of(system, "questdb").state is UnitState.UP
    before = state_of(system, "questdb").pid
    for verb, act in (("stop", system.stop), ("start", system.start)):
        with pytest.raises(ServiceError) as refused:
            act("questdb")
        wanted = (
            f"no permission to {verb} questdb; the command that would work is: sudo systemctl {verb} questdb.service"
        )
        assert str(refused.value) == wanted
    assert state_of(system, "questdb").pid == before
    become(0)  # as `sudo` would
    system.stop("questdb")
    assert state_of(system, "questdb").state is UnitState.DOWN


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="this machine runs systemd: its bus can be reached")
def test_a_machine_without_systemd_says_so() -> None:
    with pytest.raises(ServiceError, match=r"systemd cannot be reached \(.*\); is services\.backend right\?"):
        SystemdControl(user=False).states([GOOD])


async def test_the_probe_says_so_when_the_manager_is_gone_and_sees_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = SystemdUser(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(manager.run))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    probe = ServicesProbe(Settings(services=ServicesSettings("systemd-user", units=(GOOD,))))
    gone = await probe.read()
    assert gone.status is Status.DOWN
    assert "the user's systemd cannot be reached" in gone.error
    manager.start()
    try:
        manager.write(manager.units, "questdb.service", "ExecStart=/bin/sleep 1000")
        there = await probe.read()
        assert there.status is Status.OK
        assert there.data is not None
        assert there.data.units[0].state is UnitState.DOWN
        manager.kill()
        assert (await probe.read()).status is Status.DOWN
        manager.start()
        assert (await probe.read()).status is Status.OK
    finally:
        manager.stop()
        await probe.close()
