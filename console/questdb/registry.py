"""`tables.d.N`: the registry of WAL tables (GrowOnlyTableNameRegistryStore, TableNameRegistryStore)."""

import re
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields, Walk
from console.questdb.formats.database import REGISTRY_HEADER
from console.questdb.reading import (
    DamageError,
    FileStamp,
    Problem,
    ProblemKind,
    join_problems,
    list_directory,
    read_small,
)

REGISTRY: Final = "tables.d"
_FILE: Final = re.compile(r"tables\.d\.(\d{1,9})")
_ADD: Final = 0
_REMOVE: Final = -1
RESERVED_AFTER_ADD: Final = 64
_MAX_ENTRIES: Final = 1_000_000


class TableKind(IntEnum):
    """The registry's table types."""

    NON_WAL = 0
    WAL = 1
    MATERIALIZED_VIEW = 2
    VIEW = 3


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One line of the registry, raw: `removed` says that the table was dropped (or renamed: an add follows)."""

    name: str
    directory: str
    table_id: int
    kind: int
    removed: bool
    offset: int


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry file in force, entries in file order; `path` is None where there is no such file."""

    path: Path | None
    version: int | None
    entries: tuple[RegistryEntry, ...]
    stamp: FileStamp | None
    problems: tuple[Problem, ...]

    def live(self) -> dict[str, RegistryEntry]:
        """Return the entries that hold, by directory: each add not removed since (a rename is remove, then add)."""
        held: dict[str, RegistryEntry] = {}
        for entry in self.entries:
            if entry.removed:
                held.pop(entry.directory, None)
            else:
                held[entry.directory] = entry
        return held

    def dropped(self) -> frozenset[str]:
        """Return the directories whose last entry is a removal: tables dropped, whatever is left of them on disk."""
        last = {entry.directory: entry.removed for entry in self.entries}
        return frozenset(directory for directory, removed in last.items() if removed)


def parse_registry(data: bytes, file: Path) -> tuple[tuple[RegistryEntry, ...], tuple[Problem, ...]]:
    """Return the entries in `data`, up to the first that makes no sense, and what was wrong."""
    entries: list[RegistryEntry] = []
    fields = Fields(data)
    try:
        end = REGISTRY_HEADER.value("end", fields)
        if not 0 <= end <= len(data):
            raise DamageError(f"its append offset {end:,} lies outside its {len(data):,} bytes", 0, ProblemKind.SHORT)
        walk = Walk(fields, REGISTRY_HEADER.size)
        while walk.at < end and len(entries) < _MAX_ENTRIES:
            at = walk.at
            operation = walk.i32()
            name, directory = walk.string(4096), walk.string(4096)
            table_id, kind = walk.i32(), walk.i32()
            if operation not in (_ADD, _REMOVE) or not name or not directory:
                raise DamageError(f"the entry at offset {at:,} is neither an addition nor a removal", at)
            if operation == _ADD:
                walk.skip(RESERVED_AFTER_ADD)
            entries.append(RegistryEntry(name, directory, table_id, kind, operation == _REMOVE, at))
    except DamageError as damage:
        return tuple(entries), (damage.problem(file),)
    return tuple(entries), ()


def read_registry(db: Path) -> Registry:
    """Return the registry of the db directory; the highest N wins, as for the server."""
    names, problem = list_directory(db)
    versions = [
        int(match[1]) for entry in names if entry.is_file and (match := _FILE.fullmatch(entry.name)) is not None
    ]
    if not versions:
        return Registry(None, None, (), None, join_problems(problem))
    version = max(versions)
    path = db / f"tables.d.{version}"
    file = read_small(path, 256 << 20)
    if not file.present:
        return Registry(path, version, (), None, join_problems(problem, file.problem))
    entries, problems = parse_registry(file.data, path)
    return Registry(path, version, entries, file.stamp, join_problems(problem, file.problem, problems))
