"""Figures three lines high, for the one number that must be read from across the room."""

# Five rows of three or five cells, `#` where it is drawn; two of them stand on one line, the last one alone.
_SHAPES = {
    "0": ("###", "# #", "# #", "# #", "###"),
    "1": (" # ", "## ", " # ", " # ", "###"),
    "2": ("###", "  #", "###", "#  ", "###"),
    "3": ("###", "  #", "###", "  #", "###"),
    "4": ("# #", "# #", "###", "  #", "  #"),
    "5": ("###", "#  ", "###", "  #", "###"),
    "6": ("###", "#  ", "###", "# #", "###"),
    "7": ("###", "  #", "  #", "  #", "  #"),
    "8": ("###", "# #", "###", "# #", "###"),
    "9": ("###", "# #", "###", "  #", "###"),
    "d": ("  #", "  #", "###", "# #", "###"),
    "h": ("#  ", "#  ", "###", "# #", "# #"),
    "m": ("     ", "     ", "#####", "# # #", "# # #"),
    "s": ("   ", " ##", " # ", "  #", " ##"),
    "?": ("###", "  #", " ##", "   ", " # "),
    " ": ("  ", "  ", "  ", "  ", "  "),
}
_HALVES = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def large(text: str) -> tuple[str, str, str]:
    """Return `text` (digits and the letters of a duration) as three lines of equal width."""
    rows = [" ".join(_SHAPES.get(character, _SHAPES["?"])[row] for character in text) for row in range(5)]
    rows.append(" " * len(rows[0]))
    first, second, third = (
        "".join(_HALVES[upper == "#", lower == "#"] for upper, lower in zip(rows[at], rows[at + 1], strict=True))
        for at in (0, 2, 4)
    )
    return first, second, third
