"""`walmedic demo` without a terminal, without Java and Redis on PATH: the whole incident, recovered without a loss."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from console.station import processes


def _told(tmp_path: Path, *options: str) -> list[str]:
    place = tmp_path / "station"
    environment = {**os.environ, "PATH": str(tmp_path / "nothing"), "XDG_STATE_HOME": str(tmp_path / "state")}
    told = subprocess.run(
        [sys.executable, "-m", "console", "demo", "--dir", str(place), *options],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=1200, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert processes.processes_of(place) == []
    return [re.sub(r"^ *[0-9.]+ s +", "", line) for line in told.stdout.splitlines()]


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_power_loss_as_text_loses_what_is_announced(tmp_path: Path) -> None:
    lines = _told(tmp_path, "--scenario", "power-loss")
    assert sum(line.startswith("power loss: ") for line in lines) >= 6
    assert sum(line.startswith("rehearsal: passed on a clone") for line in lines) == 6
    for table, kind in (("market_orderbook", "rows"), ("market_trades", "values")):
        (line,) = [line for line in lines if re.fullmatch(rf"{table}: [0-9,]+ {kind} lost, .*", line)]
        lost, announced, destroyed = (each.split()[0] for each in line.removeprefix(f"{table}: ").split(", "))
        assert lost == announced == destroyed != "0"
        total = lost.replace(",", "")
        phrase = f"{table} lose {total}" if kind == "rows" else f"{table} lose 0 rows and {total} values"
        assert f"typed: {phrase}" in lines
        assert any(line.startswith(f"after: {table}: healthy") for line in lines)
    assert "the backlog is drained" in lines


@pytest.mark.faults  # by keys, tests/real/test_console_tmux.py does the same in every run
def test_the_whole_recovery_as_text_loses_nothing(tmp_path: Path) -> None:
    lines = _told(tmp_path)
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
