"""Makes archives of a few KB of files that a real QuestDB 9.1.0 wrote, for tests that need no server.

Run: `python -m tests.data.capture_samples [parquet]`. `questdb-9.1.0.tar.xz` has `v1/…` and `v2/…` (format of the
sequencer's log), `questdb-9.1.0-parquet.tar.xz` a table with partitions in Parquet; each the db directory without the
server's own tables. Times and owners are left out, so that only the server's bytes differ.
"""

import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.station import downloads

ARCHIVE: Final = Path(__file__).with_name("questdb-9.1.0.tar.xz")
PARQUET_ARCHIVE: Final = Path(__file__).with_name("questdb-9.1.0-parquet.tar.xz")
STATEMENTS: Final = (
    "create table altered (ts timestamp, sym symbol index, v int) timestamp(ts) partition by day wal "
    "dedup upsert keys(ts, sym)",
    "insert into altered select timestamp_sequence('2024-01-01', 1800000000), rnd_symbol('k1','k2'), x::int "
    "from long_sequence(8)",
    "insert into altered values ('2024-01-01T09', 'k3', 1)",
    "alter table altered add column extra symbol",
    "insert into altered values ('2024-01-01T10', 'k1', 5, 'zz')",
    "update altered set v = 7 where sym = 'k1'",
    "alter table altered alter column v type long",
    "alter table altered drop column extra",
    "insert into altered values ('2024-01-01T11', 'k4', 6)",
    "create table kinds (ts timestamp, price double, st string, vc varchar, bin binary, ar double[]) timestamp(ts) "
    "partition by day wal",
    "insert into kinds select timestamp_sequence('2024-01-01', 1000000), rnd_double(), rnd_str(1, 20, 2), "
    "rnd_varchar(1, 20, 2), rnd_bin(1, 9, 2), rnd_double_array(1, 1) from long_sequence(60)",
    "truncate table kinds",
    "insert into kinds select timestamp_sequence('2024-01-02', 1000000), rnd_double(), rnd_str(1, 20, 2), "
    "rnd_varchar(1, 20, 2), rnd_bin(1, 9, 2), rnd_double_array(1, 1) from long_sequence(40)",
    "create materialized view hourly as (select ts, sym, count() n from altered sample by 1h) partition by day",
    "insert into altered values ('2024-01-01T12', 'k5', 8)",
)
PARQUET: Final = (
    "create table parted (ts timestamp, sym symbol index, price double, n int, st string, vc varchar, bin binary, "
    "id uuid, ok boolean, wide long256, ar double[]) timestamp(ts) partition by day wal",
    "insert into parted select timestamp_sequence('2024-01-01', 600000000), rnd_symbol('k1','k2',null), rnd_double(), "
    "rnd_int(0, 9, 2), rnd_str(1, 20, 2), rnd_varchar(1, 20, 2), rnd_bin(1, 9, 2), rnd_uuid4(), rnd_boolean(), "
    "rnd_long256(), rnd_double_array(1, 1) from long_sequence(400)",
    "alter table parted add column late long",
    "alter table parted convert partition to parquet list '2024-01-01', '2024-01-02'",
    "insert into parted(ts, sym, late) values ('2024-01-03T20', 'k3', 1)",
)


def capture(
    root: Path, binary: ServerBinary, settings: dict[str, str], statements: Sequence[str] = STATEMENTS
) -> dict[str, bytes]:
    """Run `statements` on a new database in `root` and return the files worth keeping, by path under db/."""
    with PrivateServer(root, binary, settings={"cairo.wal.purge.interval": "1000000", **settings}) as server:
        for statement in statements:
            server.query(statement)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            views = server.query("select base_table_txn, refresh_base_table_txn from materialized_views()")
            tables = server.query("select writerTxn, sequencerTxn from wal_tables()")
            if all(row[0] == row[1] for row in (*views, *tables)):
                break
            time.sleep(0.1)
    db = root / "db"
    kept = {}
    for path in sorted(db.rglob("*")):
        name = path.relative_to(db)
        table = name.parts[0]
        if not path.is_file() or path.name.endswith(".lock") or table.startswith(("sys.", "telemetry", "_")):
            continue
        kept[str(name)] = path.read_bytes()
    return kept


def main(arguments: list[str]) -> None:
    """Capture and write one of the archives."""
    binary = downloads.questdb_binary()
    with tempfile.TemporaryDirectory() as folder:
        if arguments:
            _write(PARQUET_ARCHIVE, {"parquet": capture(Path(folder) / "parquet", binary, {}, PARQUET)})
            return
        settings = {"v1": {}, "v2": {"cairo.default.sequencer.part.txn.count": "3"}}
        _write(ARCHIVE, {kind: capture(Path(folder) / kind, binary, more) for kind, more in settings.items()})


def _write(path: Path, kinds: Mapping[str, Mapping[str, bytes]]) -> None:
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for kind, files in kinds.items():
            for name, data in files.items():
                member = tarfile.TarInfo(f"{kind}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main(sys.argv[1:])
