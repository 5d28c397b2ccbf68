"""A service's log: time, a mark at what tells of trouble, the text in full."""

from dataclasses import dataclass

from console.probes.log_tail import LogLine, LogTail, is_trouble
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, hanging, line
from console.widgets.pane import Content, Room


@dataclass(frozen=True, slots=True)
class LogView:
    """The log of `unit` as it stands: what is wrong with reading it, and what to know where nothing came yet."""

    unit: str
    tail: LogTail
    error: str = ""
    hint: str = ""


def build(view: LogView, room: Room) -> Content:
    """Return the pane; the newest line that is in sight stands lowest, long ones are shown whole."""
    height = max(1, room.height - bool(view.error))
    rows: list[Line] = []
    for entry in reversed(view.tail.in_sight(height)):
        rows[:0] = _entry(entry, room.width)
        if len(rows) >= height:
            break
    if not rows:
        rows = [line(Span(_nothing(view), Role.DIM))]
    alert = line(Span(f"{glyphs.BAD} ", Role.BAD), Span(view.error, Role.STRONG)) if view.error else BLANK
    return Content(f"log of {view.unit}", tuple(rows[-height:]), _note(view.tail), alert)


def _entry(entry: LogLine, width: int) -> list[Line]:
    trouble = is_trouble(entry)
    mark = Span(f"{glyphs.BAD if trouble else ' '} ", Role.BAD)
    time = Span(f"{figures.clock(entry.at)} ", Role.DIM) if entry.at is not None else Span("")
    return hanging(line(time, mark), entry.text or " ", width, Role.STRONG if trouble else Role.PLAIN)


def _nothing(view: LogView) -> str:
    held = view.tail.counts()[2]
    if held:
        return f"none of the {figures.count(held)} lines read is shown: / changes the filter, e shows all"
    return view.hint or "no log lines yet"


def _note(tail: LogTail) -> Line:
    shown, below, held = tail.counts()
    filtered = tail.wanted or tail.only_trouble
    parts = []
    if filtered:
        what = "trouble" if tail.only_trouble else ""
        search = f"/{tail.wanted}" if tail.wanted else ""
        parts.append(f"{' '.join(word for word in (what, search) if word)}: {shown:,} of {held:,}")
    if tail.following:
        return line(Span(", ".join([*parts, "following"]), Role.DIM))
    newer = f"HELD, {below:,} below" if below else "HELD"
    return line(Span(f"{', '.join(parts)}, " if parts else "", Role.DIM), Span(newer, Role.WARN))
