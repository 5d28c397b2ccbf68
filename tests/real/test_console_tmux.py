"""The built wheel, installed, in a tmux pane of 80x24, driven by keys as over SSH: the incident brought back."""

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.station.build import Station, station
from console.station.scenario import Scenario
from tests import wheel
from tests.real.incident_steps import all_is_back


class Pane:
    """A tmux server of its own with one pane of 80x24."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._tmux = ["tmux", "-L", f"walmedic-{secrets.token_hex(4)}", "-f", os.devnull]
        environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TERM": "xterm-256color"}
        for name in ("TMUX", "TMUX_PANE", "PYTHONPATH", "NO_COLOR"):
            environment.pop(name, None)
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-x", "80", "-y", "24", *command],
            check=True, env=environment, cwd=folder, timeout=30,
        )  # fmt: skip

    def screen(self) -> str:
        """Return what stands in the pane."""
        told = subprocess.run(
            [*self._tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True, timeout=30
        )
        return told.stdout

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names for them."""
        subprocess.run([*self._tmux, "send-keys", *keys], check=True, timeout=30)

    def type(self, text: str) -> None:
        """Type text letter by letter."""
        for letter in text:
            subprocess.run([*self._tmux, "send-keys", "-l", letter], check=True, timeout=30)

    def until(self, condition: Callable[[str], bool], seconds: float = 60) -> str:
        """Wait until the screen is as wanted, and return it."""
        deadline = time.monotonic() + seconds
        while not condition(screen := self.screen()):
            assert time.monotonic() < deadline, f"the pane shows:\n{screen}"
            time.sleep(0.1)
        return screen

    def ended(self, seconds: float = 20) -> bool:
        """Return whether the console has ended by itself, and with it the server of its only pane."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            told = subprocess.run([*self._tmux, "has-session"], capture_output=True, check=False, timeout=30)
            if told.returncode:
                return True
            time.sleep(0.1)
        return False

    def close(self) -> None:
        """End the server and what runs in it."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True, timeout=30)


@pytest.fixture
def pane(incident_station: Station, tmp_path: Path) -> Iterator[Pane]:
    """The console of the wheel on the broken station."""
    command = wheel.install(wheel.build(tmp_path), tmp_path / "installed")
    opened = Pane([str(command), "--config", str(incident_station.layout.settings_file)], tmp_path)
    yield opened
    opened.close()


def test_the_incident_is_brought_back_by_keys_in_tmux(pane: Pane, incident_station: Station) -> None:
    """By the recommended step alone: `a`, Enter, the phrase that is shown, Enter; no step twice, at most nine."""
    screen = pane.until(lambda s: "6,359 rows at risk" in s)
    assert "OBSERVE" in screen.splitlines()[1]
    phrases = _brought_back(pane, "The station is back: 6,359 rows recovered, 0 lost.", most=9)
    assert len(set(phrases)) == len(phrases)
    all_is_back(incident_station)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_the_power_loss_is_brought_back_by_keys_in_tmux(tmp_path: Path) -> None:
    """Six damages of two tables, by the recommended step alone; the phrases say what is lost."""
    with station(Scenario.POWER_LOSS, directory=tmp_path / "station") as built:
        opened = Pane([sys.executable, "-m", "console", "--config", str(built.layout.settings_file)], tmp_path)
        try:
            opened.until(lambda s: s.count("BROKEN") + s.count("broken") >= 2)
            lost, values = built.facts("market_orderbook").rows_lost, built.facts("market_trades").values_lost
            phrases = _brought_back(opened, f"{lost:,} lost", most=11)
            assert sorted(phrase for phrase in phrases if " lose " in phrase and not phrase.endswith(" lose 0")) == [
                f"market_orderbook lose {lost}", f"market_trades lose 0 rows and {values} values",
            ]  # fmt: skip
            all_is_back(built)
        finally:
            opened.close()


def _brought_back(pane: Pane, told: str, most: int) -> list[str]:
    """Arm the console, take the recommended step until there is none, and leave; return the phrases."""
    pane.press("o")
    pane.until(lambda s: "operate" in s.lower().replace("o operate", ""))
    pane.type("operate")
    pane.press("Enter")
    pane.until(lambda s: "OPERATE" in s.splitlines()[1])
    phrases: list[str] = []
    while (phrase := _do_what_is_recommended(pane, told)) is not None:
        phrases.append(phrase)
        assert len(phrases) <= most, phrases
    assert phrases[0] == "freeze-writer demo"
    assert phrases[-1] == "thaw-writer demo"
    pane.until(lambda s: s.count("✓ healthy") == 2)
    pane.press("q")
    assert pane.ended(), "q ends the console"
    return phrases


_PHRASE = re.compile(r"Type  (.+?)(?:  |$)", re.MULTILINE)


def _do_what_is_recommended(pane: Pane, told: str) -> str | None:
    """Go from the dashboard to the proof of the recommended action and back; return its phrase, None for none."""
    pane.press("a")
    shown = pane.until(lambda s: _title(s, "actions") and ("recommended now" in s or "nothing to do" in s))
    if "nothing to do" in shown:
        pane.press("Enter")  # no action is under the cursor
        time.sleep(1)
        assert _title(pane.screen(), "actions")
        pane.press("Escape")
        pane.until(lambda s: "── tables " in s)
        return None
    pane.press("Enter")
    found = _PHRASE.search(pane.until(lambda s: _PHRASE.search(s) is not None))
    assert found is not None
    phrase = found[1].strip()
    pane.type(phrase)
    pane.press("Enter")
    ended = pane.until(
        lambda s: "DONE AND VERIFIED" in s and ("next  " in s or "is back" in s) and "finding the" not in s, 180
    )
    assert ("is back" in ended) is phrase.startswith("thaw-writer")
    assert told in ended or not phrase.startswith("thaw-writer"), ended
    pane.press("Escape")
    pane.until(lambda s: _title(s, "actions"))
    pane.press("Escape")
    pane.until(lambda s: "── tables " in s and (not phrase.startswith("thaw") or s.count("✓ healthy") == 2))
    return phrase


def _title(screen: str, word: str) -> bool:
    return word in screen.splitlines()[1]
