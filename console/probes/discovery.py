"""Finding the running station: data root, ports, queue, streams, units and what each unit is to the station."""

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import redis

from console.errors import WalmedicError
from console.probes import running, trimming
from console.probes.running import Manager, Owner, ServerProcess
from console.questdb.layout import DatabaseRoot
from console.redis_queue.client import FAILURES, connect
from console.services.supervisor import SupervisorControl
from console.settings import (
    QuestDBSettings,
    RedisSettings,
    Role,
    ServicesSettings,
    Settings,
    Stream,
    Unit,
    is_unit_name,
)  # fmt: skip
from console.text import clean_line

_KEYS = 20_000  # looked at in Redis for streams
_LARGEST_CONF = 1 << 20  # bytes
_ANSWER = 3.0  # seconds that Redis gets for each answer
_LOOKS, _LOOK = 8, 0.4  # how often clients are looked at, and the seconds between two looks
_CONTAINER = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")  # how Docker names one that nobody named
_READS = ("xreadgroup", "xack", "xautoclaim", "xclaim", "xgroup|create", "xpending")  # what a consumer of a group does
_ADDS = ("xadd",)
# Settings of server.conf, newest spelling first, and the port where none is there (QuestDB 9.1).
_PORTS = {
    "pg_port": (("pg.net.bind.to",), 8812),
    "http_port": (("http.bind.to", "http.net.bind.to"), 9000),
    "health_port": (("http.min.bind.to", "http.min.net.bind.to"), 9003),
}


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found: settings with the source of each value, and what a person has to look at, one sentence each."""

    settings: Settings
    doubts: tuple[str, ...]


def discover(db_root: str = "", redis_password: str = "") -> Discovery:
    """Return the station that runs on this machine, that on `db_root` where several do. Nothing is changed.

    Raises WalmedicError where no QuestDB is found, or several and none is named.
    """
    server, database = _database(db_root)
    doubts: list[str] = []
    sources: dict[str, str] = {}
    questdb = _questdb(server, database, sources, doubts)
    owner = running.owner_of(server.pid) if server else None
    queue_pid, queue = _queue(owner, redis_password, database, sources, doubts)
    services = _services(server, queue_pid, queue, owner, redis_password, sources, doubts)
    settings = Settings(questdb=questdb, redis=queue, services=services, sources=sources)
    log = _log(server, owner)
    if log:
        sources["questdb.log"] = "where its output goes"
        settings = replace(settings, questdb=replace(questdb, log=log))
    name, sources["station"] = _name(settings)
    return Discovery(replace(settings, station=name), tuple(doubts))


def _name(settings: Settings) -> tuple[str, str]:
    """Return what a person would call the station, and from where: the machine's name, unless that is a container's."""
    host = socket.gethostname().partition(".")[0]
    if host and host != "localhost" and not _CONTAINER.fullmatch(host):
        return clean_line(host), "the machine's name"
    return settings.station_name, "the data root's directory"


def _log(server: ServerProcess | None, owner: Owner | None) -> str:
    """Return the file that the server's output goes to, empty where it goes to the journal or is not known."""
    if server is None:
        return ""
    if owner is not None and owner.manager.backend == "supervisor":
        with contextlib.suppress(WalmedicError):
            return SupervisorControl(owner.manager.socket).log_file(owner.unit)
        return ""
    return running.output_file(server.pid)


def _database(db_root: str) -> tuple[ServerProcess | None, DatabaseRoot]:
    servers = running.questdb_servers()
    if db_root:
        database = DatabaseRoot.locate(Path(db_root))
        return next((each for each in servers if each.root == database.root), None), database
    roots = sorted({server.root for server in servers})
    if not roots:
        raise WalmedicError("no QuestDB that this user may see runs here; start it, or name its directory: --db-root")
    if len(roots) > 1:
        shown = ", ".join(clean_line(str(root)) for root in roots)
        raise WalmedicError(f"{len(roots)} QuestDB servers run here ({shown}); name one of them with --db-root")
    return servers[0], DatabaseRoot.locate(roots[0])


def _questdb(
    server: ServerProcess | None, database: DatabaseRoot, sources: dict[str, str], doubts: list[str]
) -> QuestDBSettings:
    conf = database.root / "conf" / "server.conf"
    properties = _properties(conf)
    values: dict[str, int] = {}
    for name, (keys, usual) in _PORTS.items():
        key = next((key for key in keys if key in properties), "")
        port = _port(properties.get(key, ""))
        values[name] = port or usual
        if port:
            sources[f"questdb.{name}"] = f"{key} in {clean_line(str(conf))}"
        if server and server.ports and values[name] not in server.ports and name != "health_port":
            doubts.append(f"the server (pid {server.pid}) does not listen on {values[name]}: check questdb.{name}")
    sources["questdb.db_root"] = f"command line of pid {server.pid}" if server else "--db-root"
    if server is None:
        doubts.append("no server that this user may see runs on it: ports are those of its configuration")
    else:
        sources["questdb.jar"] = sources["questdb.java"] = f"pid {server.pid}"
    if properties.get("pg.readonly.user.enabled") == "true":
        doubts.append("the server has a read-only user: set questdb.readonly_user and its password to observe with it")
    return QuestDBSettings(
        db_root=str(database.root),
        jar=server.jar if server else "",
        java=server.java if server else "",
        pg_port=values["pg_port"],
        http_port=values["http_port"],
        health_port=values["health_port"],
    )


