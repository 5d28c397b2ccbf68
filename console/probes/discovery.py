"""Finding the running station: data root, ports, queue, streams, units and what each unit is to the station."""

import contextlib
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

import redis

from console.errors import WalmedicError
from console.probes import running, trimming
from console.probes.found_server import found_server, questdb_settings, read_only_user
from console.probes.found_services import found_services
from console.probes.running import Manager, Owner
from console.questdb.layout import DatabaseRoot
from console.questdb.server_processes import ServerProcess
from console.redis_queue.client import FAILURES, connect
from console.services.supervisor import SupervisorControl
from console.settings import (
    RedisSettings,
    Settings,
    Stream,
)  # fmt: skip
from console.text import clean_line

_KEYS = 20_000  # looked at in Redis for streams
_ANSWER = 3.0  # seconds that Redis gets for each answer
_CONTAINER = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")  # how Docker names one that nobody named


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found: settings with the source of each value, and what a person has to look at, one sentence each."""

    settings: Settings
    doubts: tuple[str, ...]


def discover(db_root: str = "", redis_password: str = "") -> Discovery:
    """Return the station that runs on this machine, that on `db_root` where several do. Nothing is changed.

    Raises WalmedicError where no QuestDB is found, or several and none is named.
    """
    server, database = found_server(db_root)
    doubts: list[str] = []
    sources: dict[str, str] = {}
    questdb = questdb_settings(server, database, sources, doubts)
    if read_only_user(server, database):
        doubts.append("the server has a read-only user: set questdb.readonly_user and its password to observe with it")
    owner = running.owner_of(server.pid) if server else None
    queue_pid, queue = _queue(owner, redis_password, database, sources, doubts)
    services = found_services(server, queue_pid, queue, owner, redis_password, sources, doubts)
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


def _manager_of(pid: int) -> Manager | None:
    owner = running.owner_of(pid)
    return owner.manager if owner else None
