"""`walmedic demo` without a terminal, without Java and Redis on PATH: the whole incident, recovered without a loss."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from console.station import processes


@pytest.mark.faults  # by keys, tests/real/test_console_tmux.py does the same in every run
def test_the_whole_recovery_as_text_loses_nothing(tmp_path: Path) -> None:
    place = tmp_path / "station"
    environment = {**os.environ, "PATH": str(tmp_path / "nothing"), "XDG_STATE_HOME": str(tmp_path / "state")}
    told = subprocess.run(
        [sys.executable, "-m", "console", "demo", "--dir", str(place)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=240, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert processes.processes_of(place) == []
    lines = [re.sub(r"^ *[0-9.]+ s +", "", line) for line in told.stdout.splitlines()]
    assert "before: market_orderbook: 406,086 rows" in lines
    assert any("market_orderbook: broken" in line and "rows at risk 6,359" in line for line in lines)
    assert "typed: market_orderbook lose 0" in lines
    assert "typed: market_trades lose 0" in lines
    rehearsals = [line for line in lines if line.startswith("rehearsal: passed on a clone")]
    assert len(rehearsals) == 2
    assert "412,445 rows" in rehearsals[0]
    assert "market_orderbook: 412,445 of 412,445 rows until the power loss" in lines
    assert "market_trades: 160,594 of 160,594 rows until the power loss" in lines
    assert "the backlog is drained" in lines
    for table in ("market_trades", "market_orderbook"):
        assert any(re.fullmatch(rf"{table}: [0-9,]+ rows since the power loss, 0 missing, 0 twice", x) for x in lines)
        assert any(line.startswith(f"after: {table}: healthy") for line in lines)
        assert any(line.startswith(f"{table} takes writes") for line in lines)
