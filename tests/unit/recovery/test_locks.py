"""Locks: one owner at a time, the holder named, nothing created to prove that a server is gone."""

import fcntl
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from console.diagnosis.server.liveness import Life, liveness
from console.recovery.store.locks import LockedError, ServerLock, StationLock, server_is_down
from console.recovery.store.state import StateDir

_FORK = multiprocessing.get_context("fork")


def test_the_second_learns_who_holds_it(tmp_path: Path) -> None:
    first, second = (StationLock(StateDir(tmp_path / "state"), tmp_path) for _ in range(2))
    first.acquire("restore-sequencer orders")
    with pytest.raises(LockedError, match=rf"pid {os.getpid()}.*restore-sequencer orders"):
        second.acquire("undo")
    holder = second.holder()
    assert holder is not None
    assert holder.pid == os.getpid()
    first.release()
    assert second.holder() is None
    second.acquire("undo")
    second.release()


def test_the_same_database_under_two_names_has_one_lock(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "db")
    state = StateDir(tmp_path / "state")
    assert StationLock(state, tmp_path / "db").path == StationLock(state, tmp_path / "other").path
    assert StationLock(state, tmp_path).path != StationLock(state, tmp_path / "db").path


def _race(folder: str, rounds: int, barrier: Barrier) -> None:
    root = Path(folder)
    with (root / "racers").open("a") as racers:
        racers.write(f"{os.getpid()}\n")
    barrier.wait()
    (other,) = {int(line) for line in (root / "racers").read_text().split()} - {os.getpid()}
    lock = StationLock(StateDir(root / "state"), root)
    for _ in range(rounds):
        barrier.wait()
        try:
            lock.acquire("race")
        except LockedError as error:
            if f"(pid {other}, " not in str(error):
                raise RuntimeError("the wrong one is named, or none") from error
        else:
            owner = os.open(root / "owner", os.O_CREAT | os.O_EXCL)  # fails where there are two owners
            os.close(owner)
            with (root / "grants").open("a") as grants:
                grants.write("x")
            barrier.wait()
            (root / "owner").unlink()
            lock.release()
            continue
        barrier.wait()


def test_a_thousand_races_never_have_two_owners_and_name_the_one(tmp_path: Path) -> None:
    rounds = 1000
    barrier = _FORK.Barrier(2)
    racers = [_FORK.Process(target=_race, args=(str(tmp_path), rounds, barrier)) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(200)
        assert racer.exitcode == 0
    assert rounds * 0.95 < len((tmp_path / "grants").read_text()) <= 2 * rounds


def _hold_and_die(path: str, ready: Barrier) -> None:
    StationLock(StateDir(Path(path) / "state"), Path(path)).acquire("dying")
    ready.wait()
    time.sleep(60)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    ready = _FORK.Barrier(2)
    holder = _FORK.Process(target=_hold_and_die, args=(str(tmp_path), ready))
    holder.start()
    ready.wait()
    lock = StationLock(StateDir(tmp_path / "state"), tmp_path)
    with pytest.raises(LockedError):
        lock.acquire("next")
    holder.kill()
    holder.join()
    lock.acquire("next")
    lock.release()


def test_a_missing_server_lock_proves_nothing_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LockedError, match="missing"):
        ServerLock(tmp_path).acquire()
    assert server_is_down(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_server_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "tables.d.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockedError, match="cannot be opened"):
        ServerLock(tmp_path).acquire()


def test_the_server_lock_is_won_only_while_nobody_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "tables.d.lock"
    path.touch()
    assert server_is_down(tmp_path) is True
    with path.open() as server:
        fcntl.flock(server, fcntl.LOCK_EX)
        assert server_is_down(tmp_path) is False
        with pytest.raises(LockedError, match=rf"another process works on this database \(pid {os.getpid()}\)"):
            ServerLock(tmp_path).acquire()
    lock = ServerLock(tmp_path)
    lock.acquire()
    assert lock.held
    assert server_is_down(tmp_path) is False
    lock.release()


def test_two_that_look_at_once_take_neither_for_a_server(tmp_path: Path) -> None:
    (tmp_path / "tables.d.lock").touch()
    with ThreadPoolExecutor(4) as threads:
        seen = set(threads.map(lambda _: server_is_down(tmp_path), range(400)))
    assert seen == {True}


_HOLD = "import fcntl,sys,time;f=open(sys.argv[1]);fcntl.flock(f,fcntl.LOCK_EX);print(flush=True);time.sleep(60)"


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("walmedic", [], "another walmedic works"),
        ("java", ["-p", "/opt/questdb/questdb.jar"], "QuestDB is running"),
        ("gnome-console", [], "another process works"),
    ],
)
def test_what_holds_the_server_lock_is_named_as_what_it_is(
    tmp_path: Path, name: str, arguments: list[str], told: str
) -> None:
    path = tmp_path / "tables.d.lock"
    path.touch()
    home = {**os.environ, "PYTHONHOME": sys.base_prefix}  # which it would look for by its name
    command = [f"/usr/bin/{name}", "-c", _HOLD, str(path), *arguments]
    with subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE, env=home) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            with pytest.raises(LockedError, match=rf"^{told} .*\(pid {process.pid}\)"):
                ServerLock(tmp_path).acquire()
        finally:
            process.kill()


def _hold_server_lock(path: str, ready: Barrier) -> None:
    ServerLock(Path(path)).acquire()
    ready.wait()
    time.sleep(60)


def test_a_lock_of_our_own_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "tables.d.lock").touch()
    ready = _FORK.Barrier(2)
    own = ServerLock(tmp_path)
    own.acquire()
    assert liveness(tmp_path).life is Life.DOWN
    own.release()
    other = _FORK.Process(target=_hold_server_lock, args=(str(tmp_path), ready))
    other.start()
    ready.wait()
    assert liveness(tmp_path).life is Life.ALIVE
    other.kill()
    other.join()
    assert liveness(tmp_path).life is Life.DOWN
