"""Faults planted once a backlog is drained: another table under the name, and entries that are unread again."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from console.recovery.actions.thaw_writer.steps import WatchBacklog
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Claim
from console.recovery.server.sql import Server
from console.recovery.steps.steps import RunContext
from console.redis_queue.reader import Queue, Waiting
from console.settings import Role, Stream

PLANTED = {ClaimKey.FIRST_BATCH, ClaimKey.ACKNOWLEDGED, ClaimKey.FRESH}


def plant_in_a_drain(monkeypatch: pytest.MonkeyPatch, engine: Engine, stream: Stream) -> list[set[ClaimKey]]:
    """Have the next proof of a drain made twice, first with the faults; return where what failed then is noted."""
    proof, failed = WatchBacklog._proof, list[set[ClaimKey]]()

    def planted(watch: WatchBacklog, run: RunContext, queue: Queue, waiting: tuple[Waiting, ...]) -> Iterator[Claim]:
        monkeypatch.setattr(WatchBacklog, "_proof", proof)
        with _writer_paused(engine), _faults(engine, stream):
            claims = tuple(proof(watch, run, queue, queue.waiting()))
        failed.append({claim.key for claim in claims if not claim.ok and claim.table == stream.table})
        yield from proof(watch, run, queue, waiting)

    monkeypatch.setattr(WatchBacklog, "_proof", planted)
    return failed


@contextlib.contextmanager
def _writer_paused(engine: Engine) -> Iterator[None]:
    services = engine._services()
    assert services is not None
    (writer,) = services.states([unit for unit in engine.settings.services.units if unit.role is Role.WRITER])
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(writer.pid, signal.SIGCONT)


@contextlib.contextmanager
def _faults(engine: Engine, stream: Stream) -> Iterator[None]:
    """The name belongs to a table with nine old rows and one transaction; the group has read nothing."""
    server, port = Server(engine.settings.questdb), engine.settings.redis.port
    with redis.Redis(port=port, decode_responses=True) as client:
        groups: Any = client.xinfo_groups(stream.name)
        delivered = next(group["last-delivered-id"] for group in groups if group["name"] == stream.group)
        rows = "(SELECT * FROM drained LIMIT 9) TIMESTAMP(timestamp) PARTITION BY DAY WAL"
        server.rows(f"RENAME TABLE {stream.table} TO drained")
        try:
            server.rows(f"CREATE TABLE {stream.table} AS {rows}")
            client.xgroup_setid(stream.name, stream.group, "0")
            yield
        finally:
            client.xgroup_setid(stream.name, stream.group, delivered)
            server.rows(f"DROP TABLE IF EXISTS {stream.table}")
            server.rows(f"RENAME TABLE drained TO {stream.table}")
