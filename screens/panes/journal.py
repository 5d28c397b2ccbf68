"""Journal: what was done, by whom, and how it ended."""

from collections.abc import Sequence

from console.probes.sample import JournalLine, JournalSample
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, left, line, spread
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_OUTCOMES = {
    "running": (glyphs.BUSY, Role.ACCENT),
    "done": (glyphs.OK, Role.OK),
    "undone": (glyphs.OK, Role.OK),
    "failed": (glyphs.BAD, Role.BAD),
    "rolled back": (glyphs.WARN, Role.WARN),
    "unfinished": (glyphs.WARN, Role.BAD),
}


def build(source: Source[JournalSample], room: Room) -> Content:
    """Return the journal pane."""
    sample = source.data
    if sample is None:
        return Content("journal", (), note(source) if source.error else (), alert(source, "journal"))
    lines: list[Line] = []
    if not sample.chain_ok:
        lines.append(
            line(Span(f"{glyphs.BAD} the journal's chain is broken: it was changed by another hand", Role.BAD))
        )
    lines.extend(entries(sample.lines, room.width))
    if not sample.lines:
        lines.append(line(Span("nothing was done from here yet", Role.DIM)))
    return Content("journal", tuple(lines), (), alert(source, "journal"), bool(source.error), "older")


def entries(items: Sequence[JournalLine], width: int) -> list[Line]:
    """Return one line per journal entry, newest first, in columns as wide as they need to be."""
    outcome, action, target = (
        max((len(getattr(item, name)) for item in items), default=0) + 2 for name in ("outcome", "action", "target")
    )
    lines = []
    for item in items:
        glyph, role = _OUTCOMES.get(item.outcome, (glyphs.BUSY, Role.PLAIN))
        row = line(
            Span(f"{figures.clock(item.at)} ", Role.DIM),
            left(line(Span(f"{glyph} {item.outcome}", role)), outcome + 2),
            left(line(Span(item.action, Role.STRONG)), action),
            left(line(item.target), target),
            Span(item.summary, Role.DIM),
        )
        lines.append(spread(row, line(Span(item.operator, Role.DIM)) if width >= 100 else BLANK, width))
    return lines
