"""`_convert`: what `ALTER TABLE … SET TYPE` leaves for the next start to do (TableConverter): one byte."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.database import CONVERSION
from console.questdb.reading import Problem, ProblemKind, join_problems, read_small
from console.questdb.registry import TableKind

MARKER: Final = "_convert"


@dataclass(frozen=True, slots=True)
class Conversion:
    """`target` is None where there is no marker, or one that the server would not understand (a problem says so)."""

    path: Path
    present: bool
    target: TableKind | None
    problems: tuple[Problem, ...]


def read_conversion(table: Path) -> Conversion:
    file = read_small(table / MARKER, 4096)
    if not file.present:
        missing = file.problem is not None and file.problem.kind is ProblemKind.MISSING
        return Conversion(file.path, False, None, () if missing else join_problems(file.problem))
    kind = CONVERSION.value("type", Fields(file.data)) if file.data else None
    if kind not in tuple(TableKind):
        what = f"type {kind}, where 0, 1 or 2 belongs" if file.data else "it is empty"
        return Conversion(file.path, True, None, (Problem(ProblemKind.INVALID, what, file.path, 0),))
    return Conversion(file.path, True, TableKind(kind), ())
