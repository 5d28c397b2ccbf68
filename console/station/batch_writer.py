"""The batch writer: `python -m console.station.batch_writer` moves both Redis streams into QuestDB, ILP over HTTP.

One worker for each stream, all in one consumer group. A batch is one QuestDB transaction, and is acknowledged in Redis
only when QuestDB has accepted it: what is refused stays pending and is sent again, oldest first, so that nothing is
lost and the backlog grows. A batch may be sent twice where the answer was lost on the way.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from questdb import QuestDBError, Sender, TimestampNanos
from redis.backoff import NoBackoff
from redis.retry import Retry

from console.settings import Stream
from console.station.layout import ORDERBOOK, STREAMS

_BATCH = 500
_GATHERING = 0.25  # seconds; while less than a batch waits. QuestDB does as much for a commit of three rows as of 500
_LONGEST_PAUSE = 5.0  # seconds
_SYMBOLS = frozenset({b"symbol", b"side"})
_INTEGERS = frozenset({b"trade_id", b"update_id"})
_LOG = logging.getLogger("batch-writer")

Entry = tuple[bytes, Mapping[bytes, bytes] | None]


class Worker(threading.Thread):
    """Moves one stream. `number` only names it in the log."""

    def __init__(self, number: int, stream: Stream, redis_port: int, questdb_port: int, stop: threading.Event) -> None:
        super().__init__(name=f"worker-{number}")
        self._what = f"Worker {number} {'orderbook' if stream.table == ORDERBOOK else 'trades'}"
        self._stream = stream
        # Protocol 2: the shape of what `xreadgroup` returns depends on it. No retries inside: `run` makes its own.
        self._redis = redis.Redis(
            host="127.0.0.1", port=redis_port, socket_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self._address = (
            f"http::addr=127.0.0.1:{questdb_port};protocol_version=2;auto_flush=off;"
            "retry_timeout=0;request_timeout=10000;"
        )
        # Not `_stop`: threading.Thread has a method of that name.
        self._stopping = stop
        self._sender: Sender | None = None
        self._sent = 0

    def run(self) -> None:
        """Work until asked to stop. Entries that were delivered before and never acknowledged come first."""
        position, pause = "0", 0.0
        while not self._stopping.wait(pause):
            try:
                batch = self._read(position)
                if batch:
                    self._write(batch)
                elif position == "0":
                    position = ">"
                pause = _GATHERING if position == ">" and len(batch) < _BATCH else 0.0
            except QuestDBError as error:
                _LOG.error("%s batch flush error: %s: %s", self._what, type(error).__name__, error)
                self._disconnect()
                position, pause = "0", min(_LONGEST_PAUSE, max(1.0, pause * 2))
            except redis.ResponseError as error:
                _LOG.warning("%s: %s", self._what, error)
                position, pause = "0", 1.0
                self._make_group()
            except redis.RedisError as error:
                _LOG.error("%s cannot read %s: %s", self._what, self._stream.name, error)
                position, pause = "0", min(_LONGEST_PAUSE, max(1.0, pause * 2))
        self._disconnect()
        _LOG.info("%s stopped after %d rows", self._what, self._sent)

    def _disconnect(self) -> None:
        """Drop the connection: a sender that failed is not used again."""
        if self._sender is not None:
            self._sender.close(flush=False)
            self._sender = None

    def _make_group(self) -> None:
        try:
            self._redis.xgroup_create(self._stream.name, self._stream.group, id="0", mkstream=True)
        except redis.RedisError as error:
            if "BUSYGROUP" not in str(error):
                _LOG.error("%s cannot make its consumer group: %s", self._what, error)

    def _read(self, position: str) -> Sequence[Entry]:
        answer: Any = self._redis.xreadgroup(
            self._stream.group, self.name, {self._stream.name: position}, count=_BATCH, block=500
        )
        return answer[0][1] if answer else ()

    def _write(self, batch: Sequence[Entry]) -> None:
        present = [(entry, fields) for entry, fields in batch if fields]
        if present:
            if self._sender is None:
                self._sender = Sender.from_conf(self._address)
                self._sender.establish()  # type: ignore[no-untyped-call]
            with self._sender.transaction(self._stream.table) as transaction:
                for _, fields in present:
                    transaction.row(
                        symbols={k.decode(): v.decode() for k, v in fields.items() if k in _SYMBOLS},
                        columns={
                            k.decode(): int(v) if k in _INTEGERS else float(v)
                            for k, v in fields.items()
                            if k not in _SYMBOLS and k != b"at"
                        },
                        at=TimestampNanos(int(fields[b"at"]) * 1000),
                    )
        self._redis.xack(self._stream.name, self._stream.group, *(entry for entry, _ in batch))
        self._sent += len(present)
        if len(present) < len(batch):
            _LOG.error(
                "%s: %d entries of %s were trimmed before they could be written",
                self._what, len(batch) - len(present), self._stream.name,
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis-port", type=int, required=True)
    parser.add_argument("--questdb-port", type=int, required=True)
    given = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    workers = [
        Worker(number, stream, given.redis_port, given.questdb_port, stop) for number, stream in enumerate(STREAMS, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
