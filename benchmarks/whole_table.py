"""Full and quick check of a table's own files, beside tools that only read or list the same files in the same run.

    python -m benchmarks.whole_table [--gigabytes 0.25] [--tables 50] [--partitions 20] [--plot FILE]

The full check (`check --deep`) of a table in a dozen column types against `cksum` of the same files, with the memory it
adds, as more of its ten partitions are read; the quick check of more and more tables of 20 columns against `find -size`
of the same tree. A real QuestDB writes the files; the many tables are hard links to one. The size of a large station is
`--gigabytes 8 --tables 1000 --partitions 100`: it needs 10 GB of disk, two million names, and half an hour. Files are
read once before, so that all find them in the page cache as far as memory reaches. Exits 1 where the largest takes more
than 3 times `cksum`, 3 times `find`, or 256 MiB; `--plot` draws the curves as an SVG.

whole_table.svg, on 2 cores beside other work (load 15): 7.27 GB in 26 s, cksum 10 s, which is 2.65 times, 30 MiB more;
1,000 x 100 x 20 in 27 s of CPU, find 9.5 s, which is 2.84 times, 14 MiB more. There the clock says 2.1 to 3.6 times:
`find` took from 48 to 80 s.
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
from typing import Any, Final

from benchmarks.growth_plot import Curve, Panel, draw
from benchmarks.own_process import in_own_process
from benchmarks.txn_log import best_of, peak_mib
from console.diagnosis.database import diagnose
from console.diagnosis.deep_files import DeepFiles
from console.diagnosis.deep_scope import DeepScope
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
_OF_TEN: Final = (1, 2, 5, 10)
"""Tenths of the files that are measured."""
_ROW: Final = 168
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
        server.query(f"INSERT INTO {LARGE} SELECT {times}, {values} FROM long_sequence({rows})")


def write_one(server: PrivateServer, partitions: int) -> None:
    """Make a table of 20 columns with one row in each partition."""
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(("LONG", "DOUBLE", "VARCHAR", "INT") * 5))
    values = ", ".join(("x", "x * 0.5", "'value'::varchar", "x::int") * 5)
    server.query(f"CREATE TABLE {MANY} (ts TIMESTAMP, {columns}) TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL")
    times = f"timestamp_sequence(0::timestamp, {_DAY}L)"
    server.query(f"INSERT INTO {MANY} SELECT {times}, {values} FROM long_sequence({partitions})")


def multiply(db: Path, have: int, count: int) -> None:
    """Make `count` tables of the one in `db`, as hard links; `have` are there."""
    (source,) = (path for path in db.glob(f"{MANY}*") if path.is_dir() and path.name.split("~")[0] == MANY)
    for number in range(have, count):
        name = f"{MANY}_{number}"
        target = source.with_name(source.name.replace(MANY, name))
        shutil.copytree(source, target, copy_function=os.link)
        (target / "_name").unlink(missing_ok=True)  # the directory's name tells it


def deep(root: Path, days: int) -> None:
    """Read every value of the first partitions of the large table."""
    scope = DeepScope(frozenset(f"1970-01-{day + 1:02}" for day in range(days)))
    look = DeepFiles(DatabaseRoot.locate(root).table(LARGE), scope=scope).look()
    assert not look.findings, look.findings[0]
    assert not look.left_out


def quick(root: Path) -> None:
    """Check every table as `check` does."""
    assert diagnose(DatabaseRoot.locate(root)).healthy


def measured(work: Callable[..., None], *of: Any) -> tuple[float, float]:
    """Return the seconds of the best of several runs, and by how many MiB it raises the peak of this process."""
    before = peak_mib()
    start = time.perf_counter()
    work(*of)
    first, mib = time.perf_counter() - start, peak_mib() - before
    return min(first, best_of(RUNS - 1, lambda: work(*of))), mib


def reference(*command: str | Path) -> float:
    """Return the seconds of the best of several runs of a tool."""
    tool = shutil.which(command[0])
    assert tool is not None, f"this benchmark needs {command[0]}"
    words = [tool, *command[1:]]
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return best_of(RUNS, lambda: subprocess.run(words, stdout=subprocess.DEVNULL, check=True))


def full_checks(root: Path) -> tuple[bool, Panel]:
    """Measure and print the full check as the files grow; return whether the largest is fast and small enough."""
    of_check: list[tuple[int, float]] = []
    of_cksum: list[tuple[int, float]] = []
    good = True
    for days in _OF_TEN:
        files = [
            path
            for day in range(days)
            for path in (root / "db").glob(f"{LARGE}*/1970-01-{day + 1:02}*/*")
            if path.is_file()
        ]
        size = sum(path.stat().st_size for path in files)
        cksum, (seconds, mib) = reference("cksum", *files), in_own_process(measured, deep, root, days)
        of_check.append((size >> 20, seconds))
        of_cksum.append((size >> 20, cksum))
        good = seconds <= MOST_TIMES * cksum and mib <= MOST_MIB
        print(
            f"full check of {size / 1e9:.2f} GB: {seconds:.2f} s, cksum {cksum:.2f} s: "
            f"{seconds / cksum:.2f} times (limit {MOST_TIMES:g}), {mib:.0f} MiB more (limit {MOST_MIB:.0f})",
            flush=True,
        )
    return good, ("full check", "MiB", (Curve("check --deep", of_check), Curve("cksum of the same files", of_cksum)))


def quick_checks(root: Path, tables: int, partitions: int) -> tuple[bool, Panel]:
    """Measure and print the quick check as tables are added; return whether the largest is fast enough."""
    of_check: list[tuple[int, float]] = []
    of_find: list[tuple[int, float]] = []
    have, good = 1, True
    for count in sorted({max(1, tables * tenths // 10) for tenths in _OF_TEN}):
        multiply(root / "db", have, count)
        have = count
        find, (seconds, mib) = reference("find", root / "db", "-size", "+0"), in_own_process(measured, quick, root)
        of_check.append((count, seconds))
        of_find.append((count, find))
        good = seconds <= MOST_TIMES * find
        print(
            f"quick check of {count:,} tables x {partitions:,} partitions x 20 columns: "
            f"{seconds:.3f} s, find {find:.3f} s: {seconds / find:.2f} times (limit {MOST_TIMES:g}), "
            f"{mib:.0f} MiB more",
            flush=True,
        )
    named = f"tables of {partitions} partitions"
    return good, ("quick check", named, (Curve("check", of_check), Curve("find -size of the same tree", of_find)))


def main() -> int:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.25, help="size of the table that is read whole")
    parser.add_argument("--tables", type=int, default=50, help="tables of the quick check")
    parser.add_argument("--partitions", type=int, default=20, help="partitions of each of them")
    parser.add_argument("--plot", type=Path, help="the SVG to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as name:
        large, many = Path(name).resolve() / "large", Path(name).resolve() / "many"
        for root, write, size in ((large, write_large, arguments.gigabytes), (many, write_one, arguments.partitions)):
            root.mkdir()
            with PrivateServer(root, downloads.questdb_binary()) as server:
                write(server, size)
                server.kill()
        full_good, full = full_checks(large)
        quick_good, quick_panel = quick_checks(many, arguments.tables, arguments.partitions)
    if arguments.plot:
        arguments.plot.write_text(draw((full, quick_panel)), encoding="utf-8")
    return 0 if full_good and quick_good else 1


if __name__ == "__main__":
    sys.exit(main())
