"""The Redis of a station that runs here, its streams, and the length that each is trimmed at. Nothing is changed."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import redis

from console.probes import running, trimming
from console.probes.running import Manager, Owner, RedisProcess
from console.questdb.layout import DatabaseRoot
from console.redis_queue.client import FAILURES, connect, failure
from console.redis_queue.location import located
from console.settings import RedisSettings, Stream
from console.text import clean_line

_KEYS: Final = 20_000  # looked at in Redis for streams
_ANSWER: Final = 3.0  # seconds that Redis gets for each answer


def found_queue(
    owner: Owner | None, known: RedisSettings, database: DatabaseRoot, sources: dict[str, str], doubts: list[str]
) -> tuple[int | None, RedisSettings]:
    """Return the Redis of the station, and its process if it runs here: the one that is known by name, else the one
    that the same manager runs, else the only one there is.
    """
    known = replace(known, streams=())
    anywhere = not known.placed and not known.database  # nobody has said in which database the streams are
    servers = running.redis_servers()
    if known.placed:
        sources["redis.url"] = "as it was set"
        pid = next((each.pid for each in servers if known.local and _is_at(known, each)), None)
    else:
        same = [each for each in servers if owner and _manager_of(each.pid) == owner.manager]
        candidates = same if len(same) == 1 else list(servers)
        if len(candidates) != 1:
            what = (
                "no Redis that this user may see runs here" if not servers else f"{len(servers)} Redis servers run here"
            )
            doubts.append(f"{what}: set redis.port (or redis.url) and redis.streams yourself")
            return None, RedisSettings()
        pid = candidates[0].pid
        place = ("", 0) if candidates[0].socket else running.reached(pid, candidates[0].port)
        if place is None:
            port = candidates[0].port
            doubts.append(f"Redis (pid {pid}) has a network of its own and port {port} is not published: set redis.url")
            return pid, RedisSettings()
        for name in ("socket",) if candidates[0].socket else ("host", "port"):
            sources[f"redis.{name}"] = f"pid {pid} listens there"
        known = replace(known, host=place[0] or known.host, port=place[1] or known.port, socket=candidates[0].socket)
    try:
        return pid, _with_streams(known, anywhere, {table.name for table in database.tables()}, sources, doubts)
    except FAILURES as error:
        doubts.append(f"{failure(error, known, _ANSWER)}; so redis.streams is not known")
        return pid, known


def _is_at(known: RedisSettings, process: RedisProcess) -> bool:
    return process.socket == known.socket if known.socket else process.port == known.port


def _with_streams(
    known: RedisSettings, anywhere: bool, tables: set[str], sources: dict[str, str], doubts: list[str]
) -> RedisSettings:
    place = located(known, _ANSWER)[0]
    if known.cluster:
        doubts.append("of a cluster only the streams of one node were looked for: add the others to redis.streams")
    with connect(place, _ANSWER) as client:
        streams: tuple[Stream, ...] = ()
        for number in _databases(client) if anywhere else [known.database]:
            with connect(replace(place, database=number), _ANSWER) as there:
                streams = _trimmed(there, tuple(_streams(there, tables, doubts)), sources, doubts)
            if streams:
                known = replace(known, database=number)
                break
    sources["redis.streams"] = f"the streams of Redis at {known.address} and their groups"
    if known.database and not known.url:
        sources["redis.database"] = "the one that holds streams"
    if not streams:
        doubts.append(f"Redis at {known.address} holds no stream: add redis.streams yourself")
    return replace(known, streams=streams)


def _databases(client: "redis.Redis") -> list[int]:
    """Return the databases to look into: the first, and all that hold keys."""
    info: Mapping[str, Any] = client.info("keyspace")
    others = sorted(int(name[2:]) for name in info if name[:2] == "db" and name[2:].isdecimal())
    return [0, *(each for each in others if each)]


def _streams(client: "redis.Redis", tables: set[str], doubts: list[str]) -> Iterable[Stream]:
    seen = 0
    for name in client.scan_iter(count=1_000, _type="stream"):
        seen += 1
        if seen > _KEYS:
            doubts.append(f"Redis holds more than {_KEYS:,} streams: the list is not whole")
            return
        groups = [str(group["name"]) for group in client.xinfo_groups(name)]
        if not groups:
            doubts.append(f"no group reads {clean_line(str(name))}: not used")
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
