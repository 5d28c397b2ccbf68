"""`tables.d.N`: the registry of WAL tables (GrowOnlyTableNameRegistryStore, TableNameRegistryStore)."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields, Walk
from console.questdb.formats.database import REGISTRY_ENTRY, REGISTRY_HEADER, REGISTRY_REST
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
_PAGE: Final = 4096


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
        """Return the directories whose last entry is a removal: tables dropped, whatever is left of them on disk.

        The last entry before damage may be the first half of a rename, so it is no proof.
        """
        entries = self.entries[:-1] if self.problems else self.entries
        last = {entry.directory: entry.removed for entry in entries}
        return frozenset(directory for directory, removed in last.items() if removed)


@lru_cache(maxsize=1)  # a check asks about each table, and every time the file is read anew
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


def encode_registry(entries: Sequence[RegistryEntry]) -> bytes:
    """Return the bytes of a registry with these entries, in whole pages, the counterpart of `parse_registry`.

    Source: TableNameRegistryStore.logAddTable and logDropTable; little endian, offset 0 says where the next entry goes.
    """
    content = b"".join(
        REGISTRY_ENTRY.pack(operation=_REMOVE if entry.removed else _ADD)
        + _encoded(entry.name) + _encoded(entry.directory)
        + REGISTRY_REST.pack(table_id=entry.table_id, type=entry.kind)
        + (b"" if entry.removed else bytes(RESERVED_AFTER_ADD))
        for entry in entries
    )  # fmt: skip
    end = REGISTRY_HEADER.size + len(content) if entries else 0
    return (REGISTRY_HEADER.pack(end=end) + content).ljust(-(-max(1, end) // _PAGE) * _PAGE, b"\0")


def _encoded(text: str) -> bytes:
    units = text.encode("utf-16-le", "surrogatepass")
    return struct.pack("<i", len(units) // 2) + units


def read_registry(db: Path) -> Registry:
    """Return the registry of the db directory; the highest N wins, as for the server."""
    names, problem = list_directory(db, named=_FILE)
    versions = [int(entry.name.rpartition(".")[2]) for entry in names if entry.is_file]
    if not versions:
        return Registry(None, None, (), None, join_problems(problem))
    version = max(versions)
    path = db / f"tables.d.{version}"
    file = read_small(path, 256 << 20)
    if not file.present:
        return Registry(path, version, (), None, join_problems(problem, file.problem))
    entries, problems = parse_registry(file.data, path)
    return Registry(path, version, entries, file.stamp, join_problems(problem, file.problem, problems))
