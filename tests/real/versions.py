"""Other versions of QuestDB than the demo's, by their Maven coordinates, cached beside it."""

import fcntl
import shutil
import tempfile
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

from console import paths
from console.recovery.server.jvm import ServerBinary
from console.station import downloads


def binary_of(version: str) -> ServerBinary:
    """Return QuestDB `version` and a Java; fetched once, the workers of a parallel run wait for each other."""
    jar = paths.cache_dir() / f"questdb-{version}.jar"
    if not jar.is_file():
        jar.parent.mkdir(parents=True, exist_ok=True)
        with (jar.parent / "versions.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not jar.is_file():
                _fetch(version, jar)
    return ServerBinary(jar, downloads.java())


def _fetch(version: str, jar: Path) -> None:
    with tempfile.TemporaryDirectory(dir=jar.parent, prefix="fetch-") as scratch:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(scratch), timeout=60)
        fetched = context.project("org.questdb", "questdb").at_version(version).artifact().resolve()
        shutil.move(str(fetched), jar)
