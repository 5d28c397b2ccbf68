"""How long 10,000 crash logs of the usual size take to be read and grouped, in processor time.

    python -m benchmarks.crash_logs [number]

The logs are one file under 10,000 names, so that no disk is measured. Exits 1 where it takes 5 seconds or more.
"""

import sys
import tempfile
import time
from pathlib import Path

from console.diagnosis.crashes.groups import examine
from console.diagnosis.crashes.places import crash_logs_in
from tests.unit.crash_text import LOG, Mapped, crash_text, write_log

LOGS = 10_000
MOST_SECONDS = 5.0
_START, _OFFSET, _MAPPED = 0x7F0000000000, 0x0CB261F4, 213_016_576
_EVENTS = "Event: 1.5 Thread 0x00007f01987917b0 nmethod 2109 0x00007f018d901d90\n" * 3000  # what fills real ones


def main(argv: list[str]) -> int:
    """Write the logs, read them, print."""
    count = int(argv[0].replace("_", "")) if argv else LOGS
    text = crash_text((Mapped(LOG, _START, _MAPPED),), fault=_START + _OFFSET, rdx=_OFFSET)
    text = text.replace("Dynamic libraries:", f"{_EVENTS}\nDynamic libraries:")
    with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as name:
        folder = Path(name)
        first = write_log(folder, text, 0)
        for pid in range(1, count):
            (folder / f"hs_err_pid{pid}.log").hardlink_to(first)
        started = time.process_time()
        report = examine(crash_logs_in(folder))
        seconds = time.process_time() - started
    assert [group.count for group in report.groups] == [count], report.groups
    print(f"{count:,} crash logs of {len(text) // 1000} KB: {seconds:.2f} s, {seconds / count * 1e6:.0f} µs each")
    return 0 if seconds < MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
