"""Services under supervisord, by XML-RPC over its unix socket (http://supervisord.org/api.html).

Only the standard library is used: the `supervisor` package belongs to the demo, a station needs none of it.
"""

import contextlib
import http.client
import shlex
import socket
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import psutil

from console.services.model import ServiceControl, ServiceError, UnitSample, UnitState
from console.services.supervisor_log import RunHistory, SupervisorLog
from console.settings import Unit
from console.text import clean, clean_line, plural
from console.waiting import looks

_ANSWER = 5.0  # seconds for anything that only asks
_RESTARTED_BY = 3  # whole seconds after which supervisord, which looks once per second, will not restart what ended
_SHUTTING_DOWN, _BAD_NAME, _ABNORMAL, _SPAWN_ERROR, _ALREADY_STARTED, _NOT_RUNNING = 6, 10, 40, 50, 60, 70
_STOPPED, _RUNNING, _EXITED, _BACKOFF, _FATAL = 0, 20, 100, 30, 200  # process states of supervisor/states.py
_STATES = {
    _STOPPED: UnitState.DOWN,
    10: UnitState.STARTING,
    _RUNNING: UnitState.UP,
    _BACKOFF: UnitState.STARTING,
    40: UnitState.STOPPING,
    _EXITED: UnitState.DOWN,
    _FATAL: UnitState.FAILED,
}


class SupervisorControl(ServiceControl):
    backend = "supervisor"

    def __init__(self, path: str) -> None:
        if not path:
            raise ServiceError("services.backend is supervisor, but services.socket does not say where its socket is")
        self.path = path
        self._log = SupervisorLog()
        self._retries: dict[str, int] = {}

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        wanted = list(units)
        with self._connect(_ANSWER) as server:
            processes = {key: info for info in server.call("getAllProcessInfo") for key in _names(info)}
            self._log.follow(lambda offset, length: server.text("readLog", offset, length))
            if not self._retries:
                self._retries = {
                    key: int(info["startretries"]) for info in server.call("getAllConfigInfo") for key in _names(info)
                }
        return tuple(
            _sample(unit, processes.get(unit.name), self._log.history(unit.name), self._retries.get(unit.name))
            for unit in wanted
        )

    def names_by_pid(self) -> dict[int, str]:
        """Return the names of the programs that run, by process id. Raises ServiceError without an answer."""
        with self._connect(_ANSWER) as server:
            return {int(info["pid"]): str(info["name"]) for info in server.call("getAllProcessInfo") if info["pid"]}

    def log_file(self, unit: str) -> str:
        """Return where the output of `unit` goes. Raises ServiceError where it goes nowhere, or is not known."""
        with self._connect(_ANSWER) as server:
            try:
                path = str(server.call("getProcessInfo", unit)["stdout_logfile"])
            except _Fault as fault:
                raise self._refusal("tail", unit, fault) from None
        if not path.startswith("/"):
            raise ServiceError(f"supervisord keeps no log of {unit}; set stdout_logfile in its configuration")
        return path

    def manager_log(self, most: int) -> str:
        """Return the last `most` bytes of supervisord's own log. Raises ServiceError without an answer, or a log."""
        with self._connect(_ANSWER) as server:
            return clean(str(server.call("readLog", -most, 0)))

    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Stop `unit`; supervisord answers once its process is gone.

        Of one that has just ended by itself it says NOT_RUNNING, and starts it again a moment later where autorestart
        is set: so what is not stopped by us is watched for longer than that takes.
        """
        deadline = time.monotonic() + timeout
        with self._connect(timeout) as server:
            while True:
                try:
                    server.call("stopProcess", unit)
                except _Fault as fault:
                    if fault.code != _NOT_RUNNING:
                        raise self._refusal("stop", unit, fault) from None
                if self._stays_down(server, unit):
                    return
                if time.monotonic() > deadline:
                    raise ServiceError(f"supervisord keeps restarting {unit}; set autorestart=false for it")

    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Start `unit`; supervisord answers once it has stayed up for its `startsecs`."""
        with self._connect(timeout) as server:
            try:
                server.call("startProcess", unit)
            except _Fault as fault:
                if fault.code != _ALREADY_STARTED:
                    raise self._refusal("start", unit, fault) from None
                self._until_up(server, unit, timeout)

    def command_line(self, verb: str, unit: str) -> str:
        """Return e.g. `supervisorctl -s unix:///run/supervisor.sock stop batch-writer`; empty for mask and unmask."""
        if verb in ("mask", "unmask"):
            return ""
        return shlex.join(["supervisorctl", "-s", f"unix://{self.path}", verb, unit])

    def _stays_down(self, server: "_Server", unit: str) -> bool:
        """Return whether `unit` is down and supervisord will not start it again by itself."""
        while (info := server.call("getProcessInfo", unit))["state"] == _EXITED and not _held(_EXITED, info):
            time.sleep(0.1)
        return _held(int(info["state"]), info)

    def _until_up(self, server: "_Server", unit: str, timeout: float) -> None:
        """Wait for a process that supervisord had begun to start already."""
        for late in looks(timeout, 0.1):
            state = server.call("getProcessInfo", unit)["state"]
            if state == _RUNNING:
                return
            if late or state in (_STOPPED, _EXITED, _FATAL):
                raise ServiceError(f"{unit} does not stay up; `{self.command_line('tail', unit)}` says why")

    def _refusal(self, verb: str, unit: str, fault: "_Fault") -> ServiceError:
        command = self.command_line(verb, unit)
        if fault.code == _BAD_NAME:
            return ServiceError(
                f"supervisord knows no service {unit}; `{self.command_line('status', 'all')}` lists them"
            )
        if fault.code in (_ABNORMAL, _SPAWN_ERROR):
            return ServiceError(f"{unit} started and ended again; `{self.command_line('tail', unit)}` says why")
        return ServiceError(f"`{command}` failed: {fault}")

    def _connect(self, timeout: float) -> "_Server":
        return _Server(self.path, timeout)


