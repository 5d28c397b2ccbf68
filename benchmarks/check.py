"""How long `check` takes as a log and as a database grow, the incident's log beside `cksum` of the same file.

    python -m benchmarks.check [--plot FILE]

A log of up to 14,607,000 records in a table of a real QuestDB; up to 1,000 healthy tables copied from real ones. Every
figure is elapsed time, the best of several runs in a process of its own: it wants a quiet machine with two cores, since
a long log is checked by two threads. Exits 1 where the long log takes more than 3 times what `cksum` takes, or more
than 128 MiB of memory; `--plot` draws both curves as an SVG.
"""

import argparse
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.growth_plot import Curve, draw
from benchmarks.many_tables import write_tables
from benchmarks.txn_log import RECORDS, best_of, peak_mib, records
from console.diagnosis.database import diagnose
from console.diagnosis.table import examine_table
from console.questdb.layout import DatabaseRoot
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from tests.data.logs import v1_log_chunks
from tests.data.samples import sample_database

RUNS = 5
LOGS = (100_000, 1_000_000, 5_000_000, RECORDS)
TABLES = (10, 100, 300, 1000)
MOST_TIMES, MOST_MIB = 3.0, 128.0


@dataclass(frozen=True)
class Figure:
    """Seconds of the best run, and by how many MiB the check raised the peak of its process."""

    seconds: float
    mib: float


def write_table(root: Path, count: int) -> None:
    """Write a database of one table whose log has `count` records, all applied: three writers', then its own."""
    table = sample_database("v1", root).table("kinds")
    own = read_log(table.sequencer).records(1, 3)
    log = table.sequencer / "_txnlog"
    chunks = records(count - len(own), 3, seed=7)

    def moved() -> Iterator[NDArray[np.void]]:
        for chunk in chunks:
            chunk["wal_id"] += 1  # wal1 is the table's own; the others are purged
            yield chunk
        yield own

    with log.open("wb") as file:
        file.writelines(v1_log_chunks(count, 1, moved()))
    current = read_table_txn(table.path).current
    assert current is not None
    with (table.path / "_txn").open("r+b") as txn:
        txn.seek(current.offset_seq_txn)
        txn.write(count.to_bytes(8, "little"))


def _measure(root: Path, table: str, connection: Connection) -> None:
    """Check one table, or all, and send the figure; in a process of its own."""
    database = DatabaseRoot.locate(root)
    directory = database.table(table) if table else None
    before, best = peak_mib(), float("inf")
    for _ in range(RUNS):
        start = time.perf_counter()
        if directory is not None:
            assert not examine_table(directory).findings
        else:
            assert diagnose(database).healthy
        best = min(best, time.perf_counter() - start)
    connection.send(Figure(best, peak_mib() - before))


def measured(root: Path, table: str = "") -> Figure:
    """Return the figure of checking a table (or all) under `root`."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_measure, args=(root, table, there))
    process.start()
    there.close()
    figure: Figure = here.recv()
    process.join()
    return figure


def cksum_seconds(path: Path) -> float:
    """Return the seconds of the best of several runs of `cksum`."""
    tool = shutil.which("cksum")
    assert tool is not None, "this benchmark needs cksum"
    return best_of(RUNS, lambda: subprocess.run([tool, path], check=True, capture_output=True))


def main() -> int:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="the SVG to write")
    arguments = parser.parse_args()
    of_logs: list[tuple[int, float]] = []
    of_cksum: list[tuple[int, float]] = []
    of_tables: list[tuple[int, float]] = []
    good = True
    with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as name:
        for count in LOGS:
            root = Path(name).resolve() / "log"
            writer = multiprocessing.get_context("spawn").Process(target=write_table, args=(root, count))
            writer.start()
            writer.join()
            log = DatabaseRoot.locate(root).table("kinds").sequencer / "_txnlog"
            reference, figure = cksum_seconds(log), measured(root, "kinds")
            of_logs.append((count, figure.seconds))
            of_cksum.append((count, reference))
            times = figure.seconds / reference
            good &= count < RECORDS or (times <= MOST_TIMES and figure.mib <= MOST_MIB)
            print(
                f"{count:>12,} records {log.stat().st_size / 1e6:7.1f} MB: check {figure.seconds * 1e3:6.0f} ms, cksum "
                f"{reference * 1e3:6.0f} ms, {times:4.1f} times; {figure.mib:5.1f} MiB more"
            )
            shutil.rmtree(root)
        for count in TABLES:
            root = Path(name).resolve() / f"tables{count}"
            write_tables(root, count)
            figure = measured(root)
            of_tables.append((count, figure.seconds))
            print(
                f"{count:>12,} tables: check {figure.seconds * 1e3:6.0f} ms, "
                f"{figure.seconds / count * 1e3:4.2f} ms each; {figure.mib:5.1f} MiB more"
            )
    if arguments.plot:
        curves = (
            ("one log", "records", (Curve("check", of_logs), Curve("cksum of the same file", of_cksum))),
            ("a database", "healthy tables", (Curve("check", of_tables),)),
        )
        arguments.plot.write_text(draw(curves), encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