def _queue(
    owner: Owner | None, password: str, database: DatabaseRoot, sources: dict[str, str], doubts: list[str]
) -> tuple[int | None, RedisSettings]:
    """Return the Redis of the station: the one that the same manager runs, else the only one there is."""
    servers = running.redis_servers()
    same = [each for each in servers if owner and _manager_of(each[0]) == owner.manager]
    candidates = same if len(same) == 1 else list(servers)
    if len(candidates) != 1:
        what = "no Redis that this user may see runs here" if not servers else f"{len(servers)} Redis servers run here"
        doubts.append(f"{what}: set redis.port and redis.streams yourself")
        return None, RedisSettings()
    pid, port = candidates[0]
    sources["redis.port"] = f"pid {pid} listens there"
    found = RedisSettings(port=port, password=password)
    tables = {table.name for table in database.tables()}
    try:
        with connect(found, _ANSWER) as client:
            streams = _trimmed(client, tuple(_streams(client, tables, doubts)), sources, doubts)
    except FAILURES as error:
        doubts.append(f"Redis on port {port} does not let itself be asked ({clean_line(str(error), 120)})")
        return pid, found
    sources["redis.streams"] = f"the streams of Redis on port {port} and their groups"
    if not streams:
        doubts.append(f"Redis on port {port} holds no stream: add redis.streams yourself")
    return pid, replace(found, streams=streams)


def _streams(client: "redis.Redis", tables: set[str], doubts: list[str]) -> Iterable[Stream]:
    seen = 0
    for name in client.scan_iter(count=1_000, _type="stream"):
        seen += 1
        if seen > _KEYS:
            doubts.append(f"Redis holds more than {_KEYS:,} streams: the list is not whole")
            return
        groups = [str(group["name"]) for group in client.xinfo_groups(name)]
        if not groups:
            doubts.append(f"no group reads {clean_line(str(name))}: it was left out")
            continue
        if len(groups) > 1:
            doubts.append(f"{len(groups)} groups read {clean_line(str(name))}: {clean_line(groups[0])} was taken")
        table = next((each for each in (str(name), str(name).removesuffix("_stream")) if each in tables), "")
        yield Stream(str(name), groups[0], table)


def _trimmed(
    client: "redis.Redis", streams: tuple[Stream, ...], sources: dict[str, str], doubts: list[str]
) -> tuple[Stream, ...]:
    """Return the streams, each with the length that it is trimmed at where that was seen."""
    found = trimming.watch(client, [stream.name for stream in streams])
    for name, seen in found.items():
        if seen.length:
            sources[f"redis.streams.{name}.max_length"] = seen.evidence
        else:
            doubts.append(f"max_length of {clean_line(name)} is not known: {seen.evidence}")
    return tuple(
        replace(stream, max_length=found[stream.name].length) if stream.name in found else stream for stream in streams
    )


def _services(
    server: ServerProcess | None,
    queue_pid: int | None,
    queue: RedisSettings,
    owner: Owner | None,
    password: str,
    sources: dict[str, str],
    doubts: list[str],
) -> ServicesSettings:
    """Return the units, each with the role that its process was seen in."""
    if owner is None:
        doubts.append("no service was found that runs the server: set services.backend and services.units yourself")
        return ServicesSettings()
    roles: dict[str, Role] = {owner.unit: Role.DATABASE}
    held = {pid: role for pid, role in ((queue_pid, Role.QUEUE),) if pid is not None}
    if queue.streams:
        held |= _clients(replace(queue, password=password))
    for pid, role in held.items():
        found = running.owner_of(pid)
        if found is not None and found.manager == owner.manager:
            roles.setdefault(found.unit, role)
    for role, what in ((Role.WRITER, "reads the streams"), (Role.FEED, "adds to the streams")):
        if role not in roles.values():
            doubts.append(f"no unit was seen that {what}: add the {role} to services.units")
    sources["services.backend"] = f"what runs pid {server.pid}" if server else ""
    sources["services.units"] = "the processes that serve, add and read, seen at work"
    if owner.manager.socket:
        sources["services.socket"] = "supervisord's own configuration"
    for name in [name for name in roles if not is_unit_name(name)]:
        doubts.append(f"the {roles.pop(name)} runs as {name!a}, which is no name for settings: rename it there")
    ordered = sorted(roles.items(), key=lambda item: (list(Role).index(item[1]), item[0]))
    units = tuple(Unit(name, role) for name, role in ordered)
    return ServicesSettings(owner.manager.backend, owner.manager.socket, units)


def _clients(queue: RedisSettings) -> dict[int, Role]:
    """Return which local process adds to the streams and which reads from their groups, by process id.

    Redis tells the last command of a connection only, so they are watched for a moment. Who reads is a writer to the
    database, though it may add as well.
    """
    found: dict[int, Role] = {}
    with contextlib.suppress(*FAILURES), connect(queue, _ANSWER) as client:
        for _ in range(_LOOKS):
            clients, held = client.client_list(), running.pids_by_port()
            for each in clients:
                command, pid = str(each.get("cmd", "")), held.get(_port(str(each.get("addr", ""))))
                if pid is not None and command in _READS:
                    found[pid] = Role.WRITER
                elif pid is not None and command in _ADDS:
                    found.setdefault(pid, Role.FEED)
            if {Role.WRITER, Role.FEED} <= set(found.values()):
                break
            time.sleep(_LOOK)
    return found


def _manager_of(pid: int) -> Manager | None:
    owner = running.owner_of(pid)
    return owner.manager if owner else None


def _properties(conf: Path) -> dict[str, str]:
    """Return the settings of a server.conf; nothing where it cannot be read (all is then as usual)."""
    try:
        descriptor = os.open(conf, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        text = os.read(descriptor, _LARGEST_CONF).decode(errors="replace")
    except OSError:
        return {}
    finally:
        os.close(descriptor)
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith(("#", "!")))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _port(address: str) -> int:
    """Return the port of `host:port` or `port`, 0 where there is none."""
    digits = address.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and 0 < int(digits) < 65_536 else 0
