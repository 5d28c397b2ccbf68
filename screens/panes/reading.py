"""What a pane is given: the last good data of a source, how old it is, and what is wrong with the source now."""

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from console.probes.sample import Status
from console.probes.state import Reading
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, line

T = TypeVar("T")
_FRESH = 30.0  # seconds; older data is called stale even where no error is known


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """One source at one moment. `age` of the data in seconds, `now` the wall clock in epoch seconds."""

    data: T | None = None
    age: float | None = None
    error: str = ""
    now: float = 0.0
    asked: bool = True  # whether the source is configured at all
    outdated: bool = False  # whether a newer try brought no data
    again: float | None = None  # seconds until a source that is down is tried again

    @classmethod
    def of(cls, reading: Reading[T], *, now: float, monotonic: float, asked: bool = True) -> "Source[T]":
        """Return a reading of the state as it looks at `now` (wall clock) and `monotonic`."""
        error = reading.error
        if not error and reading.status is Status.DOWN:
            error = "does not answer"
        again = reading.latest.again_at if reading.latest is not None and reading.status.failed else None
        wait = None if again is None else max(0.0, again - monotonic)
        return cls(reading.data, reading.age(monotonic), error, now, asked, reading.stale, wait)

    @property
    def stale(self) -> bool:
        return self.outdated or (self.age is not None and self.age >= _FRESH)


UNREAD: Source[Any] = Source()


def note(source: Source[T], text: str = "") -> Line:
    """Return the age for the right end of a pane's rule, and STALE in words where it is; `text` names the origin."""
    if source.data is None:
        text = f"NO DATA{_countdown(source)}"
        return line(Span(text, Role.WARN)) if source.error else line(Span("reading…", Role.DIM))
    age = figures.ago(source.age or 0.0)
    if source.stale:
        return line(Span(f"STALE {age.removesuffix(' ago')}{_countdown(source)}", Role.WARN))
    return line(Span(f"{text}, {age}" if text else age, Role.DIM))


def _countdown(source: Source[T]) -> str:
    if source.again is None:
        return ""
    return f", tried again in {math.ceil(source.again)}s" if source.again > 0 else ", trying now"


def alert(source: Source[T], name: str) -> Line:
    """Return the sentence that says what is wrong with the source, or nothing."""
    if not source.error:
        return BLANK
    word = "" if source.error.lower().startswith(name.lower()) else f"{name}: "
    return line(Span(f"{glyphs.BAD} {word}", Role.BAD), Span(source.error, Role.STRONG))
