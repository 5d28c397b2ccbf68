"""Records the incident, brought back in the console by what it highlights: `make recording`, some two minutes.

Writes `docs/recording/incident.cast` (asciinema plays it) and `docs/recording/incident.svg` (README shows it).
"""

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from console.station.build import station
from console.station.scenario import Scenario
from tests.real.tmux_pane import Pane, brought_back
from tests.recording.frames import Frame, self_contained, write_cast, write_svg

_TO: Final = Path(__file__).parents[2] / "docs" / "recording"
_SIZE: Final = (100, 28)
_LONGEST, _SHORTEST = 0.45, 0.1  # seconds that a screen is shown: nobody waits for a server in a recording
_RESULT: Final = 1.8  # seconds for a screen that must be read: a plan, a proof
_CODES: Final = re.compile(r"\x1b\[[0-9;]*m")
_MOVING: Final = re.compile(r"[0-9,.≥≤+ smhk]+|[▁▂▃▄▅▆▇█▏▎▍▌▋▊▉░◐◓◑◒─]+|/s|now|ago")
_WAITS: Final = "finding the next step"
_TITLE: Final = "walmedic: a broken QuestDB station brought back"


class _Camera(Pane):
    """A pane that keeps each screen that differs from the one before."""

    frames: list[Frame]

    def __init__(self, command: list[str], folder: Path, size: tuple[int, int]) -> None:
        self.frames = []
        self._last = time.monotonic()
        super().__init__(command, folder, size)

    def type(self, text: str) -> None:
        """Type letter by letter, with a picture of each third one."""
        for number, letter in enumerate(text):
            super().type(letter)
            if number % 3 == 2:
                time.sleep(0.1)
                self._look(_SHORTEST)

    def until(self, condition: Callable[[str], bool], seconds: float = 60) -> str:
        """Wait, and keep what is seen meanwhile."""

        def looked(screen: str) -> bool:
            self._look(_SHORTEST)
            return condition(screen)

        shown = super().until(looked, seconds)
        self._look(_RESULT if "Type  " in shown or "DONE AND VERIFIED" in shown else 0.3)
        return shown

    def _look(self, least: float) -> None:
        rows = self_contained(self.captured().rstrip("\n").split("\n"))
        now = time.monotonic()
        if self.frames and self.frames[-1].rows == rows:
            self.frames[-1] = replace(self.frames[-1], seconds=max(self.frames[-1].seconds, least))
        else:
            if self.frames:
                shown = min(_LONGEST, now - self._last)
                self.frames[-1] = replace(self.frames[-1], seconds=max(self.frames[-1].seconds, shown))
            self.frames.append(Frame(rows, least))
            self._last = now


def main() -> None:
    """Record and write."""
    os.environ["COLORTERM"] = "truecolor"
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        with station(Scenario.INCIDENT, directory=folder / "station") as built:
            command = [sys.executable, "-m", "console", "--config", str(built.layout.settings_file)]
            pane = _Camera(command, folder, _SIZE)
            try:
                pane.until(lambda s: "rows at risk" in s and "next 1" in s and "STUCK" in s)
                brought_back(pane, "The station is back", most=7)
            finally:
                pane.close()
    _TO.mkdir(exist_ok=True)
    frames = _quick(pane.frames)
    write_cast(frames, _SIZE, _TITLE, _TO / "incident.cast")
    write_svg(frames, _SIZE, _TITLE, _TO / "incident.svg")
    sys.stdout.write(f"{len(frames)} screens, {sum(frame.seconds for frame in frames):.0f} s\n")


def _quick(frames: list[Frame]) -> list[Frame]:
    """Return the screens without those that differ from the one before in figures and clocks only, the last longer."""
    kept: list[Frame] = []
    for frame in frames:
        if any(_WAITS in row for row in frame.rows):
            continue
        if kept and _alike(kept[-1].rows, frame.rows):
            longer = max(kept[-1].seconds, frame.seconds)
            kept[-1] = Frame(frame.rows, longer)
        else:
            kept.append(frame)
    return [*kept[:-1], replace(kept[-1], seconds=5.0)]


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether nothing but figures, clocks and turning signs differs."""
    plain = [_MOVING.sub("", _CODES.sub("", "\n".join(rows))) for rows in (one, other)]
    return plain[0] == plain[1]


if __name__ == "__main__":
    main()
