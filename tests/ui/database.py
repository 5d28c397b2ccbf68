"""A small database of a real server, damaged as the power loss did it: the log is one page short of its header."""

import os
from pathlib import Path

from console.diagnosis.database import diagnose
from console.diagnosis.model import DatabaseReport
from console.questdb.layout import DatabaseRoot
from tests.data.samples import sample_database

TABLE = "altered~5"
_MAX_TXN = 4  # offset of maxTxn in the log's header


def damaged(into: Path) -> tuple[DatabaseRoot, DatabaseReport]:
    """Write the database under `into` and return its root and what is wrong with it."""
    database = sample_database("v1", into)
    log = database.db / TABLE / "txn_seq" / "_txnlog"
    backup = log.parent.with_name("txn_seq.backup.20251110_032600")
    backup.mkdir()
    for file in sorted(log.parent.iterdir()):
        (backup / file.name).write_bytes(file.read_bytes())
    fits = (log.stat().st_size - 76) // 28
    with log.open("r+b") as stream:
        stream.seek(_MAX_TXN)
        stream.write((fits + 19).to_bytes(8, "little"))
    for path in sorted(database.db.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever the mask of who runs the tests
        os.utime(path, (1_762_763_467, 1_762_763_467))
    return database, diagnose(database)
