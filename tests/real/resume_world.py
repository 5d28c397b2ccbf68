"""Tables that are suspended on a running server, for the tests of resume-wal."""

import time
from pathlib import Path

from console.questdb.layout import DatabaseRoot
from console.recovery.server.private_server import PrivateServer


def suspended_live(server: PrivateServer, database: DatabaseRoot, name: str, *, zero: bool) -> int:
    """Make a table on the running server, three transactions of two rows waiting; return what it must hold at last."""
    query = server.query
    query(f'CREATE TABLE "{name}" (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL')
    query(f"INSERT INTO \"{name}\" VALUES ('2024-01-01', 0)")
    deadline = time.monotonic() + 30
    while query(f"SELECT writerTxn FROM wal_tables() WHERE name = '{name}'") != [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    query(f'ALTER TABLE "{name}" SUSPEND WAL')
    for at in range(1, 4):
        query(f"INSERT INTO \"{name}\" VALUES ('2024-01-0{at}T01', {at}), ('2024-01-0{at}T02', {at})")
    if zero:
        table = database.table(name)
        zero_records_in_place(table.sequencer / "_txnlog", 2)
    return 5 if zero else 7


def zero_records_in_place(log: Path, txn: int) -> None:
    """Zero a record of a log that a server has mapped."""
    with log.open("r+b") as stream:
        stream.seek(76 + 28 * (txn - 1))
        stream.write(bytes(28))
