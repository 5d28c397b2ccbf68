"""The class archive of the demo's server, made once: each of the many starts of a demo costs half with it."""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg

from console.recovery.server.jvm import ServerBinary, archive_command, class_archive, java_environment
from console.recovery.server.private_server import PrivateServer, ServerError

_EXERCISE = (
    "CREATE TABLE t (ts TIMESTAMP, s SYMBOL, v DOUBLE, n VARCHAR) TIMESTAMP(ts) PARTITION BY DAY WAL",
    "INSERT INTO t VALUES ('2025-01-01', 'a', 1.0, 'x'), ('2025-01-02', 'b', 2.0, NULL)",
    "SELECT * FROM t", "SELECT ts, count() FROM t SAMPLE BY 1d", "SELECT * FROM wal_tables()", "SELECT * FROM tables()",
)  # fmt: skip
"""The archive holds the classes that these load, and those of a start and an end."""
_MADE_WITHIN = 120.0  # seconds


def make_class_archive(binary: ServerBinary, say: Callable[[str], None]) -> None:
    """Make the archive of this Java and jar where there is none; where it cannot be made a server starts without."""
    archive = class_archive(binary)
    if archive.exists():
        return
    say("Java: making a class archive of QuestDB, once: every start takes half as long with it")
    with (
        tempfile.TemporaryDirectory(dir=archive.parent, prefix="classes-") as folder,
        contextlib.suppress(ServerError, psycopg.Error, OSError, subprocess.SubprocessError),
    ):
        classes, made = Path(folder) / "classes.txt", Path(folder) / archive.name
        options = ("-Xshare:off", f"-XX:DumpLoadedClassList={classes}")
        with PrivateServer(Path(folder), binary, jvm_flags=options) as server:
            for statement in _EXERCISE:
                server.query(statement)
        command = archive_command(binary, classes, made)
        subprocess.run(command, env=java_environment(), capture_output=True, check=True, timeout=_MADE_WITHIN)
        made.replace(archive)
