"""Glyphs of one cell each, and their plain twins for terminals or fonts that have none of them."""

from collections.abc import Sequence

OK = "✓"
BAD = "✗"
WARN = "!"
UNKNOWN = "?"
BUSY = "•"
ARROW = "→"
OPEN = "▾"
CLOSED = "▸"
HERE = "▌"
DIFFERS = "≠"
DONE = "●"
HALF = "◐"
AHEAD = "○"
SPINNER = "◐◓◑◒"
BARS = "▁▂▃▄▅▆▇█"
PARTS = "▏▎▍▌▋▊▉"  # one to seven eighths of a cell, from its left

# One character for one character, so that no column moves.
_TWINS = {
    "✓": "+", "✗": "x", "•": "*", "→": ">", "▶": ">", "←": "<", "↑": "^", "↓": "v", "▾": "v", "▸": ">", "▌": ">",
    "▏": "|", "▎": "|", "▍": "|", "▋": "#", "▊": "#", "▉": "#",
    "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
    "…": "~", "·": ".", "×": "x", "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "-", "▆": "=", "▇": "=", "█": "#",
    "░": ".", "●": "*", "○": "o",
    "◐": ">", "◓": ">", "◑": ">", "◒": ">", "≤": "<", "≥": ">", "≠": "#", "±": "~", "–": "-", "—": "-", "’": "'",
}  # fmt: skip
PLAIN = str.maketrans(_TWINS)


# What would move the terminal's cursor or turn text around is never drawn, wherever it came from: the last line of
# defence behind console.text, which cleans foreign text where it is read.
_UNSAFE = dict.fromkeys(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        0x61C,
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x206A),
        0xFEFF,
        *range(0xD800, 0xE000),  # lone surrogates: the terminal's encoding has no bytes for them
    ]
)
DRAWN = {**_UNSAFE, 0xA0: " "}  # a no-break space has done its work once the lines are made
DRAWN_PLAIN = {**DRAWN, **PLAIN}


def waiting(seconds: float) -> str:
    """Return a sign that turns once a second, and the seconds, e.g. `◓ 1 s`: something is waited for."""
    whole = max(0, int(seconds))
    return f"{SPINNER[whole % len(SPINNER)]} {whole} s"


def gauge(share: float, width: int) -> str:
    """Return the filled part of a bar of `width` cells, in eighths; what is more than nothing is at least one."""
    eighths = min(width * 8, max(1 if share > 0 else 0, round(share * width * 8)))
    part = PARTS[eighths % 8 - 1] if eighths % 8 else ""
    return "█" * (eighths // 8) + part


def columns(values: Sequence[int], width: int, height: int) -> list[str]:
    """Return the newest `width` values as columns over 0, `height` lines high, the top line first."""
    shown = list(values)[-width:] if width > 0 else []
    most = max(shown, default=0)
    eighths = [round(value * height * 8 / most) if most else 0 for value in shown]
    rows = []
    for row in range(height - 1, -1, -1):
        parts = (min(8, each - row * 8) for each in eighths)
        rows.append("".join(BARS[part - 1] if part > 0 else " " for part in parts))
    return rows


def spark(values: Sequence[int], width: int) -> str:
    """Return the newest `width` values as bars from their least to their greatest; nothing for no values.

    What moves by less than a fiftieth is drawn level, so that noise does not look like news.
    """
    shown = list(values)[-width:] if width > 0 else []
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high - low <= high // 50:
        return (BARS[3] if high else BARS[0]) * len(shown)
    return "".join(BARS[(value - low) * 7 // (high - low)] for value in shown)
