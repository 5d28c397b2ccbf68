"""The header before anything is read, and the parts of it that rest on nothing: place, mode, clock."""

from typing import NamedTuple

from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, cells, crop, join, line, spread

READING = ("reading the tables…", "reading…")
NO_ROOT = ("no data root is configured: run walmedic init, or give --db-root", "no data root: walmedic init")


class Mode(NamedTuple):
    """What else the header says: the station's name, seconds left of operate mode (0: observe), PAUSED, the time."""

    station: str
    armed: float
    paused: bool
    now: float


def opening(mode: Mode, title: str, width: int, *, configured: bool) -> list[Line]:
    """Return the two lines of the header while nothing has been read."""
    mark = line(" ", Span(f"{glyphs.UNKNOWN} ", Role.WARN))
    said = [line(mark, Span(words, Role.STRONG)) for words in (READING if configured else NO_ROOT)]
    first = next((each for each in said if cells(each) < width), crop(said[-1], width))
    return [first, second_line(place(mode, title, named=True), mode, width, named=False)]


def second_line(start: Line, mode: Mode, width: int, *, named: bool) -> Line:
    """Return `start`, and at the right the mode with what else there is room for: the station's name, the clock."""
    clock = line("  ", Span(figures.clock(mode.now), Role.DIM))
    name = line(Span(mode.station, Role.DIM), "  ") if named else BLANK
    for extra, after in ((name, clock), (BLANK, clock), (BLANK, BLANK)):
        whole = line(extra, in_words(mode), after, " ")
        if cells(start) + cells(whole) + 2 <= width or (not extra and not after):
            break
    return spread(start, whole, width)


def in_words(mode: Mode) -> Line:
    """Return the mode: observe, or operate with the time it has left."""
    left = mode.armed
    word = Span(f" OPERATE {figures.duration(left)} left ", Role.ARMED) if left else Span("OBSERVE", Role.STRONG)
    return line(Span("PAUSED  " if mode.paused else "", Role.WARN), word)


def place(mode: Mode, title: str, *, named: bool) -> Line:
    """Return where this is: the station if there is room for it, and the screen."""
    parts = [Span(mode.station, Role.STRONG) if named else BLANK, Span(title, Role.PLAIN) if title else BLANK]
    start = join([line(part) for part in parts], (Span(" › ", Role.DIM),))
    return line(" ", start, "  ") if start else line(" ")
