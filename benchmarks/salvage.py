"""salvage-table against `cp` of the same files to the same disk.

    python -m benchmarks.salvage [--gigabytes 0.25] [--format parquet]

A real QuestDB writes a table in a dozen column types. Both are done to the end, synced: `cp` once before the salvage
and once after it, of which the mean counts. salvage-table also reads its files back from the disk and hashes them. The
table is read once before, so that both find it in the page cache. Exits 1 above 3 times `cp`.

On 2 cores beside other work (load 15): 2.00 GB in 91 s, of which 23 s of CPU; `cp` took 41 s, which is 2.2 times;
215 MiB more, 2.22 GB written. Where a copy goes at the speed of memory, the CPU counts: 12 s for each GB, on 2 cores.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.txn_log import peak_mib
from benchmarks.whole_table import LARGE, write_large
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, SalvageSettings, Settings
from console.station import downloads

MOST_TIMES: Final = 3.0


def main() -> int:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.25)
    parser.add_argument("--format", default="parquet")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        return _measured(Path(folder).resolve(), arguments.gigabytes, arguments.format)


def _measured(folder: Path, gigabytes: float, form: str) -> int:
    root = folder / "root"
    root.mkdir()
    with PrivateServer(root, downloads.questdb_binary()) as server:
        write_large(server, gigabytes)
    table = DatabaseRoot.locate(root).table(LARGE).path
    size = sum(path.stat().st_size for path in table.rglob("*") if path.is_file())
    _copied(table, folder / "copy")
    before = _copied(table, folder / "copy")
    salvage = SalvageSettings(format=form, to=str(folder / "out"))
    engine = Engine(
        Settings(
            state_dir=str(folder / "state"), questdb=QuestDBSettings(db_root=str(root)), salvage=salvage, bare=True
        )
    )
    own = peak_mib()
    began, spent = time.monotonic(), time.process_time()
    plan = engine.plan("salvage-table", LARGE)
    result = engine.run(plan, plan.confirmation)
    took, spent = time.monotonic() - began, time.process_time() - spent
    assert result.outcome is Outcome.DONE, result
    copied = (before + _copied(table, folder / "copy")) / 2
    written = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
    print(
        f"{size / 1e9:.2f} GB: cp {copied:.1f} s, salvage-table ({form}) {took:.1f} s, which is "
        f"{took / copied:.1f} times (limit {MOST_TIMES:g}); {spent:.1f} s of CPU, {peak_mib() - own:.0f} MiB more, "
        f"{written / 1e9:.2f} GB written"
    )
    return int(took > MOST_TIMES * copied)


def _copied(table: Path, to: Path) -> float:
    """Return the seconds of a copy that is on the disk; it is removed again."""
    began = time.monotonic()
    subprocess.run(["cp", "-r", table, to], check=True)
    subprocess.run(["sync", "-f", to], check=True)
    took = time.monotonic() - began
    shutil.rmtree(to)
    subprocess.run(["sync", "-f", to.parent], check=True)
    return took


if __name__ == "__main__":
    sys.exit(main())
