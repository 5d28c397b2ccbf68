"""Damages to a table's own files, and the table that they are struck on: five days, a late column, rows not applied."""

import hashlib
import os
import shutil
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer

SMALL = {"cairo.writer.data.append.page.size": "16384", "cairo.o3.column.memory.size": "16384"}
_COLUMNS = "ts TIMESTAMP, n LONG, s SYMBOL INDEX, px DOUBLE, v VARCHAR, txt STRING"
_ROWS = "x, rnd_symbol('a','b','c'), x * 1.0, rnd_varchar(1,20,1), rnd_str(3,9,1)"
Strike = Callable[[Path], object]


@dataclass(frozen=True)
class Damage:
    """One damage. `code`: why a start is refused; `proof`: a start by hand shows on disk or in SQL what it destroys."""

    name: str
    code: str
    strike: Strike
    proof: bool = True


def zero(path: Path) -> None:
    """Put zeros in place of all bytes."""
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path, size: int) -> None:
    """Cut a file to `size` bytes."""
    os.truncate(path, size)


def partition(table: Path, day: int) -> Path:
    """Return the directory of a day."""
    return max(path for path in table.iterdir() if path.name.startswith(f"2024-01-0{day}"))


def column(table: Path, day: int, name: str) -> Path:
    """Return a file of a day's partition by the beginning of its name."""
    return min(path for path in partition(table, day).iterdir() if path.name.startswith(name))


def renamed(table: Path, day: int) -> None:
    """Give a partition's directory another name txn."""
    path = partition(table, day)
    path.rename(path.with_name(path.name.split(".")[0] + ".77"))


def _in_txn(table: Path, change: Callable[[bytearray, int, int, int], None]) -> None:
    path = table / "_txn"
    data = bytearray(path.read_bytes())
    version = struct.unpack_from("<q", data)[0]
    base, symbols, partitions = struct.unpack_from("<iii", data, 8 if version % 2 == 0 else 32)
    change(data, base, symbols, partitions)
    path.write_bytes(data)


def word_back(table: Path) -> None:
    """Let the version word point at the other area."""
    data = bytearray((table / "_txn").read_bytes())
    struct.pack_into("<q", data, 0, struct.unpack_from("<q", data)[0] - 1)
    (table / "_txn").write_bytes(data)


def no_partition_table(table: Path) -> None:
    """Zero the partition table of the area in force."""

    def change(data: bytearray, base: int, symbols: int, partitions: int) -> None:
        at = base + 132 + symbols + 4
        data[at : at + partitions] = bytes(partitions)

    _in_txn(table, change)


def more_rows(count: int) -> Strike:
    """Return what makes the row count of the last partition too high."""

    def change(data: bytearray, base: int, _symbols: int, _partitions: int) -> None:
        struct.pack_into("<q", data, base + 8, struct.unpack_from("<q", data, base + 8)[0] + count)

    return lambda table: _in_txn(table, change)


