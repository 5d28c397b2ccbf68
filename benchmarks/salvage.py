"""salvage-table against `cp` of the same files to the same disk.

    python -m benchmarks.salvage [--gigabytes 0.25] [--format parquet]

A real QuestDB writes a table in a dozen column types. Both are done once to the end, synced; salvage also reads all of
it back and hashes it. Files are read once before, so that both find them in the page cache. Exits 1 above 3 times `cp`.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

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
    subprocess.run(["cp", "-r", table, folder / "warm"], check=True)
    shutil.rmtree(folder / "warm")
    subprocess.run(["sync"], check=True)
    began = time.monotonic()
    subprocess.run(["cp", "-r", table, folder / "copy"], check=True)
    subprocess.run(["sync", "-f", folder / "copy"], check=True)
    copied = time.monotonic() - began
    salvage = SalvageSettings(format=form, to=str(folder / "out"))
    engine = Engine(
        Settings(
            state_dir=str(folder / "state"), questdb=QuestDBSettings(db_root=str(root)), salvage=salvage, bare=True
        )
    )
    began = time.monotonic()
    plan = engine.plan("salvage-table", LARGE)
    result = engine.run(plan, plan.confirmation)
    took = time.monotonic() - began
    assert result.outcome is Outcome.DONE, result
    written = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
    print(f"{size / 1e9:.2f} GB: cp {copied:.1f} s, salvage-table ({form}) {took:.1f} s: {took / copied:.1f} times")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{written / 1e9:.2f} GB written, {peak / 1e6:.0f} MB of memory at most")
    return int(took > MOST_TIMES * copied)


if __name__ == "__main__":
    sys.exit(main())
