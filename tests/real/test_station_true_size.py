"""The incident at its true size: the real crash log holds the report's very offset, and `crashes` explains it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from console.station import incident
from console.station.build import station
from console.station.layout import ORDERBOOK
from console.station.scenario import Scenario

_OFFSET = 0x0CB261F4  # of the report
_SEQ_TXN = 7_607_751


@pytest.mark.faults
def test_the_crash_log_names_the_order_book_and_its_missing_page(tmp_path: Path) -> None:
    with station(Scenario.CRASH_LOOP, directory=tmp_path / "station", true_size=True, scale=10_000) as built:
        log = built.layout.sequencer(ORDERBOOK) / "_txnlog"
        assert log.stat().st_size == 213_016_576  # `ls -h` shows 204M, as in the report
        assert built.facts(ORDERBOOK).records_lost == 19
        crashes = incident.crash_logs(built.layout)
        assert f"RDX=0x{_OFFSET:016x}" in crashes[0].read_text(errors="replace")
        told = subprocess.run(
            [sys.executable, "-m", "console", "crashes", str(built.layout.data_root), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert told.returncode == 1, told.stderr
    document = json.loads(told.stdout)
    (cause,) = document["crashes"]
    assert cause["count"] >= incident.CRASHES
    assert cause["file"] == f"{ORDERBOOK}~19/txn_seq/_txnlog"
    assert cause["offset"] == _OFFSET
    assert cause["seq_txn"] == _SEQ_TXN
    assert "one page short" in cause["explanation"]
