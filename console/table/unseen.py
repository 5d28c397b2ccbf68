"""WAL that is there and was not read, behind a symbolic link or in files that may not be read: never taken for none."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.reading import Problem, ProblemKind
from console.questdb.segment_data import Tear
from console.table.inventory import Inventory
from console.table.ledger import Evidence
from console.table.torn import Wholeness
from console.text import clean_line

_WAL: Final = re.compile(r"wal[1-9]\d{0,9}(/(0|[1-9]\d{0,8}))?")


@dataclass(frozen=True, slots=True)
class Unseen:
    """One thing that was not read: `place` relative to the table's directory, and why."""

    place: str
    evidence: Evidence
    why: str


def unseen_wal(table: Path, inventory: Inventory, obstacles: Sequence[Problem]) -> tuple[Unseen, ...]:
    """Return the WAL directories, segments and event files that were not read.

    `obstacles` are what stands in the way of seeing the table whole (TableDirectory.listing_problems).
    """
    found = [each for each in obstacles if _WAL.fullmatch(_place(table, each.file))]
    for segment in inventory.segments.values():
        found += [each for each in segment.problems if each.kind is ProblemKind.UNREADABLE]
    return tuple(
        Unseen(
            clean_line(_place(table, each.file)),
            Evidence.NOT_FOLLOWED if is_link(each.file) else Evidence.NOT_READ,
            each.what,
        )
        for each in found
    )


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
