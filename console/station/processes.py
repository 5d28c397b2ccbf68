"""The station's processes: one supervisord with all of them under it, and the way to be sure that none is left."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from console.recovery.server.jvm import java_environment
from console.services.model import ServiceError, UnitState
from console.services.supervisor import SupervisorControl
from console.station.configuration import MARK
from console.station.layout import UNITS, Layout, StationError
from console.station.scenario import ENDING_SIGNALS
from console.waiting import looks, wait_until

_STARTS_WITHIN = 60.0
_ENDS_WITHIN = 30.0


class Processes:
    """supervisord for one station. Everything that it starts carries the station's mark in its environment."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._control = SupervisorControl(str(layout.socket))

    def start_supervisord(self) -> None:
        """Start supervisord with nothing under it yet. Raises StationError where it does not answer."""
        environment = {key: value for key, value in java_environment().items() if not key.startswith("SUPERVISOR_")}
        environment[MARK] = str(self._layout.directory)
        output = self._layout.log_dir / "supervisord.out"
        with output.open("ab") as stream:
            self._supervisord = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._layout.supervisor_file)],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, start_new_session=True,
                cwd=self._layout.directory,
            )  # fmt: skip
        for late in looks(_STARTS_WITHIN, 0.05):
            with contextlib.suppress(ServiceError):
                self._control.states(())
                return
            if late or self._supervisord.poll() is not None:
                break
        raise StationError(f"supervisord did not start within {_STARTS_WITHIN:.0f} s; see {output}")

    def start(self, *names: str) -> None:
        """Start services in this order. Raises ServiceError where one does not stay up."""
        for name in names:
            self._control.start(name)

    def wait_for(self, *names: str) -> None:
        """Wait for services that supervisord starts by itself. Raises StationError where one does not stay up."""
        units = [unit for unit in UNITS if unit.name in names]
        for late in looks(_STARTS_WITHIN, 0.1):
            missing = [s.name for s in self._control.states(units) if s.state is not UnitState.UP]
            if not missing:
                return
            if late:
                raise StationError(f"{missing[0]} does not stay up; see {self._layout.log_dir / missing[0]}.log")

    def stop(self, name: str) -> None:
        """Stop a service for good, also one that is between two deaths of a crash loop. Raises StationError."""
        unit = next(unit for unit in UNITS if unit.name == name)

        def down() -> bool:
            self._control.stop(name)
            # EXITED is down too, but supervisord is about to start it again: repeat until it stays down.
            state = self._control.states([unit])[0]
            return state.state is UnitState.DOWN and state.sub_state == "STOPPED"

        if not wait_until(down, _ENDS_WITHIN):
            raise StationError(f"{name} did not stop within {_ENDS_WITHIN:.0f} s; see {self._layout.log_dir}")

    def pids(self) -> dict[str, int]:
        return {sample.name: sample.pid for sample in self._control.states(UNITS) if sample.pid}

    def close(self) -> None:
        if self._supervisord is not None and self._supervisord.poll() is None:
            self._supervisord.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisord.wait(_ENDS_WITHIN)
        end_processes_of(self._layout.directory)
        if self._supervisord is not None:
            self._supervisord.wait()


def processes_of(directory: Path) -> list[psutil.Process]:
    """Return the processes that carry the mark of the station in `directory`, but never this one."""
    return [process for process in _readable(psutil.process_iter()) if _mark_of(process) == str(directory)]


def end_processes_of(directory: Path) -> None:
    """End what an earlier or this demo left in `directory`: asked first, then killed.

    supervisord is asked alone where it lives, so that it stops its services in their order. psutil compares the start
    time before it signals, so a process id that was given to another is never hit.
    """
    left = processes_of(directory)
    theirs = {process.pid for process in left}
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() not in theirs:
                process.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=_ENDS_WITHIN)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_ENDS_WITHIN)


@contextlib.contextmanager
def marked(directory: Path) -> Iterator[None]:
    """Give the mark of the station in `directory` to whatever this process starts meanwhile."""
    os.environ[MARK] = str(directory)
    try:
        yield
    finally:
        del os.environ[MARK]


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP for a while: who asked to stop twice must not leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _readable(processes: Iterable[psutil.Process]) -> Iterable[psutil.Process]:
    own = os.getpid()
    for process in processes:
        if process.pid != own:
            yield process


def _mark_of(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK)
    return None
