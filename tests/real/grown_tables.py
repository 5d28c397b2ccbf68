"""Healthy tables of every column type, grown at random by the real server: each seed is another table.

Statements that the server refuses are no matter: whatever it lets happen leaves a healthy table.
"""

import contextlib
import random
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psycopg

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.whole_tables import COLUMNS, FIXED, VARIABLE

SETTINGS: Final = {
    "cairo.wal.purge.interval": "1000",
    "cairo.writer.data.append.page.size": "16384",
    "cairo.o3.column.memory.size": "16384",
    "cairo.o3.partition.split.min.size": "2000",
    "cairo.o3.last.partition.max.splits": "9",
}
_DAYS: Final = 5
_MINUTES: Final = 24 * 60
_TYPES: Final = ("DOUBLE", "LONG", "INT", "FLOAT", "STRING", "VARCHAR", "SYMBOL", "TIMESTAMP")


class GrownTable:
    """The statements of one seed, in order. `columns` are those that the table should have now."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.name = f"g{seed}"
        self.nanos = self.rng.random() < 0.2
        self.wal = self.rng.random() < 0.75
        self.unit = self.rng.choice(["DAY", "DAY", "DAY", "HOUR", "WEEK", "MONTH", "YEAR"])
        chosen = self.rng.sample(sorted(COLUMNS), self.rng.randint(3, 12))
        self.columns = {name: COLUMNS[name] for name in chosen}
        self.added = 0

    @property
    def quiet(self) -> bool:
        """Whether nothing writes to it when the server is killed."""
        return self.seed % 3 != 1

    def statements(self) -> Iterator[str]:
        """Yield what makes the table and changes it; empty text stands for a pause in which it is applied."""
        types = ", ".join(f"{name} {kind}" for name, (kind, _) in self.columns.items())
        dedup = " DEDUP UPSERT KEYS(ts)" if self.wal and self.rng.random() < 0.2 else ""
        wal = "WAL" if self.wal else "BYPASS WAL"
        stamp = "TIMESTAMP_NS" if self.nanos else "TIMESTAMP"
        yield f"CREATE TABLE {self.name} (ts {stamp}, {types}) TIMESTAMP(ts) PARTITION BY {self.unit} {wal}{dedup}"
        yield self.insert(0, self.rng.randint(1, 600))
        for _ in range(self.rng.randint(3, 14)):
            yield self.change()
            if self.rng.random() < 0.4:
                yield ""

    def insert(self, minute: int, rows: int) -> str:
        """Return rows from `minute` of the first day on, a random step apart."""
        step = self.rng.choice([1_000_000, 30_000_000, 60_000_000, 300_000_000])
        day, rest = divmod(minute, _MINUTES)
        start = f"2024-01-{day + 1:02d}T{rest // 60:02d}:{rest % 60:02d}"
        sequence = f"timestamp_sequence('{start}', {step}L)" + ("::timestamp_ns" if self.nanos else "")
        names, values = ", ".join(self.columns), ", ".join(value for _, value in self.columns.values())
        return f"INSERT INTO {self.name} (ts, {names}) SELECT {sequence}, {values} FROM long_sequence({rows})"

    def change(self) -> str:
        """Return one change: rows three times out of five, else something rarer."""
        rng, table = self.rng, f"ALTER TABLE {self.name}"
        if rng.random() < 0.6:
            return self.insert(rng.randrange(_DAYS * _MINUTES), rng.choice([1, 5, 60, 400, 3000]))
        day = f"2024-01-{rng.randint(1, _DAYS):02d}"
        column = rng.choice(sorted(self.columns))
        symbols = [name for name, (kind, _) in self.columns.items() if kind.startswith("SYMBOL")]
        symbol = rng.choice(symbols) if symbols else column
        match rng.randrange(12):
            case 0 | 1 | 2:
                return f"{table} ADD COLUMN {self._add()}"
            case 3 if len(self.columns) > 2:
                del self.columns[column]
                return f"{table} DROP COLUMN {column}"
            case 4:
                return f"{table} ALTER COLUMN {column} TYPE {rng.choice(_TYPES)}"
            case 5:
                return f"{table} ALTER COLUMN {symbol} SYMBOL CAPACITY {rng.choice([16, 1024, 65536])}"
            case 6:
                return f"{table} ALTER COLUMN {symbol} {rng.choice(['ADD', 'DROP'])} INDEX"
            case 7:
                return (
                    f"UPDATE {self.name} SET {column} = {self.columns[column][1].replace('x', '7')} WHERE ts > '{day}'"
                )
            case 8:
                form = rng.choice(["PARQUET", "PARQUET", "NATIVE"])
                return f"{table} CONVERT PARTITION TO {form} LIST '{day}'"
            case 9:
                return f"{table} {rng.choice(['DETACH', 'DROP'])} PARTITION LIST '{day}'"
            case 10:
                return f"{table} SQUASH PARTITIONS"
            case _:
                return f"TRUNCATE TABLE {self.name}" if rng.random() < 0.2 else f"{table} SET TTL 52w"

    def _update(self, column: str, day: str) -> str:
        value = self.columns[column][1]
        return f"UPDATE {self.name} SET {column} = {value if 'x' not in value else 7} WHERE ts > '{day}'"

    def _add(self) -> str:
        self.added += 1
        kind, value = self.rng.choice([*FIXED.values(), *VARIABLE.values(), COLUMNS["sx"], COLUMNS["sy"]])
        self.columns[f"c{self.added}"] = (kind, value)
        return f"c{self.added} {kind}"


class KeyedTable(GrownTable):
    """A table in which no two rows have the same time: the microseconds of a row say which insert brought it.

    Without Parquet: QuestDB 9.1.0 can die when it reads such a partition, or merges rows into it.
    """

    _inserts = 0

    def statements(self) -> Iterator[str]:
        """Yield those of `GrownTable`, but conversions to Parquet."""
        return (statement for statement in super().statements() if " TO PARQUET " not in statement)

    def insert(self, minute: int, rows: int) -> str:
        """Return rows as `GrownTable` does, each insert with microseconds of its own."""
        self._inserts += 1
        return re.sub(r"(T\d\d:\d\d)'", rf"\1:00.{self._inserts:06d}'", super().insert(minute, rows), count=1)


def grow(
    root: Path, seeds: Sequence[int], binary: ServerBinary, kind: type[GrownTable] = GrownTable
) -> dict[str, list[str]]:
    """Grow a table for each seed, kill the server while it writes, and return what the server took, by table."""
    tables = [kind(seed) for seed in seeds]
    taken: dict[str, list[str]] = {table.name: [] for table in tables}
    root.mkdir(parents=True)
    with PrivateServer(root, binary, settings=SETTINGS) as server:
        with server.connect() as connection:
            for table in tables:
                for statement in table.statements():
                    if not statement:
                        time.sleep(0.05)
                        continue
                    with contextlib.suppress(psycopg.Error):
                        connection.execute(statement.encode())
                        taken[table.name].append(statement)
        time.sleep(1)
        writers = [
            threading.Thread(target=_write, args=(server, table), daemon=True) for table in tables if not table.quiet
        ]
        for writer in writers:
            writer.start()
        time.sleep(1)
        server.kill()
        for writer in writers:
            writer.join(20)
    (root / "db" / "tables.d.lock").touch()
    return taken


def _write(server: PrivateServer, table: GrownTable) -> None:
    """Write rows until the server is gone."""
    with contextlib.suppress(psycopg.OperationalError, OSError), server.connect() as connection:
        while True:
            try:
                connection.execute(table.insert(table.rng.randrange(_DAYS * _MINUTES), 40).encode())
            except psycopg.OperationalError:
                raise
            except psycopg.Error:
                time.sleep(0.01)
