"""The second opinion beside the server's lock: which processes have files of a directory mapped, or open for writing.

A descriptor that can only read is none of them: so consoles look at a table, whose server maps what it has open.
Compared by device and inode as the process itself sees them, so that bind mounts, containers and other names hide
nothing; the list of mappings has devices of its own on btrfs and overlay, so the file is asked there. Processes of
other users may not be readable; they are named, and prove nothing either way.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.text import clean_line

_MOST_FILES = 500_000
_MOST_TABLES = 2_000


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


def users_of(directory: Path, files: Iterable[Path] | None = None) -> FileUsers:
    """Return which other processes have `files`, or all below `directory`, mapped or open for writing."""
    wanted = set(_identities(directory)) if files is None else set(_of(files))
    users, unreadable = [], []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        if not name.isdigit() or int(name) == os.getpid():
            continue
        pid = int(name)
        try:
            seen = (("open for writing", _written(pid, wanted)), ("mapped", _maps(pid, wanted)))
            how = [word for word, found in seen if found]
        except PermissionError:
            unreadable.append(pid)
            continue
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        if how:
            users.append(FileUser(pid, _name(pid), " and ".join(how)))
    return FileUsers(tuple(users), tuple(unreadable))


def _of(files: Iterable[Path]) -> Iterator[tuple[int, int]]:
    for each in files:
        with contextlib.suppress(OSError):
            status = each.lstat()
            yield status.st_dev, status.st_ino


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


def _maps(pid: int, wanted: set[tuple[int, int]]) -> bool:
    inodes = {inode for _, inode in wanted}
    with open(f"/proc/{pid}/maps", "rb") as lines:  # noqa: PTH123
        for line in lines:
            fields = line.rstrip(b"\n").split(None, 5)
            if len(fields) < 6 or fields[4] == b"0" or int(fields[4]) not in inodes:
                continue
            major, _, minor = fields[3].partition(b":")
            if (os.makedev(int(major, 16), int(minor, 16)), int(fields[4])) in wanted:
                return True
            with contextlib.suppress(OSError):
                status = os.stat(os.fsencode(f"/proc/{pid}/root") + fields[5])  # noqa: PTH116 - bytes
                if (status.st_dev, status.st_ino) in wanted:
                    return True
    return False


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return clean_line(Path(f"/proc/{pid}/comm").read_text(errors="replace"), 40)
    return "a process"


def table_folders(db: Path) -> Sequence[Path]:
    """Return the directories below a db directory, `_MOST_TABLES` at most."""
    with contextlib.suppress(OSError), os.scandir(db) as entries:
        folders = (Path(each.path) for each in entries if each.is_dir(follow_symlinks=False))
        return [folder for folder, _ in zip(folders, range(_MOST_TABLES), strict=False)]
    return []


def always_open(db: Path) -> list[Path]:
    """Return files that a server has mapped or open for writing as long as it lives: registry, ids, its own tables."""
    own = [folder / name for folder in table_folders(db) for name in ("_txn", "_todo_", "_cv")]
    return [*db.glob("tables.d.*"), db / "_tab_index.d", *own]
