"""WAL that is there and was not read, never taken for none: behind a symbolic link, in files that may not be read, or
under a name that is no WAL's."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.reading import Problem, ProblemKind, list_directory
from console.questdb.segment_data import Tear
from console.table.inventory import Inventory
from console.table.ledger import Evidence
from console.table.torn import Wholeness
from console.text import clean_line, plural

_WAL: Final = re.compile(r"wal[1-9]\d{0,9}(/(0|[1-9]\d{0,8}))?")
_BEGINS: Final = re.compile(r"wal[1-9]\d{0,8}(?!\d)")


@dataclass(frozen=True, slots=True)
class Unseen:
    """One thing that was not read: `place` relative to the table's directory, and why."""

    place: str
    evidence: Evidence
    why: str


def unseen_wal(
    table: Path, inventory: Inventory, obstacles: Sequence[Problem], *, missed: bool = True
) -> tuple[Unseen, ...]:
    """Return the WAL directories, segments and event files that were not read.

    `obstacles` are what stands in the way of seeing the table whole (TableDirectory.listing_problems). Not `missed`:
    the log names no WAL that is not there, so that one under another name is left over from before a purge.
    """
    found = [each for each in obstacles if _WAL.fullmatch(_place(table, each.file))]
    for segment in inventory.segments.values():
        found += [each for each in segment.problems if each.kind is ProblemKind.UNREADABLE]
    hidden = (
        Unseen(
            clean_line(_place(table, each.file)),
            Evidence.NOT_FOLLOWED if is_link(each.file) else Evidence.NOT_READ,
            each.what,
        )
        for each in found
    )
    return (*hidden, *(_renamed(table) if missed else ()))


def _renamed(table: Path) -> Iterator[Unseen]:
    """Yield directories with segments that are named after a WAL which is not there: `wal2.old`, moved by hand."""
    entries, _ = list_directory(table)
    there = {entry.name for entry in entries}
    for entry in entries:
        match = _BEGINS.match(entry.name) if entry.is_directory else None
        if match is None or match[0] in there:
            continue
        segments = [each for each in list_directory(entry.path)[0] if each.is_directory and each.name.isdecimal()]
        if any((each.path / "_event").exists() for each in segments):
            held = plural(len(segments), "segment")
            why = f"holds {held} under a name that QuestDB does not know, and {match[0]} is not there"
            yield Unseen(clean_line(entry.name), Evidence.RENAMED, why)


def unseen_columns(table: Path, wholeness: Wholeness) -> tuple[Unseen, ...]:
    files = {rows.file: rows.what for _, _, rows in wholeness.seen if rows.tear is Tear.HIDDEN}
    return tuple(Unseen(clean_line(_place(table, file)), Evidence.NOT_READ, what) for file, what in files.items())


def is_link(path: Path) -> bool:
    """Return whether a path is a symbolic link; False if that may not be asked."""
    try:
        return path.is_symlink()
    except OSError:
        return False


def _place(table: Path, path: Path) -> str:
    return str(path.relative_to(table)) if path.is_relative_to(table) else str(path)
