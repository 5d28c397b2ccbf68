"""One contract for every backend of services: status, start, stop and stay stopped, hold, restart policy, log."""

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.probes.unit_log import unit_log
from console.services.by_hand import ByHandControl
from console.services.control import control_for
from console.services.model import ServiceControl, ServiceError, UnitSample, UnitState
from console.settings import Role, ServicesSettings, Settings, Unit
from tests.real.podman import Podman, remove
from tests.real.supervisord import Supervisord
from tests.real.systemd_user import SystemdUser
from tests.unit.services.recorded_kubectl import DOWN, RecordedKubectl

_SAYS = "echo the-contract speaks; exec sleep 1000"
_STAYS = "echo the-contract speaks; while :; do sleep 0.2; done"  # under its own name


@dataclass(frozen=True)
class Backend:
    """A service of one backend: it restarts always, and says one line."""

    settings: Settings
    control: ServiceControl
    unit: Unit
    restarts: bool  # whether its manager counts restarts

    def sample(self) -> UnitSample:
        (sample,) = self.control.states([self.unit])
        return sample

    def until(self, what: UnitState) -> UnitSample:
        deadline = time.monotonic() + 20
        while (sample := self.sample()).state is not what:
            assert time.monotonic() < deadline, sample
            time.sleep(0.1)
        return sample


def _made(folder: Path, backend: str, unit: Unit, socket: str = "", *, restarts: bool = True) -> Backend:
    services = ServicesSettings(backend, socket, (unit,))
    settings = Settings(state_dir=str(folder / "state"), services=services)
    control = control_for(settings)
    assert control is not None
    return Backend(settings, control, unit, restarts)


@contextlib.contextmanager
def _systemd(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Backend]:
    manager = SystemdUser(folder)
    manager.start()
    command = f"ExecStart=/bin/sh -c '{_SAYS}'\nRestart=always\nRestartSec=100ms"
    manager.write(manager.units, "contract.service", command, "StartLimitIntervalSec=0")
    patch.setenv("XDG_RUNTIME_DIR", str(manager.run))
    patch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    try:
        yield _made(folder, "systemd-user", Unit("contract.service", Role.WRITER))
    finally:
        manager.stop()


@contextlib.contextmanager
def _supervisor(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Backend]:
    patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # supervisorctl
    program = f"[program:contract]\ncommand=sh -c '{_SAYS}'\nautostart=false\nautorestart=true\nstartsecs=1\n"
    running = Supervisord(folder, program)
    running.start()
    try:
        yield _made(folder, "supervisor", Unit("contract", Role.WRITER), str(running.socket))
    finally:
        running.stop()


@contextlib.contextmanager
def _container(folder: Path, patch: pytest.MonkeyPatch, program: str) -> Iterator[Backend]:
    podman = Podman(folder)
    patch.setenv("PATH", f"{podman.bin}:{os.environ['PATH']}")
    try:
        podman.run("contract", ["sh", "-c", f"trap 'exit 143' TERM; {_SAYS} & wait"], start=False)
        yield _made(folder, program, Unit("contract", Role.WRITER))
    finally:
        podman.close()


