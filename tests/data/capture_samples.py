"""Makes `questdb-9.1.0.tar.xz`: a few KB of files that a real QuestDB 9.1.0 wrote, for tests that need no server.

Run: `python -m tests.data.capture_samples`. Members: `v1/…` and `v2/…` (format of the sequencer's log), each the db
directory without the server's own tables; times and owners are left out, so that only the server's bytes differ.
"""

import io
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Final

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.station import downloads

ARCHIVE: Final = Path(__file__).with_name("questdb-9.1.0.tar.xz")
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


def capture(root: Path, binary: ServerBinary, settings: dict[str, str]) -> dict[str, bytes]:
    """Run the statements on a new database in `root` and return the files worth keeping, by path under db/."""
    with PrivateServer(root, binary, settings={"cairo.wal.purge.interval": "1000000", **settings}) as server:
        for statement in STATEMENTS:
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


def main() -> None:
    """Capture both formats and write the archive."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for kind, settings in (("v1", {}), ("v2", {"cairo.default.sequencer.part.txn.count": "3"})):
            for name, data in capture(Path(folder) / kind, downloads.questdb_binary(), settings).items():
                member = tarfile.TarInfo(f"{kind}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
