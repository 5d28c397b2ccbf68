"""What a look leaves to the next is believed only where the disk has nothing new that it would have to know of."""

from pathlib import Path

import pytest

from console.questdb.txn_log import read_log
from console.table.log_scan import LogScan, scan_log
from console.table.memory import TableMemory
from tests.unit.sequencer.made import Address, inventory, record, written_log

ALL = ((1, 0, 0), (1, 0, 1), (1, 0, 2), (2, 0, 0))


@pytest.mark.parametrize(
    "seen",
    [ALL[:2], (*ALL[:2], ALL[3]), ALL[:3], ALL],
    ids=["a segment with fewer", "fewer in the first", "a WAL less", "all"],
)
def test_what_came_to_disk_after_the_segments_were_read_is_named(tmp_path: Path, seen: tuple[Address, ...]) -> None:
    """A look reads the segments first and the log later: the log may name what was not there a moment before."""
    log = read_log(written_log(tmp_path / "log", [record(each) for each in ALL]))
    memory = TableMemory()

    def seq_of(*on_disk: Address) -> list[int]:
        scan = scan_log(log, inventory(*on_disk), len(ALL), dedup=False, memory=memory)
        assert isinstance(scan, LogScan)
        return [int(each) for each in scan.seq]

    assert seq_of(*seen) == [ALL.index(each) + 1 for each in seen]
    assert seq_of(*ALL) == [1, 2, 3, 4]
