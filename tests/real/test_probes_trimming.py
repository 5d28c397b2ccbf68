"""Streams of a real Redis 7 and 6.2 that are trimmed while they are looked at, and what `init` writes of it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from console.probes import trimming
from console.probes.found_queue import _trimmed
from console.probes.trimming import Trimming, watch
from console.settings import Stream
from tests.real.redis_server import BINARIES, RedisServer


@pytest.fixture(params=list(BINARIES))
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["redis.Redis"]:
    found = BINARIES[request.param]
    server = RedisServer(Path(found), tmp_path)
    server.start()
    yield server.client()
    server.kill()


@contextlib.contextmanager
def fed(client: "redis.Redis", *adds: Callable[[int], object]) -> Iterator[None]:
    """Run the `adds` about a thousand times a second all the while."""
    over = threading.Event()

    def feed() -> None:
        number = 0
        while not over.wait(0.001):
            number += 1
            for add in adds:
                add(number)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def fill(client: "redis.Redis", name: str, count: int) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(name, {"n": number})
    pipe.execute()


def test_the_length_is_seen_at_work(client: "redis.Redis") -> None:
    for name in ("exact", "about", "deleted", "drained", "grows"):
        fill(client, name, 3_000)

    def add(number: int) -> None:
        client.xadd("exact", {"n": number}, maxlen=1_234, approximate=False)
        client.xadd("about", {"n": number}, maxlen=2_000, approximate=True)
        client.xadd("grows", {"n": number}, maxlen=50_000)
        client.xadd("deleted", {"n": number})
        oldest: Any = client.xrange("deleted", count=1)
        client.xdel("deleted", str(oldest[0][0]))
        fill(client, "drained", 20)
        if number % 30 == 0:
            client.xtrim("drained", maxlen=1, approximate=False)

    client.config_set("slowlog-log-slower-than", -1)
    with fed(client, add):
        time.sleep(1.5)  # until the first trims to the limit are over
        found = watch(client, ["exact", "about", "deleted", "drained", "grows", "none"])
    assert found["exact"].length == 1_234
    assert "it kept this length while" in found["exact"].evidence
    assert found["about"].length == 2_000
    assert "MAXLEN ~ lets up to 100 more stay" in found["about"].evidence
    assert found["drained"].length == 0
    assert "not at one length" in found["drained"].evidence
    assert "grows" not in found
    assert "none" not in found
    if "max-deleted-entry-id" in client.xinfo_stream("deleted"):
        assert found["deleted"] == Trimming(
            0, "entries are deleted one by one (XDEL): whether it is trimmed as well is not known"
        )


def test_one_that_nothing_is_added_to_is_a_doubt(client: "redis.Redis") -> None:
    fill(client, "still", 3_000)
    client.xtrim("still", maxlen=500, approximate=False)
    fill(client, "whole", 10)
    client.config_set("slowlog-log-slower-than", -1)
    client.slowlog_reset()
    sources: dict[str, str] = {}
    doubts: list[str] = []
    streams = (Stream("still"), Stream("whole"))
    assert _trimmed(client, streams, sources, doubts) == streams
    assert sources == {}
    if "entries-added" in client.xinfo_stream("still"):
        (doubt,) = doubts
        assert doubt.startswith("max_length of still is not known: 2,500 entries were trimmed before")
        assert doubt.endswith("if it still is, then at 400 to 500")
    else:
        assert doubts == []


def test_the_slow_log_says_it_word_for_word(client: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "_LOOKS", 2)
    for name in ("exact", "about", "equal", "trim", "minid"):
        fill(client, name, 200)
    client.config_set("slowlog-log-slower-than", 0)
    client.xadd("exact", {"maxlen": "7"}, maxlen=150, approximate=False)
    client.xadd("about", {"n": 1}, maxlen=70, approximate=True, nomkstream=True)
    raw: Any = client
    raw.execute_command("XADD", "equal", "MAXLEN", "=", "60", "*", "n", "1")
    client.xtrim("trim", maxlen=50, approximate=False)
    raw.execute_command("XADD", "minid", "MINID", "~", "1-0", "*", "maxlen", "12")
    found = watch(client, ["exact", "about", "equal", "trim", "minid"])
    lengths = {name: seen.length for name, seen in found.items() if "slow log" in seen.evidence}
    assert lengths == {"exact": 150, "about": 70, "equal": 60, "trim": 50}
    sources: dict[str, str] = {}
    (stream,) = _trimmed(client, (Stream("exact", "writer", "trades"),), sources, [])
    assert stream == Stream("exact", "writer", "trades", 150)
    assert sources == {"redis.streams.exact.max_length": "MAXLEN of an XADD or XTRIM in Redis's slow log"}
