"""What happened in the night: the power loss, the crash loop, and what the first responder did about it."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from console.station.answers import wait_until_read
from console.station.downloads import Say
from console.station.layout import ORDERBOOK, TRADES, Layout, StationError
from console.station.processes import Processes
from console.station.sequencer import lose_last_page

CRASHES = 4  # of the loop; the responder's first restart adds at least one
_ONE_START = 40.0  # seconds for a start to crash or to answer
_STARTS_UNTIL_DOUBT = 3
BACKUPS = {
    TRADES: ("txn_seq.corrupted.20251110_032025", "txn_seq.backup.20251110_032030"),
    ORDERBOOK: ("txn_seq.backup.20251110_032600",),
}


def lose_power(layout: Layout, say: Say) -> int:
    """Leave the order book's log one page short of what its header says; return the records lost with the page."""
    log = layout.sequencer(ORDERBOOK) / "_txnlog"
    lost = lose_last_page(log)
    say(f"power loss: {ORDERBOOK}'s _txnlog is one page ({lost} records) shorter than its header says")
    return lost


def crash_loop(layout: Layout, processes: Processes, say: Say, crashes: int = CRASHES) -> None:
    """Start the server and let it crash again and again. Raises StationError where it does not."""
    processes.start("questdb")
    begun = time.monotonic()
    seen = 0
    while seen < crashes:
        count = len(crash_logs(layout))
        if count > seen:
            seen = count
            say(f"QuestDB crashed {seen} of {crashes} times")
        # One start that neither crashes nor dies is the kernel's luck with mappings; three are a wrong station.
        patience = _ONE_START * (_STARTS_UNTIL_DOUBT if not seen else seen + 1)
        if time.monotonic() - begun > patience:
            raise StationError(
                f"the server did not crash on the short log in {patience:.0f} s ({seen} crashes); "
                f"the incident cannot be shown here, see {layout.questdb_log}"
            )
        # supervisord looks at its processes once a second, and whenever it is asked something.
        processes.pids()
        time.sleep(0.1)


def crash_logs(layout: Layout) -> list[Path]:
    """Return the hs_err logs, complete ones only: the JVM ends them with a line `END.`"""
    return [path for path in sorted(layout.data_root.glob("hs_err_pid*.log")) if _ends(path)]


def remove_logs(layout: Layout, processes: Processes, rows: Mapping[str, int], say: Say) -> None:
    """Do what the responder did until 03:26: back both sequencers up inside the tables and remove their logs.

    `rows` are those that can be read afterwards, by table.
    """
    processes.stop("questdb")
    _back_up(layout, TRADES)
    (layout.sequencer(TRADES) / "_txnlog").unlink()
    say(f"03:20:30 the responder copied {TRADES}' txn_seq twice, removed its _txnlog and restarted")
    before = len(crash_logs(layout))
    crash_loop(layout, processes, lambda _: None, before + 1)
    say("it crashed again: that was not the log with the missing page")
    processes.stop("questdb")
    _back_up(layout, ORDERBOOK)
    (layout.sequencer(ORDERBOOK) / "_txnlog").unlink()
    processes.start("questdb")
    wait_until_read(layout, rows)
    say(f"03:26:00 the same for {ORDERBOOK}: the server is up and can be read, every write fails")


def remove_sequencers(layout: Layout, processes: Processes, say: Say) -> None:
    """Do what the responder did at 03:29: remove both `txn_seq` and restart."""
    processes.stop("questdb")
    for table in (TRADES, ORDERBOOK):
        shutil.rmtree(layout.sequencer(table))
    say("03:29:00 both txn_seq directories removed")
    processes.start("questdb")


def _back_up(layout: Layout, table: str) -> None:
    for name in BACKUPS[table]:
        shutil.copytree(layout.sequencer(table), layout.table_dir(table) / name)


def _ends(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - 64))
        return stream.read().rstrip().endswith(b"END.")
