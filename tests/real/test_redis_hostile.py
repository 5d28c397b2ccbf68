"""What listens on the port of Redis and is none, or whose streams and users are elsewhere: true sentences, bounded."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.probes.backlog import BacklogProbe
from console.redis_queue.reader import Queue, QueueError
from console.settings import RedisSettings, Settings, Stream
from tests.real.redis_server import BINARIES, RedisServer

_STREAM = Stream("market:trades", "writer", "trades")
_PROMISES = {
    "bulk": (b"$512000000\r\n", b"x" * 65_536),
    "array": (b"*100000000\r\n", b"+x\r\n" * 16_384),
    "map": (b"%100000000\r\n", b"+x\r\n" * 16_384),
    "nested": (b"*900000\r\n", b"*0\r\n" * 16_384),
    "line-without-end": (b"+", b"x" * 65_536),
    "error-without-end": (b"-ERR ", b"x" * 65_536),
    "deep": (b"", b"*1\r\n" * 16_384),
}


@contextlib.contextmanager
def _listener(kind: str) -> Iterator[int]:
    """Listen on a port and answer everything with a promise and what follows it, for as long as anybody reads."""
    first, more = _PROMISES[kind]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                client.recv(65_536)
                client.sendall(first)
                while True:
                    client.sendall(more)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=answer, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("kind", list(_PROMISES))
async def test_an_answer_without_end_is_left_in_time_and_in_little_memory(kind: str) -> None:
    with _listener(kind) as port:
        settings = Settings(redis=RedisSettings(port=port, streams=(_STREAM,)))
        before = _peak()
        probe = BacklogProbe(settings)
        sample = await probe.read()
        await probe.close()
        assert sample.data is None
        assert f"Redis at 127.0.0.1:{port} " in sample.error
        with contextlib.closing(Queue(settings.redis)) as queue, pytest.raises(QueueError) as refused:
            queue.waiting()
        assert f"Redis at 127.0.0.1:{port} " in str(refused.value)
        assert _peak() - before < 256 << 10


@pytest.fixture(params=list(BINARIES))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(Path(BINARIES[request.param]), tmp_path)
    running.start()
    yield running
    running.kill()


async def test_a_stream_in_another_database_is_not_called_empty(server: RedisServer) -> None:
    with server.client(db=1) as client:
        client.xadd(_STREAM.name, {"price": 1})
    settings = RedisSettings(port=server.port, streams=(_STREAM,))
    probe = BacklogProbe(Settings(redis=settings))
    sample = await probe.read()
    await probe.close()
    assert sample.data is not None
    assert sample.data.streams[0].error == (
        "there is no stream market:trades in database 0; "
        "there are keys in database 1: redis.database says where to look"
    )
    with (
        contextlib.closing(Queue(settings)) as queue,
        pytest.raises(QueueError, match="there is no stream market:trades in database 0"),
    ):
        queue.waiting()


async def test_a_user_that_is_switched_off_is_no_wrong_password(server: RedisServer) -> None:
    with server.client() as client:
        client.acl_setuser("station", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"])
        client.acl_setuser("default", enabled=False)
    settings = RedisSettings(port=server.port, password="right", streams=(_STREAM,))
    probe = BacklogProbe(Settings(redis=settings))
    sample = await probe.read()
    await probe.close()
    assert "refuses the default user with this password" in sample.error
    assert "redis.user names another" in sample.error
    with contextlib.closing(Queue(settings)) as queue, pytest.raises(QueueError) as refused:
        queue.waiting()
    assert "does not answer" not in str(refused.value)
