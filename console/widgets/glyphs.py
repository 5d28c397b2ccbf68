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
BARS = "▁▂▃▄▅▆▇█"

# One character for one character, so that no column moves.
_TWINS = {
    "✓": "+", "✗": "x", "•": "*", "→": ">", "←": "<", "↑": "^", "↓": "v", "▾": "v", "▸": ">", "▌": ">", "▏": "|",
    "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
    "…": "~", "·": ".", "×": "x", "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "-", "▆": "=", "▇": "=", "█": "#",
    "░": ".", "≤": "<", "≥": ">", "±": "~", "–": "-", "—": "-", "’": "'",
}  # fmt: skip
PLAIN = str.maketrans(_TWINS)


def spark(values: Sequence[int], width: int) -> str:
    """Return the newest `width` values as bars scaled to their greatest; nothing for no values.

    The scale starts at zero, so that a steady level looks steady and not like noise.
    """
    shown = list(values)[-width:]
    top = max(shown, default=0)
    if not shown:
        return ""
    if top <= 0:
        return BARS[0] * len(shown)
    return "".join(BARS[min(7, max(0, value) * 8 // (top + 1))] for value in shown)
