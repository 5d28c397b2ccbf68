"""The part of `init` that finds the services: who serves, adds and reads, and what runs each of them."""

import contextlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from console.probes import running
from console.probes.found_server import port_of
from console.probes.running import Owner
from console.questdb.server_processes import ServerProcess
from console.redis_queue.client import FAILURES, connect
from console.redis_queue.location import located
from console.settings import RedisSettings, Role, ServicesSettings, Unit, is_unit_name
from console.text import clean_line

_ANSWER: Final = 3.0  # seconds that Redis gets for each answer
_LOOKS, _LOOK = 8, 0.4  # how often clients are looked at, and the seconds between two looks
_READS = ("xreadgroup", "xack", "xautoclaim", "xclaim", "xgroup|create", "xpending")  # what a consumer of a group does
_ADDS = ("xadd",)
_RUNS_OTHERS: Final = re.compile(r"(?:python|ruby|perl|node|java|bash|sh|dash|env|sudo|uv)[\d.]*")
_LONGEST_TEXT: Final = 200


def found_services(
    server: ServerProcess | None,
    queue_pid: int | None,
    queue: RedisSettings,
    owner: Owner | None,
    sources: dict[str, str],
    doubts: list[str],
) -> ServicesSettings:
    if server is None:
        doubts.append("no service was found that runs the server: set services.backend and services.units yourself")
        return ServicesSettings()
    held = {pid: role for pid, role in ((queue_pid, Role.QUEUE),) if pid is not None}
    if queue.streams:
        held |= _clients(queue, queue_pid)
    if owner is None:
        return _by_hand(server, held, sources, doubts)
    roles: dict[str, Role] = {owner.unit: Role.DATABASE}
    for pid, role in held.items():
        found = running.owner_of(pid)
        if found is not None and found.manager == owner.manager:
            roles.setdefault(found.unit, role)
    for role, what in ((Role.WRITER, "reads the streams"), (Role.FEED, "adds to the streams")):
        if role not in roles.values():
            doubts.append(f"no unit was seen that {what}: add the {role} to services.units")
    sources["services.backend"] = f"what runs pid {server.pid}"
    sources["services.units"] = "the processes that serve, add and read, seen at work"
    if owner.manager.socket:
        sources["services.socket"] = "supervisord's own configuration"
    for name in [name for name in roles if not is_unit_name(name)]:
        doubts.append(f"the {roles.pop(name)} runs as {name!a}, which is no name for settings: rename it there")
    ordered = sorted(roles.items(), key=lambda item: (list(Role).index(item[1]), item[0]))
    units = tuple(Unit(name, role) for name, role in ordered)
    return ServicesSettings(owner.manager.backend, owner.manager.socket, units)


def _unshown() -> str:
    which = "the server runs in a container that neither podman nor docker shows to this user"
    if os.geteuid():
        return f"{which}: run init as root, or as the user whose container it is"
    return f"{which}: run init as the user whose container it is, or start and stop it when walmedic asks"


def _by_hand(
    server: ServerProcess, held: Mapping[int, Role], sources: dict[str, str], doubts: list[str]
) -> ServicesSettings:
    """Return units that the operator starts and stops, each known by text in the command line of its process."""
    if running.in_kubernetes(server.pid):
        doubts.append("the server runs in a Kubernetes pod: see docs/containers.md for services.backend = kubernetes")
    elif server.contained:
        doubts.append(_unshown())
    else:
        doubts.append("no service manager was found that runs the server: you start and stop it when walmedic asks")
    units = {"questdb": Unit("questdb", Role.DATABASE)}
    for pid, role in held.items():
        text = _known_by(pid)
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(text.split(" ")[0]).stem).strip("-") or role.value
        name = stem if stem not in units else f"{stem}-{pid}"
        if text:
            units[name] = Unit(name, role, process=text)
    for role, what in ((Role.WRITER, "reads the streams"), (Role.FEED, "adds to the streams")):
        if role not in [unit.role for unit in units.values()]:
            doubts.append(f"no process was seen that {what}: add the {role} to services.units")
    sources["services.backend"] = f"nothing known runs pid {server.pid}"
    ordered = sorted(units.values(), key=lambda unit: (list(Role).index(unit.role), unit.name))
    return ServicesSettings("by-hand", "", tuple(ordered))


def _known_by(pid: int) -> str:
    """Return what tells a process from others: its program, or the script that its program runs."""
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return ""
    own = (word for word in words if not word.startswith("-") and not _RUNS_OTHERS.fullmatch(Path(word).name))
    return clean_line(next(own, words[0] if words else ""), _LONGEST_TEXT).strip()


def _end(address: str) -> tuple[str, int]:
    return address.rpartition(":")[0].strip("[]"), port_of(address)


def _clients(queue: RedisSettings, queue_pid: int | None) -> dict[int, Role]:
    """Return which local process adds to the streams and which reads from their groups, by process id.

    Redis tells the last command of a connection only, so they are watched for a moment. Who reads is a writer to the
    database, though it may add as well.
    """
    found: dict[int, Role] = {}
    with contextlib.suppress(*FAILURES), connect(place := located(queue, _ANSWER)[0], _ANSWER) as client:
        near = queue_pid if queue_pid is not None or not place.local else os.getpid()
        for _ in range(_LOOKS):
            clients, held = client.client_list(), running.pids_by_end(near)
            for each in clients:
                command, pid = str(each.get("cmd", "")), held.get(_end(str(each.get("addr", ""))))
                if pid is not None and command in _READS:
                    found[pid] = Role.WRITER
                elif pid is not None and command in _ADDS:
                    found.setdefault(pid, Role.FEED)
            if {Role.WRITER, Role.FEED} <= set(found.values()):
                break
            time.sleep(_LOOK)
    return found
