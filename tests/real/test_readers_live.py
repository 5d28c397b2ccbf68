"""Files read while a server writes them, and after it was killed: nothing that is not wrong may look wrong."""

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from questdb import Sender, TimestampNanos

from console.questdb.column_versions import read_column_versions
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import Problem
from console.questdb.segment import read_segment
from console.questdb.segment_data import check_segment_data
from console.questdb.segment_details import read_symbols
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.structure_log import read_structure_log
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import LogState, read_log
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.data.logs import odd_records

SECONDS = 4.0
WRITERS = 2
INSERT = (
    "insert into busy (ts, sy, d, vc, st, bi, l) select dateadd('s', rnd_int(0, 200000, 0), '2024-01-01'::timestamp), "
    "rnd_symbol(200, 1, 9, 2), rnd_double(), rnd_varchar(1, 30, 3), rnd_str(1, 30, 3), rnd_bin(1, 20, 3), x "
    "from long_sequence({rows})"
)


@dataclass
class Looks:
    """How often things were read, and what was said against them."""

    rounds: int = 0
    transactions: set[int] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def look(self, table: TableDirectory) -> None:
        """Read everything of a table once. Applied comes before logged: both only grow."""
        self.rounds += 1
        snapshot = read_table_txn(table.path)
        self._note("_txn", *snapshot.problems)
        metadata = read_table_metadata(table.path)
        self._note("_meta", *((metadata,) if isinstance(metadata, Problem) else metadata.problems))
        self._note("_cv", *read_column_versions(table.path).problems)
        sequencer = read_sequencer_metadata(table.sequencer)
        self._note("txn_seq/_meta", *((sequencer,) if isinstance(sequencer, Problem) else ()))
        self._note("_txnlog.meta", *read_structure_log(table.sequencer).problems)
        log = read_log(table.sequencer)
        assert log.state is LogState.PRESENT
        assert log.max_txn is not None
        self._note("_txnlog", *log.problems)
        if odd := odd_records(log):
            self.said.append(f"log: {odd}")
        if snapshot.current is not None:
            self.transactions.add(log.max_txn)
            if log.max_txn < snapshot.current.applied_txn:
                self.said.append(f"maxTxn {log.max_txn} below {snapshot.current.applied_txn}")
        for wal in table.wals():
            for each in wal.segments:
                segment = read_segment(wal.segment(each))
                self._note("segment", *segment.problems)
                symbols = read_symbols(segment)
                self._note("symbols", *((symbols,) if isinstance(symbols, Problem) else ()))
                self.said += [f"segment data: {torn}" for torn in check_segment_data(segment)]

    def _note(self, what: str, *problems: Problem) -> None:
        self.said += [f"{what}: {problem}" for problem in problems]


@pytest.mark.parametrize("part", [0, 7], ids=["v1", "v2"])
def test_nothing_is_reported_against_a_busy_server_nor_one_killed(
    part: int, questdb: ServerBinary, tmp_path: Path
) -> None:
    """Writers that roll segments and alter the table, a reader beside them; then SIGKILL, and the same once more."""
    settings = {
        "cairo.default.sequencer.part.txn.count": str(part),
        "cairo.wal.segment.rollover.row.count": "3000",
        "cairo.wal.purge.interval": "1000000",
    }
    failures: list[BaseException] = []
    with PrivateServer(tmp_path, questdb, settings=settings, http=True) as server:
        server.query(
            "create table busy (ts timestamp, sy symbol, d double, vc varchar, st string, bi binary, l long) "
            "timestamp(ts) partition by day wal"
        )
        looks, root = Looks(), DatabaseRoot.locate(tmp_path)
        until = time.monotonic() + SECONDS

        def goes_on() -> bool:
            """Return whether there is time left, or a busy machine has not looked often enough yet."""
            return time.monotonic() < until or (len(looks.transactions) <= 10 and time.monotonic() < until + 60)

        def write(number: int) -> None:
            try:
                with server.connect() as connection:
                    turn = 0
                    while goes_on():
                        connection.execute(INSERT.format(rows=1 + turn * 37 % 400).encode())
                        turn += 1
                        if number == 0 and turn % 60 == 0:
                            connection.execute(f"alter table busy add column c{turn} symbol".encode())
                            connection.execute(b"update busy set l = 5 where sy = 'x'")
            except BaseException as error:
                failures.append(error)

        def stream() -> None:
            """Send rows as a batch writer does, by ILP over HTTP: symbols old, new and absent, rows out of order."""
            try:
                dice = random.Random(7)
                with Sender.from_conf(f"http::addr=127.0.0.1:{server.http_port};auto_flush=off;") as sender:
                    while goes_on():
                        for _ in range(dice.randrange(1, 300)):
                            at = 1_704_067_200_000_000_000 + dice.randrange(200_000) * 1_000_000_000
                            sender.row(
                                "busy",
                                symbols={"sy": f"s{dice.randrange(400)}"} if dice.random() < 0.9 else None,
                                columns={
                                    "d": dice.random(),
                                    "vc": "v" * dice.randrange(20),
                                    "l": dice.randrange(1 << 40),
                                },
                                at=TimestampNanos(at),
                            )
                        sender.flush()
            except BaseException as error:
                failures.append(error)

        writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        writers.append(threading.Thread(target=stream))
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            looks.look(root.table("busy"))
        for writer in writers:
            writer.join()
        assert not failures
        server.query(INSERT.format(rows=100))
        server.kill()
    looks.look(root.table("busy"))
    assert not looks.said, "\n".join(looks.said[:20])
    assert looks.rounds > 10
    assert len(looks.transactions) > 10
