"""What waits for the writer, on Redis 7 and on 6.2, whose streams lose entries that the writer had not read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from console.recovery.actions.freeze_writer.headroom import headroom_of
from console.redis_queue.reader import Queue, QueueError, Waiting
from console.settings import RedisSettings, Stream
from tests.real.redis_server import BINARIES, RedisServer

_STREAM, _GROUP = "market:trades", "writer"


@pytest.fixture(scope="module", params=list(BINARIES))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with nothing in it."""
    found = RedisServer(Path(BINARIES[request.param]), tmp_path_factory.mktemp("redis"))
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


def _ids(client: "redis.Redis") -> list[str]:
    entries: Any = client.xrange(_STREAM)
    return [entry for entry, _ in entries]


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
    reported = client.xinfo_groups(_STREAM)[0].get("lag")
    assert reported in (None, 50, 0)  # 6.2, Redis 7, and newer ones that take it off
    assert waiting.trimmed == reported


def test_deleted_entries_are_counted_as_gone(server: RedisServer, client: "redis.Redis") -> None:
    _add(client, 20)
    _read(client, 5)
    entries: Any = client.xrange(_STREAM)
    client.xdel(_STREAM, *[entry for entry, _ in entries[8:11]])
    assert (_waiting(server).lag, _waiting(server).exact) == (12, True)


def _feed(client: "redis.Redis", count: int, per_second: float) -> None:
    """Add entries whose ids say that they came one after another, the last one now."""
    seconds, micros = client.time()
    now = int(seconds) * 1000 + int(micros) // 1000
    for number in range(count):
        at = now - int((count - 1 - number) * 1000 / per_second)
        client.xadd(_STREAM, {"n": "x" * 500}, id=f"{at}-{number}")


def test_the_room_is_what_is_left_until_unread_entries_go(server: RedisServer, client: "redis.Redis") -> None:
    """The seconds told, times the rate told, are the entries that fit before the first unread one is trimmed."""
    settings = RedisSettings(port=server.port, streams=(Stream(_STREAM, _GROUP, "trades", 400),))
    _feed(client, 100, 10.0)
    _read(client, 20)
    room = headroom_of(settings)
    assert "reaches MAXLEN 400" in room.description
    assert "80 unread entries" in room.description
    assert room.short
    fits = 320
    rate = float(room.description.rsplit(", ", 1)[1].split()[0])
    assert 1.5 <= rate <= 10.5  # a hundred within the last minute
    assert room.seconds is not None
    assert abs(room.seconds * rate - fits) < fits * 0.1
    first_unread = _ids(client)[20]
    _add(client, fits, kept=400)
    assert _ids(client)[0] == first_unread
    _add(client, 1, kept=400)
    assert _ids(client)[0] != first_unread


def test_the_room_is_what_is_left_of_the_memory(server: RedisServer, client: "redis.Redis") -> None:
    settings = RedisSettings(port=server.port, streams=(Stream(_STREAM, _GROUP, "trades"),))
    _feed(client, 2_000, 100.0)
    assert "free memory" in headroom_of(settings).description
    used = int(client.info()["used_memory"])
    client.config_set("maxmemory", used + (64 << 20))
    try:
        room = headroom_of(settings)
        assert "Redis reaches maxmemory" in room.description
        assert "refuses new entries" in room.description
        # 64 MiB at some 550 bytes for each of 33 entries in a second: about an hour
        assert room.seconds is not None
        assert 1_800 < room.seconds < 7_200
    finally:
        client.config_set("maxmemory", 0)


def test_without_a_redis_the_room_is_not_known() -> None:
    room = headroom_of(RedisSettings(port=1, streams=(Stream(_STREAM, _GROUP, "trades"),)))
    assert room.seconds is None
    assert "unknown" in room.description
    assert not room.short


def test_what_waited_at_a_time_is_known_to_be_acknowledged(server: RedisServer, client: "redis.Redis") -> None:
    stream = Stream(_STREAM, _GROUP, "trades")
    _add(client, 10)
    with contextlib.closing(Queue(RedisSettings(port=server.port, streams=(stream,)))) as queue:
        last = queue.waiting()[0].last_id
        _add(client, 5)
        assert queue.unread_to(stream, last) == (10, 0)
        entries: Any = client.xreadgroup(_GROUP, "one", {_STREAM: ">"}, count=12)
        ids = [entry for entry, _ in entries[0][1]]
        assert queue.unread_to(stream, last) == (0, 10)
        assert queue.pending_span(stream) == (int(ids[0].split("-")[0]) / 1000, int(ids[-1].split("-")[0]) / 1000)
        client.xack(_STREAM, _GROUP, *ids[:9])
        assert queue.unread_to(stream, last) == (0, 1)
        client.xack(_STREAM, _GROUP, ids[9])
        assert queue.unread_to(stream, last) == (0, 0)
        assert queue.waiting()[0].total == 5
        client.xack(_STREAM, _GROUP, *ids)
        assert queue.pending_span(stream) is None


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
    with pytest.raises(QueueError, match="no group writer reads market:trades"):
        _waiting(server)
