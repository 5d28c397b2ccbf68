"""A server on the clone for actions that work by SQL, brought as far as the station's own was."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from console.questdb.layout import DatabaseRoot
from console.questdb.server_version import version_of_jar
from console.questdb.version_behaviour import behaviour_of
from console.recovery.rehearsal.proof import started
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.sql import Server
from console.recovery.tree.wal_locks import WalLocks
from console.settings import QuestDBSettings
from console.waiting import wait_until

BY_SQL = ("resume-wal",)
"""Actions on a table that work through the server and can be rehearsed."""
_APPLYING = 60.0  # seconds


@contextlib.contextmanager
def answering(database: DatabaseRoot, root: Path, binary: ServerBinary, table: str) -> Iterator[int]:
    """Yield the port of a server on the clone at `root`, once `table` is suspended again or wholly applied.

    Its WAL is held meanwhile: the purge would take what no record names, which on the station is still there.
    """
    with WalLocks(database.db) as locks:
        for each in database.tables():
            if each.wal is not False:
                locks.hold(each)
        held = not behaviour_of(version_of_jar(binary.jar)).file_locks_hold_wal
        with started(root, binary, held=held) as server:
            asked = Server(QuestDBSettings(host="127.0.0.1", pg_port=server.pg_port))

            def settled() -> bool:
                row = asked.wal_table(table)
                return row is not None and (row["suspended"] or int(row["writerTxn"]) >= int(row["sequencerTxn"]))

            wait_until(settled, _APPLYING)
            yield server.pg_port