@contextlib.contextmanager
def _kubernetes(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """No cluster: a kubectl that answers from files."""
    programs = folder / "bin"
    programs.mkdir()
    patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    RecordedKubectl(programs).plays(DOWN)
    yield _made(folder, "kubernetes", Unit("statefulset/questdb", Role.WRITER), restarts=False)


class _Script:
    """A service that a script commands, as people write them: a process and its number in a file, or a small loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid = folder / "pid"
        self.loop = (
            f"while :; do sh -c '{_STAYS}' contract-of-the-test & echo $! > {self.pid}; wait $!; sleep 0.2; done"
        )

    def write(self, name: str, text: str) -> tuple[str, ...]:
        file = self.folder / name
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
        return (str(file),)

    def unit(self) -> Unit:
        group = self.folder / "group"
        loop = shlex.join(self.write("loop", self.loop))
        alive = f'kill -0 "$(cat {self.pid})" 2>/dev/null'
        return Unit(
            "contract",
            Role.WRITER,
            status=self.write("status", f"if {alive}; then echo 'run: contract'; else echo 'down: contract'; fi"),
            stop=self.write("stop", f'[ -e {group} ] && kill -- -"$(cat {group})"; rm -f {group}; true'),
            start=self.write(
                "start",
                f"[ -e {group} ] && exit 0\nsetsid {loop} </dev/null >{self.folder}/log 2>&1 &\necho $! > {group}",
            ),
            log=("cat", str(self.folder / "log")),
            up="run:",
            process="contract-of-the-test",
        )

    def end(self) -> None:
        subprocess.run(self.folder / "stop", check=False)


@contextlib.contextmanager
def _command(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Backend]:
    del patch
    script = _Script(folder)
    try:
        yield _made(folder, "command", script.unit(), restarts=False)
    finally:
        script.end()


@contextlib.contextmanager
def _by_hand(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The operator is a thread that does what it is asked a moment later."""
    del patch
    script = _Script(folder)
    unit = script.unit()
    made = _made(folder, "by-hand", unit, restarts=False)

    def ask(sentence: str) -> None:
        verb = "stop" if sentence.startswith("stop contract now") else "start"
        assert sentence.startswith(f"{verb} contract now"), sentence
        threading.Timer(0.5, subprocess.run, ([str(folder / verb)],)).start()

    try:
        yield Backend(made.settings, ByHandControl(made.settings, ask, 30.0), unit, restarts=False)
    finally:
        script.end()


_BACKENDS = {
    "systemd-user": _systemd,
    "supervisor": _supervisor,
    "podman": lambda folder, patch: _container(folder, patch, "podman"),
    "docker": lambda folder, patch: _container(folder, patch, "docker"),  # Podman by Docker's name
    "kubernetes": _kubernetes,
    "command": _command,
    "by-hand": _by_hand,
}


_LONG = pytest.mark.faults


@pytest.fixture(params=[pytest.param(each, marks=_LONG if each == "docker" else ()) for each in _BACKENDS])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    folder = tempfile.mkdtemp(prefix="walmedic-contract-")
    Path(folder).chmod(0o755)
    try:
        with _BACKENDS[request.param](Path(folder), monkeypatch) as made:
            yield made
    finally:
        remove(Path(folder))


def test_a_backend_keeps_the_contract(backend: Backend) -> None:
    control, name = backend.control, backend.unit.name
    assert backend.sample().state is UnitState.DOWN
    assert not control.states([Unit("nobody-knows-it", Role.FEED)])[0].state.value.startswith("up")
    with pytest.raises(ServiceError):
        control.start("nobody-knows-it")
    control.start(name)
    control.start(name)  # what is up is no error
    up = backend.until(UnitState.UP)
    assert not up.held
    _restart_policy(backend, up)
    said = asyncio.run(_first_line(backend))
    if backend.control.backend != "by-hand" and "systemd" not in backend.control.backend:
        assert "the-contract speaks" in said
    # held and stopped it stays down, and its manager knows
    control.mask_runtime(name)
    control.stop(name)
    control.stop(name)  # what is down is no error
    for _ in range(10):
        held = backend.sample()
        assert held.stopped, held
        assert held.held, held
        time.sleep(0.2)
    control.unmask(name)
    control.start(name)
    assert backend.until(UnitState.UP).held is False
    control.stop(name)
    assert backend.sample().stopped
    _what_is_shown_works(backend)


def _restart_policy(backend: Backend, up: UnitSample) -> None:
    """What ends by itself comes back, and is counted where the manager counts."""
    pid = up.pid
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (again := backend.sample()).pid in (pid, None) or again.state is not UnitState.UP:
        assert time.monotonic() < deadline, again
        time.sleep(0.1)
    if backend.restarts:
        assert again.restarts is not None
        assert again.restarts >= (up.restarts or 0) + 1
    if backend.control.backend in ("podman", "docker"):
        assert again.restart_policy == "always"


async def _first_line(backend: Backend) -> str:
    try:
        lines = unit_log(backend.settings, backend.unit.name)
        async with asyncio.timeout(10), contextlib.aclosing(lines):
            async for line in lines:
                return line.text
    except (ServiceError, TimeoutError) as error:
        return str(error)
    return ""


def _what_is_shown_works(backend: Backend) -> None:
    """The command that a plan shows is one that an operator can type; by hand it says so."""
    for verb, state in (("start", UnitState.UP), ("stop", UnitState.DOWN)):
        shown = backend.control.command_line(verb, backend.unit.name)
        if backend.control.backend == "by-hand":
            assert shown == f"by hand: {verb} contract"
            continue
        assert subprocess.run(shlex.split(shown), check=False, timeout=60).returncode == 0, shown
        if backend.until(state).stopped:
            assert state is UnitState.DOWN
