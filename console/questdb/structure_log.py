"""`_txnlog.meta.i` and `_txnlog.meta.d`: the structure changes of a sequencer (TableTransactionLog, AlterOperation).

The used entries of `.meta.i` increase, the rest of the file is zeros. formats/sequencer.py has the fields.
"""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import type_name
from console.questdb.fields import Fields, Walk
from console.questdb.formats.sequencer import STRUCTURE_CHANGE, STRUCTURE_END
from console.questdb.reading import DamageError, Problem, ProblemKind, join_problems, read_small
from console.text import clean_line

_MAX_CHANGES: Final = 1 << 20
_MAX_CHANGE: Final = 1 << 16


class Command(IntEnum):
    """Commands of AlterOperation that change a table's structure, and so get a record with walId -1."""

    ADD_COLUMN = 1
    DROP_COLUMN = 8
    RENAME_COLUMN = 9
    RENAME_TABLE = 14
    ENABLE_DEDUP = 15
    DISABLE_DEDUP = 16
    CHANGE_COLUMN_TYPE = 17


@dataclass(frozen=True, slots=True)
class StructureChange:
    """The change that made structure version `version`: raw `numbers` and `strings` as AlterOperation stores them."""

    version: int
    offset: int
    length: int
    command: int
    numbers: tuple[int, ...]
    strings: tuple[str, ...]

    @property
    def in_metadata(self) -> bool:
        """Whether `_meta` gets a new version with it: RENAME TABLE moves the structure version alone."""
        return self.command != Command.RENAME_TABLE

    @property
    def summary(self) -> str:
        names = [clean_line(text, 80) for text in self.strings]
        match self.command:
            case Command.ADD_COLUMN:
                types = [type_name(code) for code in self.numbers[0::6]]
                added = [f"{name} {kind}" for name, kind in zip(names, types, strict=False)] or names
                return f"add column {', '.join(added)}"
            case Command.DROP_COLUMN:
                return f"drop column {', '.join(names)}"
            case Command.RENAME_COLUMN:
                pairs = zip(names[0::2], names[1::2], strict=False)
                return "rename column " + ", ".join(f"{old} to {new}" for old, new in pairs)
            case Command.RENAME_TABLE:
                return f"rename table {' to '.join(names)}"
            case Command.ENABLE_DEDUP:
                return "enable deduplication"
            case Command.DISABLE_DEDUP:
                return "disable deduplication"
            case Command.CHANGE_COLUMN_TYPE:
                kind = type_name(self.numbers[0]) if self.numbers else "unknown"
                return f"change column {', '.join(names)} to {kind}"
            case other:
                return f"command {other}"


@dataclass(frozen=True, slots=True)
class StructureLog:
    """`ends[v]` is the end offset of the change to version v, ends[0] = 0; empty where the index is missing or empty.

    `missing` says that one of the two files is not there.
    """

    index_path: Path
    data_path: Path
    ends: NDArray[np.int64]
    data_size: int
    missing: bool
    problems: tuple[Problem, ...]

    @property
    def version(self) -> int | None:
        return len(self.ends) - 1 if len(self.ends) else None

    def change(self, version: int) -> StructureChange | Problem:
        """Return the change to `version` (1-based), or the problem where it is not there or cannot be decoded."""
        if not 1 <= version < len(self.ends):
            what = f"it has no entry for structure version {version:,}"
            return Problem(ProblemKind.SHORT, what, self.index_path, 8 * max(0, version))
        start, end = int(self.ends[version - 1]), int(self.ends[version])
        file = read_small(self.data_path)
        if not file.present:
            return file.problem or Problem(ProblemKind.MISSING, "there is no such file", self.data_path)
        try:
            return parse_change(file.data, version, start, end)
        except DamageError as damage:
            return damage.problem(self.data_path)


def parse_index(data: bytes) -> NDArray[np.int64]:
    """Return the used entries of a `.meta.i`: entry 0, and what follows it for as long as it increases."""
    entries = np.frombuffer(data[: len(data) // 8 * 8], STRUCTURE_END.dtype)["end"][: _MAX_CHANGES + 1]
    if not len(entries):
        return np.empty(0, np.int64)
    stops = np.flatnonzero(entries[1:] <= entries[:-1])
    return entries[: int(stops[0]) + 1 if len(stops) else len(entries)].astype(np.int64)


def parse_change(data: bytes, version: int, start: int, end: int) -> StructureChange:
    """Return the change between the offsets `start` and `end` of a `.meta.d`. Raises DamageError where it is none."""
    fields = Fields(data)
    length, body = STRUCTURE_CHANGE.value("length", fields, start), start + STRUCTURE_CHANGE.at("command")
    if length != end - body or length > _MAX_CHANGE:
        what = f"the change to structure version {version:,} is {length:,} bytes, where its index has {end - body:,}"
        raise DamageError(what, start)
    fields.need(body, length)
    change = Fields(data[start:end], start)
    command = STRUCTURE_CHANGE.value("command", change)
    walk = Walk(change, STRUCTURE_CHANGE.at("numbers"))
    numbers = tuple(walk.i64() for _ in range(walk.count("number", 8)))
    strings = tuple(walk.string() or "" for _ in range(walk.count("string", 4)))
    return StructureChange(version, start, length, command, numbers, strings)


def read_structure_log(sequencer: Path) -> StructureLog:
    index_file = read_small(sequencer / "_txnlog.meta.i")
    data_file = read_small(sequencer / "_txnlog.meta.d")
    ends = parse_index(index_file.data)
    problems: list[Problem] = []
    if len(ends) and ends[0] != 0:
        problems.append(Problem(ProblemKind.INVALID, f"its first entry is {ends[0]:,}, not 0", index_file.path, 0))
        ends = ends[:0]
    rest = index_file.data[8 * len(ends) :]
    if len(ends) and any(rest):
        what = "its entries do not increase from here on"
        problems.append(Problem(ProblemKind.INVALID, what, index_file.path, 8 * len(ends)))
    if len(ends) > 1 and data_file.present and ends[-1] > len(data_file.data):
        what = f"it is {len(data_file.data):,} bytes long, where its index needs {int(ends[-1]):,}"
        problems.append(Problem(ProblemKind.SHORT, what, data_file.path, len(data_file.data)))
    return StructureLog(
        index_file.path,
        data_file.path,
        ends,
        len(data_file.data),
        not (index_file.present and data_file.present),
        join_problems(index_file.problem, data_file.problem, problems),
    )
