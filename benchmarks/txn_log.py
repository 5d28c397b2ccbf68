"""Full check of a sequencer's log of the incident's size, against `cksum` of the same file in the same run.

Run: `python -m benchmarks.txn_log [records]`. Files are in a temporary directory; times are the best of several runs.
"""

import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from console.questdb.txn_log import RECORD, RECORD_SIZE, read_log
from tests.data.logs import CHECKED, check_log, v1_log_chunks

RECORDS = 14_607_000
RUNS = 5
_CHUNK = 1 << 18
_EVENTS_PER_SEGMENT = 20_000


def records(count: int, writers: int, seed: int) -> Iterator[NDArray[np.void]]:
    """Yield `count` records of `writers` interleaved in random order, in chunks; segments roll as they do in life."""
    random = np.random.default_rng(seed)
    seen = np.zeros(writers, np.int64)
    for at in range(0, count, _CHUNK):
        size = min(_CHUNK, count - at)
        chunk = np.zeros(size, RECORD)
        wal = random.integers(0, writers, size) if writers > 1 else np.zeros(size, np.int64)
        for each in range(writers):
            mine = np.flatnonzero(wal == each)
            number = seen[each] + np.arange(len(mine))
            chunk["segment_id"][mine], chunk["segment_txn"][mine] = np.divmod(number, _EVENTS_PER_SEGMENT)
            seen[each] += len(mine)
        chunk["wal_id"] = wal + 1
        chunk["commit_us"] = 1_762_700_000_000_000 + 1000 * (at + np.arange(size))
        yield chunk


def best_of(runs: int, work: Callable[[], object]) -> float:
    """Return the shortest of `runs` times in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mib() -> float:
    """Return this process's highest resident size so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_log(path: Path, count: int, writers: int) -> None:
    """Write a log; in a process of its own, so that its memory is not counted with the check's."""
    with path.open("wb") as file:
        file.writelines(v1_log_chunks(count, 1, records(count, writers, seed=7)))


def measure(folder: Path, count: int, writers: int) -> None:
    """Write one log and print how long its check takes beside `cksum`, and by how much it raises the peak of memory."""
    path = folder / "_txnlog"
    writer = multiprocessing.get_context("spawn").Process(target=write_log, args=(path, count, writers))
    writer.start()
    writer.join()
    assert writer.exitcode == 0
    cksum = shutil.which("cksum")
    assert cksum is not None, "this benchmark needs cksum"
    reference = best_of(RUNS, lambda: subprocess.run([cksum, path], check=True, capture_output=True))
    log = read_log(folder)
    before = peak_mib()
    ours = best_of(RUNS, lambda: check_log(log))
    result = check_log(log)
    extra = peak_mib() - before
    assert not any(getattr(result, name) for name in CHECKED), result
    assert log.whole_records == count
    assert not result.missing
    print(
        f"{count:>12,} records {path.stat().st_size / 1e6:7.1f} MB {writers:2} writers: check {ours * 1e3:6.0f} ms, "
        f"cksum {reference * 1e3:6.0f} ms, {ours / reference:4.1f} times; extra memory {extra:5.1f} MiB"
    )


def main(argv: list[str]) -> None:
    """Measure the incident's log with one, three and sixteen writers, or logs of the given number of records."""
    count = int(argv[0].replace("_", "")) if argv else RECORDS
    need = RECORD_SIZE * count + (64 << 20)
    with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as name:
        assert shutil.disk_usage(name).free > need, f"{name} has too little space"
        for writers in (1, 3, 16):
            measure(Path(name), count, writers)


if __name__ == "__main__":
    main(sys.argv[1:])
