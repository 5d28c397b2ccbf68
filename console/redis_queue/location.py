"""Which server holds the streams: the one of the settings, the master that a Sentinel names, or nodes of a cluster.

`CLUSTER SLOTS` is asked, which every version knows. Its nodes are reached by the addresses that the cluster announces.
"""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ResponseError

from console.redis_queue.client import FAILURES, LocationError, connect, failure
from console.redis_settings import host_and_port
from console.settings import RedisSettings, Stream
from console.text import clean_line


def located(settings: RedisSettings, seconds: float) -> tuple[RedisSettings, ...]:
    """Return the settings of each server that holds streams, each with its own streams; one server if there are none.

    Raises one of FAILURES.
    """
    _check_files(settings)
    if settings.sentinel_master:
        return (_master(settings, seconds),)
    if settings.cluster:
        return _nodes(settings, seconds)
    return (settings,)


def _master(settings: RedisSettings, seconds: float) -> RedisSettings:
    name = settings.sentinel_master
    said = []
    sentinel = replace(settings, user=settings.sentinel_user, password=settings.sentinel_password, database=0)
    for each in _each_asked(sentinel):
        try:
            with connect(each, seconds) as client:
                found: Any = client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", name)
        except FAILURES as error:
            if isinstance(error, ResponseError) and "unknown command" in str(error).lower():
                said.append(f"the server at {each.address} is no Sentinel: redis.nodes must name Sentinels")
                continue
            said.append(failure(error, each, seconds, "the Sentinel", "redis.sentinel_"))
            continue
        if found:
            host, port = (str(part) for part in found[:2])
            return replace(settings, host=host, port=int(port), sentinel_master="", nodes=())
        said.append(f"the Sentinel at {each.address} knows no master {clean_line(name)}: check redis.sentinel_master")
    raise LocationError("; ".join(said))


def _nodes(settings: RedisSettings, seconds: float) -> tuple[RedisSettings, ...]:
    """Return the nodes of the cluster that hold the streams, by the first node that answers."""
    said = []
    for each in _each_asked(settings):
        try:
            with connect(each, seconds) as client:
                client.response_callbacks.pop("CLUSTER SLOTS", None)
                slots: Any = client.execute_command("CLUSTER SLOTS")
        except FAILURES as error:
            if isinstance(error, ResponseError) and "cluster support disabled" in str(error).lower():
                said.append(f"Redis at {each.address} is no node of a cluster: remove redis.cluster")
                continue
            said.append(failure(error, each, seconds))
            continue
        return tuple(_by_node(each, slots)) or (each,)
    raise LocationError("; ".join(said))


def _by_node(asked: RedisSettings, slots: Any) -> Iterator[RedisSettings]:
    """Yield the nodes of the streams. `slots` lists of each range its first, its last and the nodes, primary first."""
    holds: dict[tuple[str, int], list[Stream]] = {}
    for stream in asked.streams:
        slot = key_slot(stream.name.encode())
        node = next((each[2] for each in slots if each[0] <= slot <= each[1]), None)
        if node is None:
            raise LocationError(
                f"no node of the cluster at {asked.address} serves {clean_line(stream.name)} (slot {slot}): "
                "`CLUSTER INFO` says whether the cluster is whole"
            )
        host, port = str(node[0] or ""), int(node[1])
        # A node that does not know its own address leaves it empty: it is the one that was asked.
        holds.setdefault((host if host not in ("", "?", "None") else asked.host, port), []).append(stream)
    for (host, port), streams in holds.items():
        yield replace(asked, host=host, port=port, streams=tuple(streams))


def _each_asked(settings: RedisSettings) -> Iterator[RedisSettings]:
    """Yield the settings of each server to ask, as those of a single one."""
    single = replace(settings, nodes=(), sentinel_master="", cluster=False)
    if settings.socket:
        yield single
        return
    for node in settings.asked:
        host, port = host_and_port(node)
        yield replace(single, host=host, port=port)


def _check_files(settings: RedisSettings) -> None:
    """Raise LocationError if a file that TLS needs cannot be used; a key with a passphrase would ask the terminal."""
    if not settings.tls:
        return
    files = {"redis.ca": settings.ca, "redis.certificate": settings.certificate, "redis.key": settings.key}
    for key, file in files.items():
        try:
            if file:
                open(file, "rb").close()  # noqa: PTH123
        except OSError as error:
            raise LocationError(f"{key}: {clean_line(file)} cannot be read ({error.strerror})") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.ca:
            context.load_verify_locations(settings.ca)
    except ssl.SSLError:
        raise LocationError(f"redis.ca: {clean_line(settings.ca)} holds no certificate (PEM)") from None
    try:
        if settings.certificate:
            context.load_cert_chain(settings.certificate, settings.key or None, password="")
    except (ssl.SSLError, ValueError):
        raise LocationError(
            f"redis.certificate: {clean_line(settings.certificate)} and its key cannot be used: both must be PEM, "
            "belong together, and the key must have no passphrase"
        ) from None
