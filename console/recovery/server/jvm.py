"""How a QuestDB of ours is started: a Java of few threads that starts quickly, and server settings that let it rest.

As shipped, a start costs 3.6 CPU-seconds and an idle server a seventh of a core. Half of a start is the loading of
classes, which a class archive holds ready, and garbage collections of a heap that is small at first; what an
idle server costs are its workers, each of which looks for work thousands of times before it sleeps.
"""

import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from console import paths

NOT_FOR_JAVA = ("QDB_", "WALMEDIC_", "JAVA_TOOL", "JDK_JAVA", "_JAVA")
"""Variables that a Java of ours is not given: settings of the station's server, our secrets, options for a JVM."""

LEAST_JAVA = 17
HEAP = 512 << 20
"""Bytes; what a start allocates fits into the young half, so that nothing is collected."""
_FLAGS = (
    # One thread collects: ours never takes cores from the station. QuestDB asks for two full collections at its start.
    "-XX:+UseSerialGC", "-XX:+DisableExplicitGC", "-XX:NewRatio=1", "-XX:MetaspaceSize=128m",
    "-XX:TieredStopAtLevel=1",
)  # fmt: skip
_OPENS = ("--add-exports", "java.base/jdk.internal.math=io.questdb")
_MAIN = ("-m", "io.questdb/io.questdb.ServerMain")

_LEAN = {
    "line.tcp.enabled": "false",
    "telemetry.enabled": "false",
    "shared.worker.count": "2",
    # A worker naps (1 ms) after 100 looks in vain, not 7,000; it sleeps (10 ms) after 200, not 10,000.
    **{
        f"{pool}.{setting}.threshold": value
        for pool in ("shared.worker", "wal.apply.worker", "mat.view.refresh.worker")
        for setting, value in (("nap", "100"), ("sleep", "200"))
    },
    # As shipped, 6,144 models of queries and 49,152 of expressions are made ahead; pools grow where more are needed.
    "cairo.model.pool.capacity": "32",
    "cairo.expression.pool.capacity": "256",
    "cairo.column.pool.capacity": "256",
    "cairo.lexer.pool.capacity": "256",
    # As shipped, each column of the last partition has 16 MiB reserved on the disk, and a killed server leaves them.
    "cairo.writer.data.append.page.size": str(1 << 20),
    "cairo.writer.data.index.value.append.page.size": str(1 << 18),
}
"""Server settings that let it rest and start with little; what it does with tables is the same."""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """What to run: QuestDB's jar and a Java of `LEAST_JAVA` or later."""

    jar: Path
    java: Path


def server_conf(settings: Mapping[str, str]) -> str:
    """Return the text of a server.conf: `settings` over those that keep a server of ours lean."""
    return "".join(f"{key}={value}\n" for key, value in {**_LEAN, **settings}.items())


def server_command(binary: ServerBinary, root: Path, *, heap: int = HEAP, options: Sequence[str] = ()) -> list[str]:
    """Return the command line of a server on `root` (which holds `db/`) with a heap of `heap` bytes.

    A crash writes its log into `root`, where its libraries are unpacked too. `options` are the JVM's and go over the
    usual ones.
    """
    archive = class_archive(binary)
    return [
        str(binary.java), f"-Xms{min(heap, HEAP) >> 20}m", f"-Xmx{heap >> 20}m", *_FLAGS,
        *((f"-XX:SharedArchiveFile={archive}",) if _trusted(archive) else ()),
        *options, *_OPENS, f"-XX:ErrorFile={root}/hs_err_pid%p.log", *_libraries(root),
        "-p", str(binary.jar), *_MAIN, "-d", str(root),
    ]  # fmt: skip


def _libraries(root: Path) -> tuple[str, ...]:
    """A start unpacks 10 MiB of libraries, and a server that is killed leaves them: in `root` they go with it."""
    runs_code = not os.statvfs(root).f_flag & os.ST_NOEXEC
    return (f"-Djava.io.tmpdir={root}",) if runs_code else ()


def archive_command(binary: ServerBinary, classes: Path, archive: Path) -> list[str]:
    """Return the command that makes `archive` of the classes listed in the file `classes` (JDK 17, `java -Xshare`)."""
    return [
        str(binary.java), "-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={archive}",
        *_FLAGS, *_OPENS, "-p", str(binary.jar), *_MAIN,
    ]  # fmt: skip


def class_archive(binary: ServerBinary) -> Path:
    """Return where the class archive of exactly this Java and jar lies, if there is one.

    A JVM compares jar and Java with those that the archive was made from, and starts without it where they differ.
    """
    key = hashlib.sha256()
    for path in (binary.java, binary.jar):
        with contextlib.suppress(OSError):
            status = path.stat()
            key.update(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return paths.cache_dir() / f"classes-{key.hexdigest()[:16]}.jsa"


def _trusted(archive: Path) -> bool:
    """Whether there is an archive that only we and root can have written: a JVM takes code from it."""
    with contextlib.suppress(OSError):
        status = archive.stat()
        return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
    return False


def java_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(NOT_FOR_JAVA)}


def java_version(java: Path) -> int | None:
    """Return the feature release of a Java (17, 21, …; 8 for 1.8), None where it does not tell."""
    # Options in the environment could keep it from starting; the server is started without them too.
    try:
        output = subprocess.run(
            [str(java), "-version"],
            capture_output=True, text=True, errors="replace", timeout=20, check=False, env=java_environment(),
        ).stderr  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(found[1]) if found else None
