"""A tmux server of its own with one pane, and the way through a recovery by what the screen highlights."""

import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PHRASE = re.compile(r"Type  (.+?)(?:  |$)", re.MULTILINE)
_NEXT = re.compile(r"next (\d+) ")


class Pane:
    """One tmux pane of `size` (cells, lines) that runs `command`, driven by keys as over SSH."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        size: tuple[int, int] = (80, 24),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._tmux = ["tmux", "-L", f"walmedic-{secrets.token_hex(4)}", "-f", os.devnull]
        environment = {**environment, "XDG_STATE_HOME": str(folder / "state"), "TERM": "xterm-256color"}
        for name in ("TMUX", "TMUX_PANE", "PYTHONPATH", "NO_COLOR"):
            environment.pop(name, None)
        width, height = map(str, size)
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-x", width, "-y", height, *command],
            check=True, env=environment, cwd=folder, timeout=30,
        )  # fmt: skip

    def screen(self) -> str:
        """Return what stands in the pane."""
        told = subprocess.run(
            [*self._tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True, timeout=30
        )
        return told.stdout

    def captured(self) -> str:
        """Return what stands in the pane, with colours and emphasis as escape sequences."""
        told = subprocess.run(
            [*self._tmux, "capture-pane", "-e", "-p"], capture_output=True, text=True, check=True, timeout=30
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


def brought_back(pane: Pane, told: str, most: int) -> list[str]:
    """Arm the console, take the highlighted step until there is none, and leave; return the phrases.

    `told` stands in the last proof; more than `most` steps, or one step twice, fail.
    """
    pane.press("o")
    pane.until(lambda s: "operate" in s.lower().replace("o operate", ""))
    pane.type("operate")
    pane.press("Enter")
    pane.until(lambda s: "OPERATE" in s.splitlines()[1])
    phrases: list[str] = []
    while (phrase := _take_highlighted_step(pane, told)) is not None:
        phrases.append(phrase)
        assert len(phrases) <= most, phrases
    assert len(set(phrases)) == len(phrases), phrases
    assert phrases[-1].startswith("thaw-writer ")
    pane.until(lambda s: s.count("✓ healthy") == 2)
    pane.until(lambda s: "✓ station recovered" in s.splitlines()[0])
    pane.press("q")
    assert pane.ended(), "q ends the console"
    return phrases


def _take_highlighted_step(pane: Pane, told: str) -> str | None:
    """Go from the dashboard to the proof of the highlighted action and back; return its phrase, None for none."""
    pane.press("a")
    shown = pane.until(lambda s: has_title(s, "actions") and ("recommended now" in s or "nothing to do" in s))
    if "nothing to do" in shown:
        pane.press("Enter")  # no action is under the cursor
        time.sleep(1)
        assert has_title(pane.screen(), "actions")
        pane.press("Escape")
        pane.until(lambda s: "── tables " in s)
        return None
    pane.press("Enter")
    found = PHRASE.search(pane.until(lambda s: PHRASE.search(s) is not None))
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
    pane.until(lambda s: has_title(s, "actions"))
    pane.press("Escape")
    pane.until(lambda s: "── tables " in s and (not phrase.startswith("thaw") or s.count("✓ healthy") == 2))
    return phrase


def has_title(screen: str, word: str) -> bool:
    return word in screen.splitlines()[1]
