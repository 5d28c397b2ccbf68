"""Damages to every file of a table, two or three to each, as a power loss leaves them.

Each strike looks at the table as it was before the first one, so that a later one still knows what stood where.
"""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.partition_columns import StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from tests.real import state_damage

Strike = Callable[["Victim", random.Random], str]


@dataclass(frozen=True)
class Victim:
    """A table before its damage: directory, and the files of its partitions."""

    table: Path
    files: PartitionFiles

    @classmethod
    def of(cls, table: Path) -> "Victim":
        """Look at a healthy table."""
        files = PartitionFiles.of(table)
        assert files is not None, table
        return cls(table, files)

    def spans(self, *, native: bool = False) -> list[PartitionSpan]:
        """Return the partitions that are still there, only native ones if asked."""
        spans = [span for span in self.files.spans if (self.table / span.directory).is_dir()]
        return [span for span in spans if span.parquet_size is None or not native]

    def columns(self, *, variable: bool | None = None, indexed: bool = False) -> list[StoredColumn]:
        """Return the columns of native partitions that still have their files, but the designated timestamp's."""
        found = [
            each
            for span in self.spans(native=True)
            for each in self.files.columns_of(span)
            if isinstance(each, StoredColumn) and not self.files.is_timestamp(each.column) and each.data.exists()
        ]
        if variable is not None:
            found = [each for each in found if (each.entries[0] == each.aux) is variable]
        return [each for each in found if each.indexed] if indexed else found


def _cut(path: Path, below: int, rng: random.Random) -> str:
    """Cut a file somewhere below `below` bytes, half the time between two pages."""
    size = rng.randrange(max(1, below))
    if rng.random() < 0.5:
        size -= size % 4096
    os.truncate(path, min(size, path.stat().st_size))
    return f"cut to {size}"


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _table_state(victim: Victim, rng: random.Random) -> str:
    return state_damage.struck(victim.table, rng) if (victim.table / "_txn").exists() else ""


def _fixed(victim: Victim, rng: random.Random) -> str:
    columns = victim.columns(variable=False)
    if not columns:
        return ""
    each = rng.choice(columns)
    if rng.random() < 0.25:
        each.data.unlink()
        return f"{_named(each.data)} gone"
    _, size, more = each.entries
    return f"{_named(each.data)} {_cut(each.data, size * (each.rows + more), rng)} of {each.rows} rows"


def _variable(victim: Victim, rng: random.Random) -> str:
    columns = [each for each in victim.columns(variable=True) if each.aux.exists()]
    if not columns:
        return ""
    each = rng.choice(columns)
    path = rng.choice((each.data, each.aux))
    kind = rng.choice(("gone", "cut", "cut", "zeros"))
    if kind == "gone":
        path.unlink()
        return f"{_named(path)} gone"
    if kind == "zeros" and path == each.aux:
        path.write_bytes(bytes(path.stat().st_size))
        return f"{_named(path)} zeros"
    return f"{_named(path)} {_cut(path, path.stat().st_size, rng)} of {each.rows} rows"


def _symbol_map(victim: Victim, rng: random.Random) -> str:
    maps = sorted(path for path in victim.table.iterdir() if _SYMBOL_MAP(path))
    if not maps:
        return ""
    path = rng.choice(maps)
    return _of_file(path, rng)


def _SYMBOL_MAP(path: Path) -> bool:
    name = path.name.split(".")
    return path.is_file() and len(name) > 1 and name[1] in ("o", "c", "k", "v") and not path.is_symlink()


def _index(victim: Victim, rng: random.Random) -> str:
    columns = victim.columns(indexed=True)
    if not columns:
        return ""
    path = rng.choice(rng.choice(columns).index_files())
    return _of_file(path, rng) if path.exists() else ""


def _of_file(path: Path, rng: random.Random) -> str:
    kind = rng.choice(("gone", "cut", "zeros", "empty"))
    if kind == "gone":
        path.unlink()
    elif kind == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        kind = _cut(path, path.stat().st_size, rng)
    return f"{_named(path)} {kind}"


def _partition(victim: Victim, rng: random.Random) -> str:
    spans = victim.spans()
    if len(spans) < 2:
        return ""
    place = victim.table / rng.choice(spans).directory
    kind = rng.choice(("gone", "gone", "renamed", "detached"))
    if kind == "gone":
        shutil.rmtree(place)
    else:
        day = place.name.split(".")[0]
        place.rename(place.with_name(f"{day}.{victim.files.area.txn}" if kind == "renamed" else f"{day}.detached"))
    return f"{place.name} {kind}"


def _timestamps(victim: Victim, rng: random.Random) -> str:
    spans = victim.spans(native=True)
    found = [victim.files.timestamp(span) for span in spans]
    columns = [each for each in found if each is not None and each.data.exists()]
    if not columns:
        return ""
    each = rng.choice(columns)
    return f"{_named(each.data)} {_cut(each.data, 8 * each.rows, rng)} of {each.rows} rows"


def _sequencer(victim: Victim, rng: random.Random) -> str:
    folder = victim.table / "txn_seq"
    if not folder.is_dir():
        return ""
    if rng.random() < 0.2:
        shutil.rmtree(folder)
        return "txn_seq gone"
    names = [name for name in ("_txnlog", "_txnlog", "_meta", "_wal_index.d") if (folder / name).exists()]
    return _of_file(folder / rng.choice(names), rng) if names else ""


STRIKES: Final[tuple[Strike, ...]] = (
    _table_state, _table_state, _fixed, _fixed, _variable, _variable, _symbol_map, _index, _partition, _timestamps,
    _sequencer,
)  # fmt: skip


def strike_widely(table: Path, rng: random.Random) -> tuple[str, ...]:
    """Damage a table in two or three places; return how. Fewer only where it has no more files to damage."""
    victim = Victim.of(table)
    wanted, said = rng.choice((2, 2, 3)), list[str]()
    strikes = list(STRIKES)
    rng.shuffle(strikes)
    states = [at for at, strike in enumerate(strikes) if strike is _table_state]
    del strikes[states[-1]]  # twice in the list for its weight; what is damaged cannot be damaged again
    for strike in strikes:
        if len(said) < wanted and (done := strike(victim, rng)):
            said.append(done)
    return tuple(said)
