"""Full and quick check of a table's own files, beside tools that only read or list the same files in the same run.

    python -m benchmarks.whole_table [--gigabytes 0.25] [--tables 50] [--partitions 20]

The full check (`check --deep`) of a table in a dozen column types against `cksum` of the same files, with the memory it
adds; the quick check of many tables of 20 columns against `find -size` of the same tree. A real QuestDB writes the
files; the many tables are hard links to one. The size of a large station is `--gigabytes 8 --tables 1000
--partitions 100`: it needs 10 GB of disk and two million names. Files are read once before, so that all find them in
the page cache as far as memory reaches. Exits 1 above 3 times `cksum`, 3 times `find`, or 256 MiB.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.own_process import in_own_process
from benchmarks.txn_log import best_of, peak_mib
from console.diagnosis.database import diagnose
from console.diagnosis.deep_files import DeepFiles
from console.questdb.layout import DatabaseRoot
from console.recovery.server.private_server import PrivateServer
from console.station import downloads

RUNS: Final = 3
MOST_TIMES, MOST_MIB = 3.0, 256.0
LARGE, MANY = "large", "many"
_DOZEN: Final = {
    "bo": ("BOOLEAN", "x % 2 = 0"),
    "sh": ("SHORT", "rnd_short(1, 999)"),
    "i4": ("INT", "x::int"),
    "i8": ("LONG", "x"),
    "f4": ("FLOAT", "rnd_float() + 1"),
    "f8": ("DOUBLE", "rnd_double() + 1"),
    "uu": ("UUID", "rnd_uuid4()"),
    "l2": ("LONG256", "rnd_long256()"),
    "sy": ("SYMBOL", "rnd_symbol('a', 'bb', 'ccc')"),
    "sx": ("SYMBOL INDEX", "rnd_symbol(40, 2, 8, 0)"),
    "st": ("STRING", "rnd_str(3, 20, 1)"),
    "vc": ("VARCHAR", "rnd_varchar(1, 40, 1)"),
}
_DAYS: Final = 10
_ROW: Final = 190
"""Bytes of a row with its indexes, about."""
_DAY: Final = 86_400_000_000


def write_large(server: PrivateServer, gigabytes: float) -> None:
    """Make a table of about that size: ten days, each with as many rows."""
    rows = max(1000, int(gigabytes * 1e9) // _ROW // _DAYS)
    types = ", ".join(f"{name} {kind}" for name, (kind, _) in _DOZEN.items())
    values = ", ".join(value for _, value in _DOZEN.values())
    server.query(f"CREATE TABLE {LARGE} (ts TIMESTAMP, {types}) TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL")
    for day in range(_DAYS):
        times = f"timestamp_sequence({day * _DAY}L::timestamp, {_DAY // rows}L)"
        server.query(f"INSERT INTO {LARGE} SELECT {times}, {values} FROM long_sequence({rows})")  # noqa: S608


def write_one(server: PrivateServer, partitions: int) -> None:
    """Make a table of 20 columns with one row in each partition."""
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(("LONG", "DOUBLE", "VARCHAR", "INT") * 5))
    values = ", ".join(("x", "x * 0.5", "'value'::varchar", "x::int") * 5)
    server.query(f"CREATE TABLE {MANY} (ts TIMESTAMP, {columns}) TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL")
    times = f"timestamp_sequence(0::timestamp, {_DAY}L)"
    server.query(f"INSERT INTO {MANY} SELECT {times}, {values} FROM long_sequence({partitions})")  # noqa: S608


def multiply(db: Path, count: int) -> None:
    """Make `count` tables of the one in `db`, as hard links."""
    (source,) = (path for path in db.glob(f"{MANY}*") if path.is_dir())
    for number in range(1, count):
        name = f"{MANY}_{number}"
        target = source.with_name(source.name.replace(MANY, name))
        shutil.copytree(source, target, copy_function=os.link)
        (target / "_name").unlink(missing_ok=True)  # the directory's name tells it


def deep(root: Path) -> None:
    """Read every value of the large table."""
    look = DeepFiles(DatabaseRoot.locate(root).table(LARGE)).look()
    assert not look.findings, look.findings[0]
    assert not look.left_out


def quick(root: Path) -> None:
    """Check every table as `check` does."""
    assert diagnose(DatabaseRoot.locate(root)).healthy


def measured(work: Callable[[Path], None], root: Path) -> tuple[float, float]:
    """Return the seconds of the best of several runs, and by how many MiB it raises the peak of this process."""
    before = peak_mib()
    start = time.perf_counter()
    work(root)
    first, mib = time.perf_counter() - start, peak_mib() - before
    return min(first, best_of(RUNS - 1, lambda: work(root))), mib


def reference(*command: str | Path) -> float:
    """Return the seconds of the best of several runs of a tool."""
    tool = shutil.which(command[0])
    assert tool is not None, f"this benchmark needs {command[0]}"
    words = [tool, *command[1:]]
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return best_of(RUNS, lambda: subprocess.run(words, stdout=subprocess.DEVNULL, check=True))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.25, help="size of the table that is read whole")
    parser.add_argument("--tables", type=int, default=50, help="tables of the quick check")
    parser.add_argument("--partitions", type=int, default=20, help="partitions of each of them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as name:
        large, many = Path(name).resolve() / "large", Path(name).resolve() / "many"
        for root, write, size in ((large, write_large, arguments.gigabytes), (many, write_one, arguments.partitions)):
            root.mkdir()
            with PrivateServer(root, downloads.questdb_binary()) as server:
                write(server, size)
                server.kill()
        multiply(many / "db", arguments.tables)
        files = [path for path in (large / "db").glob(f"{LARGE}*/*/*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        of_cksum, (seconds, mib) = reference("cksum", *files), in_own_process(measured, deep, large)
        good = seconds <= MOST_TIMES * of_cksum and mib <= MOST_MIB
        print(
            f"full check of {size / 1e9:.2f} GB: {seconds:.2f} s, cksum {of_cksum:.2f} s: "
            f"{seconds / of_cksum:.2f} times (limit {MOST_TIMES:g}), {mib:.0f} MiB more (limit {MOST_MIB:.0f})"
        )
        of_find, (seconds, mib) = reference("find", many / "db", "-size", "+0"), in_own_process(measured, quick, many)
        good &= seconds <= MOST_TIMES * of_find
        print(
            f"quick check of {arguments.tables:,} tables x {arguments.partitions:,} partitions x 20 columns: "
            f"{seconds:.3f} s, find {of_find:.3f} s: {seconds / of_find:.1f} times (limit {MOST_TIMES:g}), "
            f"{mib:.0f} MiB more"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
