"""What this user may not read of a table: never taken for absent, nor for whole."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from console.questdb.registry import REGISTRY

_READS_ALL: Final = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_PARTITION_FIRST: Final = frozenset("0123456789")


def closed_files(table: Path, *, partitions: bool = False) -> tuple[Path, ...]:
    """Return the files and directories of `table` that this user may not read, and such registries of its database.

    Those in its partitions only where `partitions` says so: there are many.
    """
    if _reads_all():
        return ()
    registries = [path for path in _names(table.parent) if path.name.startswith(f"{REGISTRY}.")]
    own = [path for path in registries if path.name[len(REGISTRY) + 1 :].isdecimal()]
    found = [path for path in own if not os.access(path, os.R_OK)]
    found += _closed(table, partitions=partitions, top=True)
    return tuple(sorted(found))


def _closed(directory: Path, *, partitions: bool, top: bool = False) -> Iterator[Path]:
    if not os.access(directory, os.R_OK | os.X_OK):
        try:
            there = directory.exists()
        except PermissionError:
            there = True
        if there:
            yield directory
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink():
                continue
            path = Path(entry.path)
            if not entry.is_dir(follow_symlinks=False):
                if entry.is_file(follow_symlinks=False) and not os.access(path, os.R_OK):
                    yield path
            elif partitions or not top or entry.name[:1] not in _PARTITION_FIRST:
                yield from _closed(path, partitions=partitions)


def _reads_all() -> bool:
    """Return whether no permission keeps this process from reading: root has that power, but not in every container."""
    try:
        words = Path("/proc/self/status").read_text().split()
        return bool(int(words[words.index("CapEff:") + 1], 16) & _READS_ALL)
    except (OSError, ValueError):
        return False


def _names(directory: Path) -> tuple[Path, ...]:
    try:
        return tuple(directory.iterdir())
    except OSError:
        return ()
