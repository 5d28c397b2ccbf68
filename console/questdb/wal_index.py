"""`txn_seq/_wal_index.d`: the highest WAL id handed out (IDGeneratorFactory), then zeros to a page."""

from dataclasses import dataclass
from pathlib import Path

from console.questdb.fields import Fields
from console.questdb.formats.sequencer import WAL_INDEX
from console.questdb.reading import Problem, ProblemKind, join_problems, read_small

PAGE = 4096


@dataclass(frozen=True, slots=True)
class WalIndex:
    """`highest` is None where the file is missing, unreadable or shorter than 8 bytes; the next WAL gets `highest` + 1.

    With commit mode sync ids are taken in batches, so that it may lie far above the WALs that exist.
    """

    path: Path
    highest: int | None
    present: bool
    problems: tuple[Problem, ...]


def read_wal_index(sequencer: Path) -> WalIndex:
    return read_highest(sequencer / "_wal_index.d")


def read_highest(path: Path) -> WalIndex:
    """Read the highest id handed out, of WALs or, in `_tab_index.d`, of tables."""
    file = read_small(path, PAGE)
    if not file.present:
        return WalIndex(file.path, None, False, join_problems(file.problem))
    if len(file.data) < WAL_INDEX.size:
        short = Problem(
            ProblemKind.SHORT, f"it is {len(file.data)} bytes long, and needs {WAL_INDEX.size}", file.path, 0
        )
        return WalIndex(file.path, None, True, (short,))
    highest = WAL_INDEX.value("highest", Fields(file.data))
    problem = None if 0 <= highest < 1 << 31 else Problem(ProblemKind.INVALID, f"id {highest:,}", file.path, 0)
    return WalIndex(file.path, highest, True, join_problems(problem))
