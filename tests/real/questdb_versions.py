"""QuestDB of other versions than the station's, by their Maven coordinates, cached."""

import fcntl
from dataclasses import replace
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

from console import paths
from console.recovery.server.jvm import ServerBinary
from console.station import downloads


def questdb_of(version: str) -> ServerBinary:
    """Return a QuestDB of that version, fetched once."""
    folder = Path.home() / ".m2/repository"
    known = folder / f"org/questdb/questdb/{version}/questdb-{version}.jar"
    if not known.is_file():
        cache = paths.cache_dir() / "versions"
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "download.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            context = MavenContext(resolver=PythonResolver(), repo_cache=cache, timeout=30)
            known = Path(context.project("org.questdb", "questdb").at_version(version).artifact().resolve())
    return replace(downloads.questdb_binary(), jar=known)
