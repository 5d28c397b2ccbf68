"""Journal: what was done, by whom, from where, and how it ended."""

from collections.abc import Sequence

from console.probes.contents import JournalLine, JournalSample
from console.widgets import figures, glyphs
from console.widgets.choice import Item
from console.widgets.line import BLANK, Line, Role, Span, left, line, spread
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_GUARD_LATE = 60.0  # seconds
_OUTCOMES = {
    "running": (glyphs.BUSY, Role.ACCENT),
    "done": (glyphs.OK, Role.OK),
    "undone": (glyphs.OK, Role.OK),
    "failed": (glyphs.BAD, Role.BAD),
    "rolled back": (glyphs.WARN, Role.WARN),
    "unfinished": (glyphs.WARN, Role.BAD),
}


def build(source: Source[JournalSample], room: Room) -> Content:
    sample = source.data
    if sample is None:
        return Content("journal", (), note(source) if source.error else (), alert(source, "journal"))
    lines: list[Line] = []
    if not sample.chain_ok:
        lines.append(line(Span(f"{glyphs.BAD} the journal's chain is broken: somebody changed it", Role.BAD)))
    lines.extend(entries(sample.lines, room.width))
    if not sample.lines:
        lines.append(line(Span("No actions taken yet.", Role.DIM)))
    if room.height == 1:
        del lines[1:]  # the newest says more than how many there are
    return Content(
        "journal",
        tuple(lines),
        _guarded(sample.guarded_at, source.now),
        alert(source, "journal"),
        bool(source.error),
        "older",
    )


def _guarded(at: float | None, now: float) -> Line:
    if at is None:
        return BLANK
    age = max(0.0, now - at)
    role = Role.WARN if age > _GUARD_LATE else Role.DIM
    return line(Span(f"guard: {figures.ago(age)}", role))


def items(sample: JournalSample | None, width: int) -> list[Item]:
    if sample is None or not sample.lines:
        text = "reading…" if sample is None else "No actions taken yet."
        return [Item("", line(Span(text, Role.DIM)))]
    rows = entries(sample.lines, width)
    return [Item(each.entry, row) for each, row in zip(sample.lines, rows, strict=True)]


def entries(shown: Sequence[JournalLine], width: int) -> list[Line]:
    """Return one line per journal entry, newest first, in columns as wide as they need to be."""
    outcome, action, target = (
        max((len(getattr(each, name)) for each in shown), default=0) + 2 for name in ("outcome", "action", "target")
    )
    lines = []
    for each in shown:
        glyph, role = _OUTCOMES.get(each.outcome, (glyphs.BUSY, Role.PLAIN))
        row = line(
            Span(f"{figures.clock(each.at)} ", Role.DIM),
            left(line(Span(f"{glyph} {each.outcome}", role)), outcome + 2),
            left(line(Span(each.action, Role.STRONG)), action),
            left(line(each.target), target),
            Span(each.summary, Role.DIM),
        )
        whom = " ".join(filter(None, (each.operator, each.terminal.removeprefix("/dev/"))))
        lines.append(spread(row, line("  ", Span(whom, Role.DIM)) if width >= 100 else BLANK, width))
    return lines
