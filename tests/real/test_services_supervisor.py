"""Services under a real supervisord: every state, restarts counted from its log, start and stop, gone and back."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.probes.sample import Status
from console.probes.services import ServicesProbe
from console.services import supervisor as module
from console.services.model import ServiceError, UnitSample, UnitState
from console.services.supervisor import SupervisorControl
from console.settings import Role, ServicesSettings, Settings, Unit
from tests.real.supervisord import Supervisord

PROGRAMS = """
[program:questdb]
command=sleep 1000
autostart=false
startsecs=0
stopwaitsecs=2
[program:batch-writer]
command=sh -c 'sleep 1.1; kill -ABRT $$'
startsecs=1
autorestart=true
autostart=false
[program:quick]
command=sh -c 'exit 3'
startretries=1
autostart=false
[program:looping]
command=false
startsecs=0
autorestart=true
autostart=false
[program:once]
command=sh -c 'sleep 1.1; exit 4'
startsecs=1
autorestart=false
autostart=false
"""


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisord]:
    running = Supervisord(tmp_path_factory.mktemp("supervisord"), PROGRAMS)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def control(supervisord: Supervisord) -> SupervisorControl:
    return SupervisorControl(str(supervisord.socket))


def state_of(control: SupervisorControl, name: str) -> UnitSample:
    return control.states([Unit(name, Role.WRITER)])[0]


def wait_for(control: SupervisorControl, name: str, what: UnitState) -> UnitSample:
    deadline = time.monotonic() + 15
    while (sample := state_of(control, name)).state is not what:
        assert time.monotonic() < deadline, sample
        time.sleep(0.05)
    return sample


def test_start_stop_and_what_is_reported(control: SupervisorControl) -> None:
    assert state_of(control, "questdb").state is UnitState.DOWN
    control.start("questdb")
    control.start("questdb")  # what is up is no error
    up = state_of(control, "questdb")
    assert up.state is UnitState.UP
    assert up.pid is not None
    assert up.memory is not None
    assert up.uptime is not None
    assert (up.restarts, up.held) == (0, False)
    control.stop("questdb:questdb")
    down = state_of(control, "questdb")
    assert (down.state, down.pid, down.result, down.held) == (UnitState.DOWN, None, "stopped", True)
    control.stop("questdb")


def test_restarts_are_counted_from_its_log(supervisord: Supervisord, control: SupervisorControl) -> None:
    """supervisord does not count them. A watcher that comes later, or another one, counts the same."""
    control.start("batch-writer")
    deadline = time.monotonic() + 20
    while (sample := state_of(control, "batch-writer")).restarts != 2:
        assert time.monotonic() < deadline, sample
        time.sleep(0.1)
    assert sample.result == "SIGABRT"
    control.stop("batch-writer")
    later = state_of(SupervisorControl(str(supervisord.socket)), "batch-writer")
    assert later.restarts == state_of(control, "batch-writer").restarts
    control.start("batch-writer")
    assert state_of(control, "batch-writer").restarts == later.restarts  # a start by hand is none
    control.stop("batch-writer")


def test_one_that_will_not_stay_up(control: SupervisorControl) -> None:
    with pytest.raises(ServiceError, match=r"quick started and ended again; `supervisorctl .* tail quick` says why"):
        control.start("quick")
    sample = wait_for(control, "quick", UnitState.FAILED)
    assert sample.result == "exit 3"
    assert sample.loop == "gave up: does not stay up, limit 1 retries"


def test_one_that_ended_badly_and_is_not_restarted(control: SupervisorControl) -> None:
    control.start("once")
    sample = wait_for(control, "once", UnitState.FAILED)
    assert (sample.result, sample.loop) == ("exit 4", "")
    deadline = time.monotonic() + 15
    while not state_of(control, "once").held:  # known for certain only some seconds after its end
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_restarts_again_and_again_is_held_only_once_it_was_stopped(control: SupervisorControl) -> None:
    with contextlib.suppress(ServiceError):
        control.start("looping")
    seen = [state_of(control, "looping") for _ in range(400)]
    assert any(sample.stopped for sample in seen), "it was never seen between two starts: the test proves nothing"
    assert not any(sample.held for sample in seen)
    control.stop("looping")
    assert all(state_of(control, "looping").held for _ in range(100))


def test_one_that_loops_without_a_pause_is_stopped_for_good(control: SupervisorControl) -> None:
    """With startsecs=0 there is no BACKOFF: between two runs it is EXITED, where supervisord refuses to stop it."""
    for number in range(8):
        with contextlib.suppress(ServiceError):  # "started and ended again": it goes on all the same
            control.start("looping")
        time.sleep(0.05 * number)
        control.stop("looping")
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert state_of(control, "looping").stopped
            time.sleep(0.02)


def test_killed_from_outside(control: SupervisorControl) -> None:
    control.start("questdb")
    pid = state_of(control, "questdb").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (sample := state_of(control, "questdb")).pid in (pid, None):
        assert time.monotonic() < deadline, sample
        time.sleep(0.05)
    assert sample.restarts == 1
    control.stop("questdb")


def test_a_rotated_log_is_counted_on(supervisord: Supervisord, control: SupervisorControl) -> None:
    before = state_of(control, "batch-writer").restarts
    assert before is not None
    assert before >= 2
    os.truncate(supervisord.folder / "supervisord.log", 0)
    control.start("questdb")
    control.stop("questdb")
    assert state_of(control, "batch-writer").restarts == before


def test_unknown_services_and_commands(control: SupervisorControl) -> None:
    assert state_of(control, "nothing").state is UnitState.UNKNOWN
    with pytest.raises(ServiceError, match="knows no service nothing"):
        control.start("nothing")
    assert control.command_line("stop", "questdb") == f"supervisorctl -s unix://{control.path} stop questdb"
    assert control.command_line("mask", "questdb") == ""
    control.mask_runtime("questdb")
    assert not control.can_mask


def test_what_is_in_the_way_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [Unit("questdb", Role.DATABASE)]
    with pytest.raises(ServiceError, match="does not say where its socket is"):
        SupervisorControl("")
    with pytest.raises(ServiceError, match="there is no supervisord socket at"):
        SupervisorControl(str(tmp_path / "none.sock")).states(wanted)
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(tmp_path / "dead.sock"))
    left_over.close()
    with pytest.raises(ServiceError, match="does not answer"):
        SupervisorControl(str(tmp_path / "dead.sock")).states(wanted)
    with socket.socket(socket.AF_UNIX) as deaf, monkeypatch.context() as patch:
        patch.setattr(module, "_ANSWER", 0.5)
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        started = time.monotonic()
        with pytest.raises(ServiceError, match="did not answer within"):
            SupervisorControl(str(tmp_path / "deaf.sock")).states(wanted)
        assert time.monotonic() - started < 3
    with socket.socket(socket.AF_UNIX) as wrong:
        wrong.bind(str(tmp_path / "wrong.sock"))
        wrong.listen()
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\nnot \x1b XML"
        server = threading.Thread(target=_answer_once, args=(wrong, answer))
        server.start()
        with pytest.raises(ServiceError, match="no XML-RPC"):
            SupervisorControl(str(tmp_path / "wrong.sock")).states(wanted)
        server.join()


def _answer_once(listening: socket.socket, answer: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        got = b""
        while b"</methodCall>" not in got:  # closed with a part unread, it would be a connection that was reset
            got += connection.recv(65536)
        connection.sendall(answer)


async def test_the_probe_sees_it_go_and_come_back(tmp_path: Path) -> None:
    units = (Unit("questdb", Role.DATABASE), Unit("gone", Role.FEED))
    running = Supervisord(tmp_path, PROGRAMS)
    probe = ServicesProbe(Settings(services=ServicesSettings("supervisor", str(running.socket), units)))
    assert (await probe.read()).status is Status.DOWN
    running.start()
    try:
        there = await probe.read()
        assert there.status is Status.DEGRADED
        assert there.error == "not known to supervisor: gone"
        running.stop()
        gone = await probe.read()
        assert gone.status is Status.DOWN
        assert "supervisord" in gone.error
        running.start()
        assert (await probe.read()).data is not None
    finally:
        running.stop()
        await probe.close()


def test_a_supervisord_that_shuts_down_is_reported(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    slow = (
        f"[program:slow]\ncommand=bash -c 'trap \"\" TERM; touch {ready}; while :; do sleep 0.1; done'\n"
        "stopwaitsecs=8\nstartsecs=0\n"
    )
    running = Supervisord(tmp_path, slow)
    running.start()
    control = SupervisorControl(str(running.socket))
    wait_for(control, "slow", UnitState.UP)
    deadline = time.monotonic() + 15
    while not ready.exists():  # before that the signal would end it at once
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    time.sleep(0.5)
    with pytest.raises(ServiceError, match="is shutting down"):
        control.states([Unit("slow", Role.WRITER)])
    stopping.join()
