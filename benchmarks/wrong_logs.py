"""Memory and time of `check` and of the three repairs' plans for logs of the incident's size that are wrong throughout.

    python -m benchmarks.wrong_logs [megabytes] [kind ...]

A table of a real QuestDB gets a log of 409 MB in which hardly a record is right, and a copy of it. Each figure is of a
process of its own: how far it raises its peak of memory above that of the bare process, and its time as a multiple of
what `cksum` takes for the same file. Exits 1 where one needs more than 256 MiB.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.own_process import in_own_process
from benchmarks.txn_log import best_of, peak_mib
from console.diagnosis.table import examine_table
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.log_encoding import encode_log_header, encode_records
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import RECORD_SIZE, RECORD_V2, RECORD_V2_SIZE, read_log
from console.recovery.engine import Engine
from console.settings import QuestDBSettings, Settings
from tests.data.samples import Kind, sample_database

MEGABYTES: Final = 409
MOST_MIB: Final = 256.0
TABLE: Final = "kinds"
PLANS: Final = ("repair-log", "rebuild-sequencer", "restore-sequencer")
_PART: Final = 1 << 20
_BLOCK: Final = 1 << 16
Fill = Callable[[NDArray[Any], int], None]


def _gone(block: NDArray[Any], at: int) -> None:
    """Every record names a transaction of one WAL that is not there."""
    number = at + np.arange(len(block))
    block["wal_id"], block["segment_id"], block["segment_txn"] = 7, number // 20_000, number % 20_000


def _strewn(block: NDArray[Any], at: int) -> None:
    """Every record names another WAL that is not there."""
    random = np.random.default_rng(at)
    for name, high in (("wal_id", 1 << 31), ("segment_id", 1 << 28), ("segment_txn", 1 << 31)):
        block[name] = random.integers(1, high, len(block))


def _one(block: NDArray[Any], _at: int) -> None:
    """Every record names the same transaction, which is on disk."""
    block["wal_id"], block["segment_id"], block["segment_txn"] = 1, 0, 1


def _in_turn(block: NDArray[Any], at: int) -> None:
    """The records name two transactions in turn, both on disk."""
    _one(block, at)
    block["segment_txn"][1::2] = 2


def _changes(block: NDArray[Any], at: int) -> None:
    """Every record is a structure change."""
    block["wal_id"], block["segment_id"], block["segment_txn"] = -1, -1, -1
    block["structure_version"] = at + np.arange(len(block))


def _holes(block: NDArray[Any], at: int) -> None:
    """Every second record is zero, and the others name what is gone."""
    _gone(block, at)
    block[::2] = np.zeros(1, block.dtype)


def _random(block: NDArray[Any], at: int) -> None:
    """Every byte is chance."""
    block.view(np.uint8)[:] = np.random.default_rng(at).integers(0, 256, block.nbytes, np.uint8)


@dataclass(frozen=True)
class Wrong:
    """One kind of log: what its records are, and whether all of them count as applied."""

    fill: Fill
    applied: bool = False


WRONG: Final = {
    "gone": Wrong(_gone),
    "strewn": Wrong(_strewn),
    "one": Wrong(_one),
    "in-turn": Wrong(_in_turn),
    "changes": Wrong(_changes),
    "holes": Wrong(_holes),
    "applied-holes": Wrong(_holes, applied=True),
    "random": Wrong(_random),
}


def write_table(root: Path, version: Kind, kind: str, megabytes: int) -> None:
    """Write a database whose one table of interest has such a log, and a copy of it."""
    table = sample_database(version, root).table(TABLE)
    own = read_log(table.sequencer).records(1, 1)
    wrong, size = WRONG[kind], RECORD_SIZE if version == "v1" else RECORD_V2_SIZE
    count = megabytes * 1_000_000 // size
    log = table.sequencer / "_txnlog"
    header = encode_log_header(count, 1, part_size=_PART if version == "v2" else 0)
    if version == "v1":
        with log.open("wb") as file:
            file.write(header)
            file.writelines(encode_records(each) for each in _records(wrong, own, count))
            file.truncate(-(-file.tell() // 4096) * 4096)
    else:
        log.write_bytes(header)
        shutil.rmtree(table.sequencer / "_txn_parts")
        (table.sequencer / "_txn_parts").mkdir()
        _write_parts(table, _records(wrong, own, count))
    current = read_table_txn(table.path).current
    assert current is not None
    with (table.path / "_txn").open("r+b") as txn:
        txn.seek(current.offset_seq_txn)
        txn.write((count if wrong.applied else 1).to_bytes(8, "little"))
    shutil.copytree(table.sequencer, table.path / "txn_seq.bak", copy_function=os.link)


def _records(wrong: Wrong, own: NDArray[Any], count: int) -> Iterator[NDArray[Any]]:
    for at in range(1, count + 1, _BLOCK):
        block = np.zeros(min(_BLOCK, count + 1 - at), RECORD_V2)
        block["commit_us"] = 1_762_700_000_000_000 + at + np.arange(len(block))
        block["row_count"] = 3
        wrong.fill(block, at)
        if at == 1:
            block[:1] = own
        yield block


def _write_parts(table: TableDirectory, blocks: Iterator[NDArray[Any]]) -> None:
    for number, block in enumerate(blocks):
        with (table.sequencer / "_txn_parts" / str(number * _BLOCK // _PART)).open("ab") as part:
            part.write(encode_records(block, v2=True))


def check(root: Path) -> None:
    """Check the table."""
    examine_table(DatabaseRoot.locate(root).table(TABLE))


def plans(root: Path) -> None:
    """Plan each of the three repairs of its sequencer."""
    settings = Settings(state_dir=str(root.with_name("state")), questdb=QuestDBSettings(db_root=str(root)), bare=True)
    for action in PLANS:
        Engine(settings).plan(action, TABLE)


WORK: Final = {"check": check, "plans": plans}


def measured(work: str, root: Path) -> tuple[float, float]:
    """Return by how many MiB this `work` raises the peak of this process, and its seconds."""
    before, start = peak_mib(), time.perf_counter()
    WORK[work](root)
    return peak_mib() - before, time.perf_counter() - start


def _cksum_seconds(cksum: str, files: list[Path]) -> float:
    return best_of(3, lambda: subprocess.run([cksum, *files], stdout=subprocess.DEVNULL, check=True))


def main(argv: list[str]) -> int:
    """Measure and print."""
    megabytes = int(argv[0]) if argv else MEGABYTES
    versions: tuple[Kind, ...] = ("v1", "v2")
    good = True
    cksum = shutil.which("cksum")
    assert cksum is not None, "this benchmark needs cksum"
    for kind in argv[1:] or WRONG:
        for version in versions:
            with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as name:
                root = Path(name).resolve() / "root"
                writer = multiprocessing.get_context("spawn").Process(
                    target=write_table, args=(root, version, kind, megabytes)
                )
                writer.start()
                writer.join()
                log = DatabaseRoot.locate(root).table(TABLE).sequencer
                files = sorted(path for path in log.rglob("*") if path.is_file())
                reference = _cksum_seconds(cksum, files)
                figures = {work: in_own_process(measured, work, root) for work in WORK}
            good &= all(mib <= MOST_MIB for mib, _ in figures.values())
            parts = "; ".join(
                f"{work} {mib:6.1f} MiB, {seconds / reference:5.1f} times ({seconds:5.1f} s)"
                for work, (mib, seconds) in figures.items()
            )
            print(f"{kind:>14} {version}: {parts}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