DAMAGES = (
    Damage("txn_gone", "table-txn-invalid", lambda t: (t / "_txn").unlink(), proof=False),
    Damage("txn_cut", "table-txn-invalid", lambda t: cut(t / "_txn", 96)),
    Damage("txn_zero", "table-txn-invalid", lambda t: zero(t / "_txn")),
    Damage("txn_back", "table-files-disagree", word_back),
    Damage("txn_no_partitions", "table-txn-invalid", no_partition_table),
    Damage("txn_five_more", "partition-rows-differ", more_rows(5)),
    Damage("txn_far_more", "partition-rows-differ", more_rows(1_000_000)),
    Damage("meta_gone", "table-metadata-missing", lambda t: (t / "_meta").unlink(), proof=False),
    Damage("cv_gone", "column-versions-missing", lambda t: (t / "_cv").unlink()),
    Damage("cv_zero", "column-versions-invalid", lambda t: zero(t / "_cv")),
    Damage("cv_empty", "column-versions-invalid", lambda t: cut(t / "_cv", 0)),
    Damage("first_gone", "partition-missing", lambda t: shutil.rmtree(partition(t, 1)), proof=False),
    Damage("middle_gone", "partition-missing", lambda t: shutil.rmtree(partition(t, 3)), proof=False),
    Damage("last_gone", "partition-missing", lambda t: shutil.rmtree(partition(t, 5))),
    Damage("first_renamed", "partition-missing", lambda t: renamed(t, 1)),
    Damage("middle_renamed", "partition-missing", lambda t: renamed(t, 3)),
    Damage("column_gone", "column-file-missing", lambda t: column(t, 3, "px.d").unlink()),
    Damage("column_short", "column-file-short", lambda t: cut(column(t, 3, "px.d"), 400)),
    Damage("column_short_last", "column-file-short", lambda t: cut(column(t, 5, "px.d"), 400)),
    Damage("column_gone_last", "column-file-missing", lambda t: column(t, 5, "px.d").unlink()),
    Damage("varchar_short", "column-file-short", lambda t: cut(column(t, 3, "v.i"), 160), proof=False),
    Damage("string_data_short", "column-file-short", lambda t: cut(column(t, 3, "txt.d"), 40), proof=False),
    Damage("symbols_cut", "symbol-map-short", lambda t: cut(t / "s.o", 64), proof=False),
    Damage("symbols_gone", "symbol-map-missing", lambda t: (t / "s.c").unlink(), proof=False),
    Damage("sequencer_meta_zero", "sequencer-metadata-invalid", lambda t: zero(t / "txn_seq/_meta"), proof=False),
    Damage("to_plain", "conversion-pending", lambda t: (t / "_convert").write_bytes(b"\0")),
)
"""What one server can be started on, all together; `varchar_short` and its like may crash it, and are not."""
ALONE = (
    Damage("txn_empty", "table-txn-invalid", lambda t: cut(t / "_txn", 0), proof=False),
    Damage("txn_header", "table-txn-invalid", lambda t: cut(t / "_txn", 40)),
    Damage("meta_zero", "table-metadata-invalid", lambda t: zero(t / "_meta")),
    Damage("meta_empty", "table-metadata-invalid", lambda t: cut(t / "_meta", 0), proof=False),
    Damage("meta_cut", "table-metadata-invalid", lambda t: cut(t / "_meta", 200), proof=False),
)
"""What changes the server as a whole: it does not start, or answers nothing about any table."""
CRASHES = ("varchar_short", "string_data_short", "symbols_gone")
NAMES = tuple(damage.name for damage in (*DAMAGES, *ALONE))


def build(root: Path, binary: ServerBinary, *, twin: str = "twin", names: tuple[str, ...] = NAMES) -> None:
    """Make a table for each name and one more, alike but for random text: rows applied, rows that are not, killed."""
    root.mkdir(parents=True)
    tables = (*names, twin)
    with PrivateServer(root, binary, settings={"cairo.wal.purge.interval": "600000", **SMALL}) as server:
        for name in tables:
            server.query(f"CREATE TABLE {name} ({_COLUMNS}) TIMESTAMP(ts) PARTITION BY DAY WAL")
            rows = f"timestamp_sequence('2024-01-01', 400000000L), {_ROWS} FROM long_sequence(864)"
            server.query(f"INSERT INTO {name} SELECT {rows}")
        _applied(server)
        for name in tables:
            server.query(f"ALTER TABLE {name} ADD COLUMN fee DOUBLE")
            rows = f"timestamp_sequence('2024-01-05', 400000000L), {_ROWS}, 2.0 FROM long_sequence(150)"
            server.query(f"INSERT INTO {name} SELECT {rows}")
            server.query(f"INSERT INTO {name} VALUES ('2024-01-02T00:00:01', 1, 'a', 1.0, 'x', 'y', 3.0)")
        _applied(server)
    with PrivateServer(root, binary, settings={"cairo.wal.apply.enabled": "false"}) as server:
        for name in tables:
            for at in ("2024-01-03T00:00:01", "2024-01-05T20:00:01"):
                server.query(f"INSERT INTO {name} VALUES ('{at}', 1, 'z', 1.0, 'x', 'y', 3.0)")
        server.kill()
    shutil.rmtree(root / "public", ignore_errors=True)


def alone(source: Path, name: str, to: Path) -> Path:
    """Copy one table of `source`, the registry and the server's own files to the root `to`; return its directory."""
    (to / "db").mkdir(parents=True)
    for path in (source / "db").iterdir():
        if path.is_file():
            shutil.copy2(path, to / "db")
        elif path.name.split("~")[0] == name or path.name.startswith("telemetry"):
            shutil.copytree(path, to / "db" / path.name)
    return table_of(to, name)


def table_of(root: Path, name: str) -> Path:
    """Return the directory of a table."""
    return next(path for path in (root / "db").iterdir() if path.name.split("~")[0] == name)


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Return length and digest of each file below `folder`."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _applied(server: PrivateServer) -> None:
    deadline = time.monotonic() + 60
    while any(row[0] != row[1] for row in server.query("SELECT writerTxn, sequencerTxn FROM wal_tables()")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
