"""The second opinion beside the server's lock: which processes have files of a directory mapped, or open for writing.

A descriptor that can only read is none of them: so consoles look at a table, whose server maps what it has open.
Compared by device and inode, so that bind mounts, containers and other names hide nothing. Processes of other users may
not be readable; they are named, and prove nothing either way.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.text import clean_line

_MOST_FILES = 500_000


@dataclass(frozen=True, slots=True)
class FileUser:
    """One process with files of the directory: `how` is `open for writing`, `mapped`, or both."""

    pid: int
    name: str
    how: str


@dataclass(frozen=True, slots=True)
class FileUsers:
    """All that was seen, and the pids whose files could not be looked at."""

    processes: tuple[FileUser, ...]
    unreadable: tuple[int, ...]


def users_of(directory: Path) -> FileUsers:
    """Return which other processes have files below `directory` mapped, or open for writing."""
    wanted = set(_identities(directory))
    users, unreadable = [], []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        if not name.isdigit() or int(name) == os.getpid():
            continue
        pid = int(name)
        try:
            seen = (("open for writing", _written(pid, wanted)), ("mapped", not wanted.isdisjoint(_mapped(pid))))
            how = [word for word, found in seen if found]
        except PermissionError:
            unreadable.append(pid)
            continue
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        if how:
            users.append(FileUser(pid, _name(pid), " and ".join(how)))
    return FileUsers(tuple(users), tuple(unreadable))


def _identities(directory: Path) -> Iterator[tuple[int, int]]:
    count = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - hot
                yield status.st_dev, status.st_ino
            count += 1
            if count >= _MOST_FILES:
                return


def _written(pid: int, wanted: set[tuple[int, int]]) -> bool:
    """Return whether the process has one of `wanted` open for writing."""
    for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - hot
        with contextlib.suppress(OSError):
            status = os.stat(f"/proc/{pid}/fd/{name}")  # noqa: PTH116 - hot
            if (status.st_dev, status.st_ino) in wanted and _mode(pid, name) != os.O_RDONLY:
                return True
    return False


def _mode(pid: int, descriptor: str) -> int:
    """Return how a descriptor was opened: O_RDONLY, O_WRONLY or O_RDWR. Raises OSError."""
    with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as lines:  # noqa: PTH123
        for line in lines:
            if line.startswith(b"flags:"):
                return int(line.split()[1], 8) & os.O_ACCMODE
    return os.O_RDWR


def _mapped(pid: int) -> Iterator[tuple[int, int]]:
    with open(f"/proc/{pid}/maps", "rb") as lines:  # noqa: PTH123
        for line in lines:
            fields = line.split(None, 5)
            if len(fields) >= 5 and fields[4] != b"0":
                major, _, minor = fields[3].partition(b":")
                yield os.makedev(int(major, 16), int(minor, 16)), int(fields[4])


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return clean_line(Path(f"/proc/{pid}/comm").read_text(errors="replace"), 40)
    return "a process"
