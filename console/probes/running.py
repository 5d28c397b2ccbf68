"""What runs on this machine: Redis processes, and the service or container that each process belongs to."""

import contextlib
import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from console.questdb.process_sockets import End, connected, listening, network_of, unix_sockets
from console.questdb.server_processes import has_own_network, here, in_container
from console.services.containers import ContainerControl, address_of, name_of, pid_of, published, unit_of
from console.services.model import ServiceError
from console.services.supervisor import SupervisorControl
from console.settings import Settings

_UNIT = re.compile(r"([^/]+\.service)$")
_USER_MANAGER = re.compile(r"/user@\d+\.service/")


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


@dataclass(frozen=True, slots=True)
class RedisProcess:
    """A Redis (or Valkey): the port that it listens on in its own network, or if there is none, its unix socket."""

    pid: int
    port: int = 0
    socket: str = ""


def redis_servers() -> tuple[RedisProcess, ...]:
    """Return each Redis (or Valkey) that this user may see, and that listens."""
    found = []
    for process, arguments in _command_lines():
        if Path(arguments[0].partition(" ")[0]).name.startswith(("redis-server", "valkey-server")):
            port = min(listening(process.pid), default=0)
            paths = () if port else (here(process.pid, each) for each in unix_sockets(process.pid))
            socket = str(next(filter(None, paths), ""))
            found += [RedisProcess(process.pid, port, socket)] if port or socket else []
    return tuple(found)


def reached(pid: int, port: int) -> tuple[str, int] | None:
    """Return host and port here of a port that `pid` listens on; no host: this machine. None if nothing reaches it."""
    if not has_own_network(pid):
        return "", port
    known = container_of(pid)
    container = known[1] if known is not None else {}
    if port in (shown := published(container)):
        return "", shown[port]
    address = address_of(container)
    return (address, port) if address else None


def output_file(pid: int) -> str:
    """Return the regular file that the standard output of `pid` goes to, empty where it is none or may not be seen."""
    try:
        place = Path(f"/proc/{pid}/fd/1").readlink()
        return str(place) if place.is_file() and not place.is_symlink() else ""
    except OSError:
        return ""


def pids_by_end(near: int | None) -> dict[End, int]:
    """Return which process holds each end of an open TCP connection, as far as this user may see.

    `near` is a process in whose network the ends are named, None if that network is not on this machine. A loopback
    address is another one in each network, and two networks may both have an address: such an end is nobody's.
    """
    networks = connected(psutil.pids())
    own = networks.pop(network_of(near), {}) if near is not None else {}
    times = Counter(end for ends in networks.values() for end in ends)
    elsewhere = {end: pid for ends in networks.values() for end, pid in ends.items() if times[end] == 1}
    return {end: pid for end, pid in elsewhere.items() if not ipaddress.ip_address(end[0]).is_loopback} | own


def owner_of(pid: int) -> Owner | None:
    """Return the service that `pid` belongs to: its container, else by its control group or the supervisord above."""
    if in_container(pid):
        return _container_owner(pid)
    return _systemd_owner(pid) or _supervisor_owner(pid)


def container_of(pid: int) -> tuple[str, Mapping[str, Any]] | None:
    """Return the engine (`podman` or `docker`) and what it says of the container of `pid`; None where none knows it."""
    try:
        chain = {pid, *(each.pid for each in psutil.Process(pid).parents())}
    except psutil.Error:
        return None
    for program in ("podman", "docker"):
        with contextlib.suppress(ServiceError):
            for found in ContainerControl(program, Settings()).containers():
                if pid_of(found) in chain:
                    return program, found
    return None


def _container_owner(pid: int) -> Owner | None:
    """Return the container; or the systemd unit that runs it, which would start it again."""
    known = container_of(pid)
    if known is None:
        return None
    unit = unit_of(known[1])
    return Owner(Manager(_manager_by(_groups(pid))), unit) if unit else Owner(Manager(known[0]), name_of(known[1]))


def in_kubernetes(pid: int) -> bool:
    return "kubepods" in _groups(pid)


def _systemd_owner(pid: int) -> Owner | None:
    for line in _groups(pid).splitlines():
        path = line.split(":", 2)[-1]
        unit = _UNIT.search(path)
        if unit and not unit[1].startswith("user@"):
            return Owner(Manager(_manager_by(path)), unit[1])
    return None


def _groups(pid: int) -> str:
    """Return the control groups of `pid`, a line each; empty where they cannot be read."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(errors="replace")
    except OSError:
        return ""


def _manager_by(groups: str) -> str:
    return "systemd-user" if _USER_MANAGER.search(groups) else "systemd"


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