class _Fault(ServiceError):
    """A fault that supervisord answered with; a sentence also where nobody expected it."""

    def __init__(self, path: str, code: int, text: str) -> None:
        why = "is shutting down" if code == _SHUTTING_DOWN else f"refused: {clean_line(text)}"
        super().__init__(f"supervisord at {path} {why}")
        self.code = code


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket, one connection for all calls."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__()
        self._path, self._timeout = path, timeout
        self._kept: _Connection | None = None

    def make_connection(self, host: Any) -> _Connection:
        if self._kept is None:
            self._kept = _Connection(self._path, self._timeout)
        return self._kept

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


class _Server:
    """One conversation with supervisord; every failure is one sentence, a fault of its own a _Fault."""

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._transport = _Transport(path, timeout)
        self._proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=self._transport)

    def __enter__(self) -> "_Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise _Fault(self._path, fault.faultCode, fault.faultString) from None
        except xmlrpc.client.ProtocolError as error:
            if error.errcode == 401:
                raise ServiceError(
                    f"supervisord at {self._path} asks for a password; give its socket to this user without one"
                ) from None
            raise ServiceError(f"supervisord at {self._path} answered HTTP {error.errcode}") from None
        except FileNotFoundError:
            raise ServiceError(f"there is no supervisord socket at {self._path}; is supervisord running?") from None
        except PermissionError:
            raise ServiceError(f"no permission to use {self._path}; run as its owner ({_owner(self._path)})") from None
        except TimeoutError:
            raise ServiceError(f"supervisord at {self._path} did not answer within {self._timeout:.0f} s") from None
        except (OSError, http.client.HTTPException) as error:
            message = getattr(error, "strerror", None) or type(error).__name__
            raise ServiceError(f"supervisord at {self._path} does not answer ({message}); is it running?") from error
        except (ExpatError, xmlrpc.client.Error) as error:
            raise ServiceError(f"supervisord at {self._path} gave an answer that is no XML-RPC") from error

    def text(self, method: str, *arguments: Any) -> str | None:
        """Return the text that `method` answers with, None where it has none (no log, or one that XML cannot carry)."""
        with contextlib.suppress(ServiceError):
            return str(self.call(method, *arguments))
        return None


def _owner(path: str) -> str:
    try:
        return Path(path).owner()
    except (OSError, KeyError):
        return "see ls -l"


def _names(info: Mapping[str, Any]) -> tuple[str, str]:
    return str(info["name"]), f"{info['group']}:{info['name']}"


def _sample(unit: Unit, info: Mapping[str, Any] | None, history: RunHistory | None, retries: int | None) -> UnitSample:
    """Return what supervisord says of one process, and what its log says of the earlier runs."""
    role = unit.role.value
    if info is None:
        return UnitSample(unit.name, role, UnitState.UNKNOWN, result="no such service", sub_state="not-found")
    code = int(info["state"])
    state = _STATES.get(code, UnitState.UNKNOWN)
    result = history.result if history else ""
    status = int(info["exitstatus"])
    if not result and status > 0:
        result = f"exit {status}"
    if code == _EXITED and (history.unexpected if history else status != 0):
        state = UnitState.FAILED
    return UnitSample(
        name=unit.name,
        role=role,
        state=state,
        pid=int(info["pid"]) or None,
        uptime=float(max(0, info["now"] - info["start"])) if state is UnitState.UP else None,
        restarts=history.restarts if history else None,
        memory=_memory(int(info["pid"])),
        result=result or clean_line(str(info["spawnerr"])),
        sub_state=clean_line(str(info["statename"])),
        loop=_loop(code, history, retries),
        held=_held(code, info),
    )


def _held(code: int, info: Mapping[str, Any]) -> bool:
    """Return whether supervisord will not start it again: right after its end, what is EXITED may be restarted."""
    ended_for = int(info["now"]) - int(info["stop"])  # whole seconds
    return code in (_STOPPED, _FATAL) or (code == _EXITED and ended_for > _RESTARTED_BY)


def _memory(pid: int) -> int | None:
    """Return the resident bytes of `pid`; the socket is a local one, so the process is too."""
    if not pid:
        return None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _loop(code: int, history: RunHistory | None, retries: int | None) -> str:
    restarts = history.restarts if history else 0
    if code == _FATAL:
        return f"gave up: does not stay up, limit {retries} retries" if retries is not None else "gave up"
    if code == _STOPPED or (code != _BACKOFF and not (history and history.looping)):
        return ""
    limit = f"limit {retries} quick retries in a row" if retries is not None else "limit unknown"
    return f"crash loop: {plural(restarts, 'restart')}; {limit}"
