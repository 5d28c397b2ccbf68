"""Where crash logs are: beside the data root, in its db directory, and where the running server is set to write them.

DIR/hs_err_pid4711.log      as the JVM does by itself, and what older start scripts say
DIR/db/hs_err_pid+4711.log  as the official packages say (-XX:ErrorFile=$QDB_ROOT/db/hs_err_pid+%p.log)
DIR/db/crash+1.log          the same, renamed by the next start of the server
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from console.diagnosis.server.liveness import exclusive_holders
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.text import clean_line

_NAME: Final = re.compile(r"(hs_err|crash\+).*\.log")
_PID: Final = re.compile(r"hs_err_pid\+?([0-9]{1,9})\.log")
_OPTION: Final = b"-XX:ErrorFile="


def is_crash_log(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def pid_in(name: str) -> int | None:
    """Return the process that a log is of, as the JVM names the file; None where its name does not tell."""
    found = _PID.search(name)
    return int(found[1]) if found else None


def crash_logs_in(place: Path) -> tuple[Path, ...]:
    """Return the crash logs of `place`: itself where it is a file, else those in the directory and in its `db`.

    Raises WalmedicError where there is no such file or directory, or it cannot be listed.
    """
    try:
        if not place.is_dir():
            place.lstat()
            return (place,)
        logs = _listed(place)
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise WalmedicError(
            f"{clean_line(str(place))}: {reason}; name a directory with crash logs, or a log"
        ) from error
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        logs += _listed(place / "db")
    return tuple(logs)


def crash_logs_of(database: DatabaseRoot) -> tuple[Path, ...]:
    """Return the crash logs of a database, each once. Raises WalmedicError where its directory cannot be listed."""
    logs = [*crash_logs_in(database.root), *crash_logs_in(database.db), *_by_option(database)]
    return tuple(dict.fromkeys(logs))


def _listed(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if is_crash_log(e.name) and e.is_file(follow_symlinks=False)]
    return [folder / name for name in sorted(names)]


def _by_option(database: DatabaseRoot) -> Iterator[Path]:
    """Yield the logs that lie where the server that runs is set to write them (-XX:ErrorFile, %p is the process)."""
    for pid in exclusive_holders([database.lock]):
        for pattern in _patterns(pid):
            folder = pattern.parent
            name = re.compile(re.escape(pattern.name).replace("%%", "%").replace("%p", "[0-9]+"))
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                found = [e.name for e in entries if name.fullmatch(e.name) and e.is_file(follow_symlinks=False)]
                yield from (folder / each for each in sorted(found))


def _patterns(pid: int) -> list[Path]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        here = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return []
    named = [os.fsdecode(word.removeprefix(_OPTION)) for word in words if word.startswith(_OPTION)]
    return [(here / name) for name in named if name]
