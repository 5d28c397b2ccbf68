"""Figures three lines high, for the one number that must be read from across the room.

Seven segments of underscores and bars: every terminal and every font has these.
"""

_SHAPES = {
    "0": (" _ ", "| |", "|_|"),
    "1": ("   ", "  |", "  |"),
    "2": (" _ ", " _|", "|_ "),
    "3": (" _ ", " _|", " _|"),
    "4": ("   ", "|_|", "  |"),
    "5": (" _ ", "|_ ", " _|"),
    "6": (" _ ", "|_ ", "|_|"),
    "7": (" _ ", "  |", "  |"),
    "8": (" _ ", "|_|", "|_|"),
    "9": (" _ ", "|_|", " _|"),
    "d": ("   ", " _|", "|_|"),
    "h": ("   ", "|_ ", "| |"),
    "m": ("     ", " _ _ ", "| | |"),
    "s": ("   ", " _ ", "_\\ "),
    "?": (" _ ", " _|", " . "),
}


def large(text: str) -> tuple[str, str, str]:
    """Return `text` (digits and the letters of a duration) as three lines of equal width."""
    first, second, third = (" ".join(_SHAPES.get(each, _SHAPES["?"])[row] for each in text) for row in range(3))
    return first, second, third
