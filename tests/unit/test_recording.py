"""The recorder: each screen once and in its time, rows in their own style, and an asciicast that plays the same."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

from tests.recording.frames import Frame, self_contained, write_cast, write_svg
from tests.recording.record import _alike

_SVG = "{http://www.w3.org/2000/svg}"
FRAMES = [Frame(("\x1b[1mverdict", "rows  at risk"), 1.0), Frame(("\x1b[1mverdict", "recovered <1>"), 3.0)]


def test_each_screen_has_its_time_and_equal_rows_are_drawn_once(tmp_path: Path) -> None:
    write_svg(FRAMES, (20, 2), "a & b", tmp_path / "made.svg")
    root = ElementTree.parse(tmp_path / "made.svg").getroot()  # noqa: S314 - written a line above
    screens = [group for group in root.findall(f"{_SVG}g") if group.get("class") == "f"]
    drawn = root.findall(f"{_SVG}defs/{_SVG}g")
    assert (len(screens), len(drawn)) == (2, 3)
    assert sum("visibility:visible" in (screen.get("style") or "") for screen in screens) == 1
    assert "".join(drawn[2].itertext()) == "recovered <1>"
    style = root.find(f"{_SVG}style")
    assert style is not None
    assert re.findall(r"@keyframes k(\d)\{(?:0%\{visibility:hidden\})?([\d.]+)%", style.text or "") == [
        ("0", "0.000"),
        ("1", "25.000"),
    ]


def test_the_asciicast_sends_what_changed(tmp_path: Path) -> None:
    write_cast(FRAMES, (20, 2), "title", tmp_path / "made.cast")
    header, *events = [json.loads(row) for row in (tmp_path / "made.cast").read_text("utf-8").splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 20, 2)
    assert [event[0] for event in events] == [0.0, 1.0]
    assert "verdict" in events[0][2]
    assert "verdict" not in events[1][2]


def test_a_row_keeps_the_style_that_the_row_before_began() -> None:
    assert self_contained(["\x1b[1mone", "two\x1b[0m", "three"]) == ("\x1b[1mone", "\x1b[1mtwo\x1b[0m", "three")


def test_screens_that_differ_in_figures_only_are_alike() -> None:
    assert _alike(("17:01:02Z  4,670 waiting ▁▂▃", "◐ 1 s"), ("17:01:03Z  14,670 waiting ▂▃▄", "◓ 2 s"))
    assert not _alike(("next 1 freeze",), ("next 2 stop",))
