"""What a power loss or a crash would hurt more than it must, seen beforehand: settings, limits, backup, version.

Looks at files and at /proc only; the server is not asked.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from console.probes.checks import Check, Level
from console.probes.found_server import properties_of
from console.questdb.layout import DatabaseRoot
from console.questdb.server_processes import ServerProcess, servers
from console.questdb.version_behaviour import behaviour_of
from console.recovery.server.binary import version_to_start
from console.recovery.store.state import StateDir
from console.settings import Settings
from console.text import clean_line

_SUBJECT: Final = "precaution"
_MAP_LIMIT: Final = Path("/proc/sys/vm/max_map_count")
_USUAL_MAPS: Final = 65_530  # Linux's default, which QuestDB itself warns of
_FEW_FILES: Final = 65_536  # open files below which a limit is called low
_WANTED: Final = 1_048_576  # what QuestDB's documentation asks for, for both limits


def precautions(settings: Settings, database: DatabaseRoot) -> tuple[Check, ...]:
    """Return one note for each thing that is better changed before the power fails; none where all is well."""
    server = next((each for each in servers() if each.serves(database.root)), None)
    said = [
        *_configured(server, database),
        *(_limits(server) if server is not None else ()),
        *_same_disk(settings, database),
        *_version(settings, database),
    ]
    return tuple(Check(_SUBJECT, Level.NOTE, each) for each in said)


def _configured(server: ServerProcess | None, database: DatabaseRoot) -> Iterator[str]:
    """Look at server.conf and at the server's environment, which is stronger; a copy without both tells nothing."""
    conf = database.root / "conf" / "server.conf"
    if server is None and not conf.exists():
        return
    properties, variables = properties_of(conf), server.variables if server is not None else {}

    def told(key: str) -> str:
        return variables.get(f"QDB_{key.upper().replace('.', '_')}") or properties.get(key, "")

    if (told("cairo.commit.mode") or "nosync") == "nosync":
        yield (
            "cairo.commit.mode is nosync: a power loss can take rows that were acknowledged. Set it to sync (slower) "
            "if the feeds cannot send them again"
        )
    backup = told("cairo.sql.backup.root")
    if not (backup and _filled(Path(backup))):
        yield (
            "no backup is known here: the guard copies no partitions, so a lost partition stays lost. Take a backup "
            "(CHECKPOINT CREATE, or cairo.sql.backup.root and BACKUP)"
        )


def _filled(folder: Path) -> bool:
    """Return whether a backup root holds anything, or cannot be looked into: then nobody can say that it is empty."""
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except PermissionError:
        return True
    except OSError:
        return False


def _limits(server: ServerProcess) -> Iterator[str]:
    """Look at the limits of files and mappings of the process; what this user may not see is left out."""
    folder = Path(f"/proc/{server.pid}")
    with contextlib.suppress(OSError):
        found = re.search(r"^Max open files\s+(\d+)", (folder / "limits").read_text(), re.MULTILINE)
        most, used = (int(found[1]) if found else _WANTED), sum(1 for _ in (folder / "fd").iterdir())
        if most < _FEW_FILES or 2 * used > most:
            yield (
                f"QuestDB (pid {server.pid}) may open {most:,} files and has {used:,} open: at the limit it suspends "
                f"tables. Raise it to {_WANTED:,} (LimitNOFILE, ulimit -n)"
            )
    with contextlib.suppress(OSError, ValueError):
        most = int(_MAP_LIMIT.read_text())
        used = _lines(folder / "maps")
        if most <= _USUAL_MAPS or 2 * used > most:
            yield (
                f"vm.max_map_count is {most:,} and QuestDB (pid {server.pid}) has {used:,} mappings: at the limit no "
                f"more files can be mapped. Raise it: sysctl -w vm.max_map_count={_WANTED}"
            )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 16), b""))


def _same_disk(settings: Settings, database: DatabaseRoot) -> Iterator[str]:
    there = settings.guard_path
    there = next((each for each in (there, *there.parents) if each.exists()), Path("/"))
    with contextlib.suppress(OSError):
        if there.stat().st_dev == database.db.stat().st_dev:
            yield "the guard's copies are on the disk of the data: one broken disk takes both. Set guard.to to another"


def _version(settings: Settings, database: DatabaseRoot) -> Iterator[str]:
    version, _ = version_to_start(settings, database, StateDir(settings.state_path))
    if version is None:
        return
    behaviour = behaviour_of(version)
    if behaviour.erases_without_sequencer:
        yield (
            f"QuestDB {clean_line(str(version))} deletes a table whose txn_seq is missing when it starts. Update to "
            "9.0 or later"
        )
    if behaviour.empties_missing_log:
        yield (
            f"QuestDB {clean_line(str(version))} makes a missing _txnlog anew at 0, and the purge then deletes all "
            "WAL. Update to 7.4 or later"
        )
