"""What a full check has read so far, so that one that is cut off goes on where it was: a file of JSON lines.

A line has some columns of one partition: per column a mark, the share of zeros, and what was found. The mark is made of
the boot, of inode, size and time of change of the column's files, and of what the values are judged by; another mark
voids the entry. For a power loss takes pages that were read from memory, and may leave size and time as they were.
A line that a power loss or a kill left torn is passed over: those columns are read again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.diagnosis.model import Finding
from console.durable import boot_id, write_all
from console.records import RecordError, of_json, to_json

_FORM: Final = 1
_AT_MOST: Final = 64 << 20
"""Bytes that are read before a line is written though the partition is not at its end."""
_LONGEST: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column of a partition that is read: `share` of its values are zeros (None: not counted)."""

    column: int
    mark: str
    size: int
    share: float | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    form: int
    table: str
    partition: str
    columns: tuple[ReadColumn, ...]


class DeepRecord:
    """The record at `path`; None: nothing is kept. `known` is given the bytes that need not be read again.

    Only the places of the lines are in memory.
    """

    def __init__(self, path: Path | None, known: Callable[[int], None] = lambda _: None) -> None:
        self._path, self._known = path, known
        self._lines: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._kept: list[ReadColumn] = []
        self._place, self._size = ("", ""), 0
        self._read: tuple[tuple[str, str], dict[int, ReadColumn]] = (("", ""), {})
        if path is not None:
            self._index(path)

    def find(self, table: str, partition: str, column: int, mark: str) -> ReadColumn | None:
        """Return what an earlier check read of a column, if its mark is still the same."""
        place = (table, partition)
        if self._read[0] != place:
            self._read = (place, {each.column: each for line in self._load(place) for each in line.columns})
        found = self._read[1].get(column)
        if found is None or not mark or found.mark != mark:
            return None
        self._known(found.size)
        return found

    def keep(self, table: str, partition: str, read: ReadColumn) -> None:
        if self._place != (table, partition):
            self.write()
            self._place = (table, partition)
        self._kept.append(read)
        self._size += read.size
        if self._size >= _AT_MOST:
            self.write()

    def write(self) -> None:
        """Append what is not in the file yet. A record that cannot be written is given up; the check goes on."""
        kept, self._kept, self._size = self._kept, [], 0
        if not kept or self._path is None:
            return
        # it begins with a line end: a torn line before it stays alone
        line = b"\n" + json.dumps(to_json(_Line(_FORM, *self._place, tuple(kept)))).encode() + b"\n"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o600)
            try:
                write_all(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError:
            self._path = None

    def forget(self) -> None:
        """Remove the record: the check is at its end."""
        self._kept = []
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _index(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                at = 0
                for line in iter(lambda: file.readline(_LONGEST), b""):
                    if (parsed := _parsed(line)) is not None:
                        self._lines.setdefault((parsed.table, parsed.partition), []).append((at, len(line)))
                    at += len(line)
        except OSError:
            self._lines = {}

    def _load(self, place: tuple[str, str]) -> list[_Line]:
        if self._path is None or place not in self._lines:
            return []
        try:
            with self._path.open("rb") as file:
                lines = [_parsed(os.pread(file.fileno(), size, at)) for at, size in self._lines[place]]
        except OSError:
            return []
        return [line for line in lines if line is not None]


def mark_of(paths: Sequence[Path], judged_by: object) -> str:
    """Return the mark of a column's files as they are now in this boot, empty if one cannot be looked at."""
    try:
        boot = boot_id()
        stamps = [(os.lstat(path).st_ino, os.lstat(path).st_size, os.lstat(path).st_mtime_ns) for path in paths]
    except OSError:
        return ""
    names = [path.name for path in paths]
    return hashlib.blake2b(repr((boot, names, stamps, judged_by)).encode(), digest_size=12).hexdigest()


def _parsed(line: bytes) -> _Line | None:
    try:
        parsed = of_json(_Line, json.loads(line))
    except (ValueError, RecordError, RecursionError):
        return None
    return parsed if parsed.form == _FORM else None
