"""What runs on this machine: QuestDB and Redis processes, and the service that each process belongs to."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from console.services.model import ServiceError
from console.services.supervisor import SupervisorControl

_UNIT = re.compile(r"([^/]+\.service)$")
_USER_MANAGER = re.compile(r"/user@\d+\.service/")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A QuestDB: its data root, and what runs it. `ports` are the TCP ports it listens on, empty where not seen."""

    pid: int
    root: Path
    java: str
    jar: str
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Manager:
    """What runs services: a backend of the settings, and supervisord's socket."""

    backend: str
    socket: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """The service that a process belongs to."""

    manager: Manager
    unit: str


def questdb_servers() -> tuple[ServerProcess, ...]:
    """Return the QuestDB servers that this user may see, by data root."""
    found = []
    for process, arguments in _command_lines():
        if not any("io.questdb" in word for word in arguments) or "-d" not in arguments[:-1]:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            root = Path(arguments[arguments.index("-d") + 1])
            root = root if root.is_absolute() else Path(process.cwd()) / root
            jar = next((word for word in arguments if word.endswith(".jar")), "")
            found.append(ServerProcess(process.pid, root.resolve(), process.exe(), jar, listening(process.pid)))
    return tuple(sorted(found, key=lambda server: (server.root, server.pid)))


def redis_servers() -> tuple[tuple[int, int], ...]:
    """Return (pid, port) of each Redis (or Valkey) that this user may see."""
    found = []
    for process, arguments in _command_lines():
        if Path(arguments[0]).name.startswith(("redis-server", "valkey-server")):
            found += [(process.pid, port) for port in sorted(listening(process.pid))[:1]]
    return tuple(found)


def listening(pid: int) -> frozenset[int]:
    """Return the TCP ports that `pid` listens on, none where this user may not see them."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return frozenset()
    return frozenset(each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN)


def output_file(pid: int) -> str:
    """Return the regular file that the standard output of `pid` goes to, empty where it is none or may not be seen."""
    try:
        place = Path(f"/proc/{pid}/fd/1").readlink()
        return str(place) if place.is_file() and not place.is_symlink() else ""
    except OSError:
        return ""


def pids_by_port() -> dict[int, int]:
    """Return which process holds each local TCP port of an open connection, as far as this user may see."""
    found = {}
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error):
            for each in psutil.Process(pid).net_connections("tcp"):
                if each.status == psutil.CONN_ESTABLISHED:
                    found[each.laddr.port] = pid
    return found


def owner_of(pid: int) -> Owner | None:
    """Return the service that `pid` belongs to: by its control group, else by the supervisord above it."""
    return _systemd_owner(pid) or _supervisor_owner(pid)


def _systemd_owner(pid: int) -> Owner | None:
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text(errors="replace")
    except OSError:
        return None
    for line in groups.splitlines():
        path = line.split(":", 2)[-1]
        unit = _UNIT.search(path)
        if unit and not unit[1].startswith("user@"):
            return Owner(Manager("systemd-user" if _USER_MANAGER.search(path) else "systemd"), unit[1])
    return None


def _supervisor_owner(pid: int) -> Owner | None:
    """Return the program, for a process below a supervisord whose configuration names a unix socket."""
    chain = [pid]
    try:
        above = psutil.Process(pid).parents()
    except psutil.Error:
        return None
    for process in above:
        with contextlib.suppress(psutil.Error, OSError, ServiceError):
            socket = _socket_of(process)
            if socket:
                names = SupervisorControl(socket).names_by_pid()
                program = next((names[each] for each in chain if each in names), None)
                return Owner(Manager("supervisor", socket), program) if program else None
        chain.append(process.pid)
    return None


def _socket_of(process: psutil.Process) -> str:
    """Return the unix socket of a supervisord, empty for any other process. Raises psutil.Error, OSError."""
    arguments = process.cmdline()
    if not any("supervisord" in word for word in arguments[:3]):
        return ""
    named = next((arguments[i + 1] for i, word in enumerate(arguments[:-1]) if word in ("-c", "--configuration")), "")
    file = Path(named or "/etc/supervisor/supervisord.conf")
    file = file if file.is_absolute() else Path(process.cwd()) / file
    section = ""
    for line in file.read_text(errors="replace").splitlines():
        text = line.split(" ;", 1)[0].strip()
        if text.startswith("["):
            section = text
        elif section == "[unix_http_server]" and text.partition("=")[0].strip() == "file":
            return text.partition("=")[2].strip().replace("%(here)s", str(file.parent))
    return ""


def _command_lines() -> Iterator[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            arguments = process.cmdline()
            if arguments and arguments[0]:
                yield process, arguments
