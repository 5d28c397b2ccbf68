"""Screens of a terminal in time order, as an asciicast and as an animated SVG."""

import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

CELL, LINE = 8.4, 18.0  # pixels
_PADDING = 12.0
_FONT = "ui-monospace,'Cascadia Code','DejaVu Sans Mono',Menlo,Consolas,monospace"
_STYLE = re.compile(r"\x1b\[[0-9;:]*m")
_RUNS = re.compile(r"(^ +| {2,}| +$)")
_BACKGROUND, _FOREGROUND = "#0f141b", "#d3dae3"


@dataclass(frozen=True, slots=True)
class Frame:
    """One screen with its colours as escape sequences, a line each, and how many seconds it is shown."""

    rows: tuple[str, ...]
    seconds: float


def self_contained(rows: Iterable[str]) -> tuple[str, ...]:
    """Return lines as tmux captures them with the style that each one inherits from the line before."""
    made, style = [], ""
    for row in rows:
        made.append(style + row)
        for code in _STYLE.findall(row):
            style = "" if code in ("\x1b[0m", "\x1b[m") else style + code
    return tuple(made)


def write_cast(frames: Sequence[Frame], size: tuple[int, int], title: str, to: Path) -> None:
    """Write `frames` as an asciicast of version 2: a header, then one event for each screen."""
    header = {"version": 2, "width": size[0], "height": size[1], "title": title, "env": {"TERM": "xterm-256color"}}
    lines = [json.dumps(header)]
    at = 0.0
    before: tuple[str, ...] = ()
    for frame in frames:
        changed = [
            f"\x1b[{number + 1};1H\x1b[0m{row}\x1b[0m\x1b[K"
            for number, row in enumerate(frame.rows)
            if number >= len(before) or before[number] != row
        ]
        lines.append(json.dumps([round(at, 2), "o", "".join(["\x1b[?25l\x1b[2J" if not before else "", *changed])]))
        before, at = frame.rows, at + frame.seconds
    to.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_svg(frames: Sequence[Frame], size: tuple[int, int], title: str, to: Path) -> None:
    """Write `frames` as one SVG that shows them one after the other, for ever. Equal rows are drawn once."""
    columns, lines = size
    width, height = columns * CELL + 2 * _PADDING, lines * LINE + 2 * _PADDING
    total = sum(frame.seconds for frame in frames)
    names: dict[str, str] = {}
    shown: list[str] = []
    moments: list[str] = []
    at = 0.0
    poster = max(range(len(frames)), key=lambda number: sum(not _is_blank(row) for row in frames[number].rows))
    for number, frame in enumerate(frames):
        used = []
        for y, row in enumerate(frame.rows):
            if not _is_blank(row):
                name = names.setdefault(row, f"r{len(names)}")
                used.append(f'<use href="#{name}" y="{_PADDING + y * LINE:g}"/>')
        # Where nothing moves (a printer, a converter) the first screen of substance stands there.
        still = ";visibility:visible" if number == poster else ""
        shown.append(f'<g class="f" style="animation-name:k{number}{still}">{"".join(used)}</g>')
        moments.append(_keyframes(number, at / total * 100, (at + frame.seconds) / total * 100))
        at += frame.seconds
    drawn = "".join(f'<g id="{name}">{_row(row)}</g>' for row, name in names.items())
    to.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'font-family="{_FONT}" font-size="14" fill="{_FOREGROUND}">'
        f"<title>{html.escape(title)}</title><style>"
        "text{white-space:pre}"
        f".f{{visibility:hidden;animation:{total:.1f}s step-end infinite}}{''.join(moments)}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="{_BACKGROUND}"/><defs>{drawn}</defs>{"".join(shown)}</svg>\n',
        encoding="utf-8",
    )


def _is_blank(row: str) -> bool:
    return not _STYLE.sub("", row).strip()


def _keyframes(number: int, begins: float, ends: float) -> str:
    parts = ["0%{visibility:hidden}"] if begins else []
    parts += [f"{begins:.3f}%{{visibility:visible}}"]
    parts += [f"{ends:.3f}%{{visibility:hidden}}"] if ends < 99.999 else []
    return f"@keyframes k{number}{{{''.join(parts)}}}"


def _row(row: str) -> str:
    """Return one line of the terminal as rectangles and texts; each text has the width of its cells."""
    x, boxes, texts = _PADDING, [], []
    for segment in _segments(row):
        width = segment.cell_length * CELL
        style = segment.style or Style()
        ink, paper = _hex(style.color, _FOREGROUND), _hex(style.bgcolor, _BACKGROUND)
        if style.reverse:
            ink, paper = paper, ink
        if paper != _BACKGROUND:
            boxes.append(f'<rect x="{x:g}" width="{width:g}" height="{LINE:g}" fill="{paper}"/>')
        if segment.text.strip():
            weight = ' font-weight="bold"' if style.bold else ""
            colour = f' fill="{ink}"' if ink != _FOREGROUND else ""
            texts.append(
                f'<text x="{x:g}" y="13.5" textLength="{width:g}" lengthAdjust="spacingAndGlyphs"{colour}{weight}>'
                f"{html.escape(segment.text)}</text>"
            )
        x += width
    return "".join([*boxes, *texts])


def _segments(row: str) -> Iterable[Segment]:
    """Yield runs of one style; a single blank between words stays in a run, more of them are a run of their own."""
    from rich.console import Console

    console = Console(color_system="truecolor", width=1000, force_terminal=True)
    for segment in Text.from_ansi(row).render(console):
        for part in _RUNS.split(segment.text):
            if part:
                yield Segment(part, segment.style)


def _hex(colour: Color | None, otherwise: str) -> str:
    if colour is None or colour.is_default:
        return otherwise
    triplet = colour.get_truecolor()
    return f"#{triplet.red:02x}{triplet.green:02x}{triplet.blue:02x}"
