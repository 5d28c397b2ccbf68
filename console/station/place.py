"""The directory of a demo station: new and its own, or one that an earlier demo left and nobody uses any more."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from console import paths
from console.station.layout import StationError
from console.station.processes import end_processes_of, undisturbed

_RECORD = "station.json"


@contextlib.contextmanager
def a_place(directory: Path | None) -> Iterator[Path]:
    """Yield an empty directory that is this station's alone.

    A directory of an earlier demo whose process is gone is emptied, its leftovers ended. Raises StationError where a
    demo still runs there, or where the directory holds anything else.
    """
    if directory is not None:
        place = directory.resolve()
        _reclaim(place)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise StationError(f"{place} is not empty and holds no demo station; name a new directory with --dir")
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_record(place, {})
        yield place
        return
    stations = paths.cache_dir() / "stations"
    stations.mkdir(mode=0o700, parents=True, exist_ok=True)
    for earlier in stations.iterdir():
        with contextlib.suppress(StationError):
            _reclaim(earlier)
            if earlier.is_dir():
                earlier.rmdir()
    place = Path(tempfile.mkdtemp(dir=stations, prefix="station-"))
    write_record(place, {})
    try:
        yield place
    finally:
        with undisturbed():
            shutil.rmtree(place, ignore_errors=True)


def _reclaim(place: Path) -> None:
    """Empty a directory that an earlier demo left; do nothing where it is none of a demo. Raises StationError."""
    record = place / _RECORD
    if not record.is_file():
        return
    try:
        owner = json.loads(record.read_text())["owner"]
        running = psutil.Process(owner["pid"]).create_time() == owner["started"]
    except psutil.NoSuchProcess:
        running = False
    except (ValueError, KeyError, TypeError):
        raise StationError(f"{record} is not a demo station's record; name another directory with --dir") from None
    if running:
        raise StationError(f"a demo runs in {place} already (process {owner['pid']}); name another with --dir")
    end_processes_of(place)
    for path in place.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_record(place: Path, facts: Mapping[str, Any]) -> None:
    """Write station.json: whose station this is, and `facts` about it."""
    owner = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    (place / _RECORD).write_text(json.dumps({"schema": 1, "owner": owner, **facts}, indent=2) + "\n")
