"""What is cloned: one table whole, the views on it, the registry; and what stands against it."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.table_name import name_of_directory
from console.questdb.view_state import views_on
from console.recovery.store.locks import SERVER_LOCK_NAME
from console.text import clean_line

_REGISTRY_FILES = ("_tab_index.d", "_upgrade.d", ".data_id")
_REGISTRY_PREFIX = "tables.d."
_SECTOR = 512  # unit of st_blocks


class CloneError(WalmedicError):
    """What cannot be cloned; the message says what and where."""


@dataclass(frozen=True, slots=True)
class CloneFile:
    """One regular file, `path` relative to the db directory; `on_disk` are its allocated bytes, at most `size`."""

    path: str
    size: int
    on_disk: int


@dataclass(frozen=True, slots=True)
class CloneSelection:
    """All directories (parents first) and files of a clone, relative to the db directory."""

    tables: tuple[TableDirectory, ...]  # the table itself first
    directories: tuple[str, ...]
    files: tuple[CloneFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def on_disk(self) -> int:
        """Bytes that a copy without reflink takes; holes stay holes."""
        return sum(file.on_disk for file in self.files)


def find_table(database: DatabaseRoot, name: str) -> TableDirectory:
    """Return the table. Raises CloneError where a symbolic link stands in its place, WalmedicError where it is not."""
    for entry in os.scandir(database.db):
        if entry.is_symlink() and name in (entry.name, name_of_directory(entry.name)):
            raise _refused_link(entry.name)
    return database.table(name)


def select(database: DatabaseRoot, table: TableDirectory) -> CloneSelection:
    """Return what a clone of `table` consists of.

    Raises CloneError for links and special files (a server on the clone would write through them), and for a registry
    that names directories elsewhere.
    """
    _check_registry(database)
    tables = (table, *views_on(database, table))
    directories: list[str] = []
    files = list(_registry_files(database.db))
    for each in tables:
        for path, status in _walk(each.path, each.directory):
            if stat.S_ISDIR(status.st_mode):
                directories.append(path)
            else:
                files.append(_file(path, status))
    return CloneSelection(tables, tuple(directories), tuple(files))


def _check_registry(database: DatabaseRoot) -> None:
    registry = database.registry()
    for entry in registry.entries:
        if "/" in entry.directory or entry.directory in (".", "..") or "\0" in entry.directory:
            raise CloneError(
                f"the registry {registry.path} places a table outside the database ({clean_line(entry.directory)!r}), "
                "which a server on the clone would follow; it is not rehearsed on"
            )


def _registry_files(db: Path) -> Iterator[CloneFile]:
    for entry in sorted(os.scandir(db), key=lambda e: e.name):
        wanted = entry.name in _REGISTRY_FILES or entry.name.startswith(_REGISTRY_PREFIX)
        if not wanted or entry.name == SERVER_LOCK_NAME:
            continue
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise _refused_link(entry.name)
        yield _file(entry.name, status)


def _walk(path: Path, relative: str) -> Iterator[tuple[str, os.stat_result]]:
    yield relative, path.lstat()
    for entry in sorted(os.scandir(path), key=lambda e: e.name):
        inner = f"{relative}/{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(Path(entry.path), inner)
        elif stat.S_ISREG(status.st_mode):
            yield inner, status
        else:
            raise _refused_link(inner)


def _file(path: str, status: os.stat_result) -> CloneFile:
    return CloneFile(path, status.st_size, min(status.st_size, status.st_blocks * _SECTOR))


def _refused_link(path: str) -> CloneError:
    return CloneError(
        f"{clean_line(path)} is a symbolic link or a special file: a server on a clone would write through it to the "
        "original, so this table is not rehearsed; put a real directory or file there first"
    )
