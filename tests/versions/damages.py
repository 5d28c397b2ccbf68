"""What is done to the tables of one version, each by the action that repairs it."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.formats.model import FIRST, Since
from tests.real import sequencer_damage


def _damage(strike: Callable[[Path, random.Random], None]) -> Callable[[Path], None]:
    return lambda table: strike(table, random.Random(table.name))


def _gone(name: str) -> Callable[[Path], None]:
    return lambda table: (table / name).unlink()


def _zeros(name: str) -> Callable[[Path], None]:
    def strike(table: Path) -> None:
        path = table / name
        path.write_bytes(bytes(path.stat().st_size))

    return strike


def _sequencer_gone(table: Path) -> None:
    shutil.rmtree(table / "txn_seq")


def _index_gone(table: Path) -> None:
    day = min(path for path in table.iterdir() if path.name.startswith("2024"))
    (day / "s.k").unlink()
    (day / "s.v").unlink()


@dataclass(frozen=True)
class Case:
    """The damage of one table, made in versions from `since` to before `until`; the action is `refused` or done."""

    table: str
    action: str
    strike: Callable[[Path], None]
    since: Since = FIRST
    until: Since = (99, 0, 0)
    refused: bool = False


CASES: Final = (
    Case("by_hour", "repair-log", _damage(sequencer_damage.header_past_end)),
    Case("split", "repair-log", _damage(sequencer_damage.header_zeroed)),
    Case("chunked", "repair-log", _damage(sequencer_damage.header_past_end), (7, 4, 0)),
    Case("renamed_now", "restore-sequencer", _damage(sequencer_damage.removed_with_backup)),
    Case("every_wal", "rebuild-sequencer", _sequencer_gone),
    Case("wide", "rebuild-sequencer", _sequencer_gone),
    Case("keyed", "restore-sequencer", _damage(sequencer_damage.removed_with_backup)),
    Case("altered", "rebuild-sequencer", _sequencer_gone),
    Case("parquet", "restore-sequencer", _damage(sequencer_damage.removed_with_backup), (9, 0, 0)),
    Case("nanos", "rebuild-sequencer", _sequencer_gone, (9, 1, 0)),
    Case("filling", "rebuild-sequencer", _sequencer_gone),
    Case("by_week", "raise-wal-index", _zeros("txn_seq/_wal_index.d")),
    Case("updated", "repair-symbols", _gone("s.o")),
    Case("indexed", "rebuild-index", _index_gone),
    Case("by_year", "repair-metadata", _zeros("_meta")),
    Case("stated", "repair-table-state", _gone("_txn")),
    Case("flat", "repair-table-state", _gone("_txn")),
)
CONVERTED: Final = (
    Case("by_month", "convert-table", _damage(sequencer_damage.header_zeroed), until=(9, 0, 0), refused=True),
    Case("kept", "convert-table", _sequencer_gone, (9, 0, 0)),
)
"""Last: a conversion starts a server of its own on all tables, so that the others must be whole by then."""
