"""Redis backlog: what waits, whether it grows, and how long until it is full."""

from rich.cells import cell_len

from console.probes.sample import BacklogSample, StreamSample
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, left, line, right, wrap
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_SOON = 3600.0  # seconds to full that deserve the alarming colour


def build(source: Source[BacklogSample], room: Room) -> Content:
    """Return the backlog pane."""
    title = "redis backlog"
    if not source.asked:
        return Content(title, (line(Span("no queue is configured for this directory", Role.DIM)),))
    sample = source.data
    if sample is None:
        return Content(title, (), note(source), alert(source, "redis"))
    names = min(max((cell_len(stream.stream) for stream in sample.streams), default=0), room.width // 3)
    lines: list[Line] = []
    for stream in sample.streams:
        lines.append(_stream(stream, names, room.width))
        if room.open:
            lines.extend(_details(stream, names, room.width))
    if room.open:
        limit = f"of {figures.size(sample.memory_limit)}" if sample.memory_limit else "no limit set"
        lines.append(
            line(
                Span("memory ", Role.DIM),
                figures.size(sample.memory_used),
                Span(f" {limit}, {sample.policy}", Role.DIM),
            )
        )
    return Content(title, tuple(lines), note(source), alert(source, "redis"), source.stale)


def waiting(stream: StreamSample) -> tuple[int, bool]:
    """Return how many entries wait for the writer, and whether that is exact or an upper bound."""
    return (stream.length, False) if stream.waiting is None else (stream.waiting, stream.lag_known)


def _stream(stream: StreamSample, names: int, width: int) -> Line:
    if stream.error:
        return line(left(line(stream.stream), names + 2), Span(f"{glyphs.BAD} {stream.error}", Role.BAD))
    number, exact = waiting(stream)
    rate = None
    if stream.rate_in is not None and stream.rate_out is not None:
        rate = stream.rate_in - stream.rate_out
    growing = rate is not None and rate >= 0.5
    bars = max(0, width - names - 47)
    return line(
        left(line(stream.stream), names),
        right(line("" if exact else "≤ ", Span(figures.count(number), Role.STRONG)), 13),
        Span(" waiting", Role.DIM),
        right(line(Span(figures.signed(rate) if rate is not None else "", Role.WARN if growing else Role.OK)), 9),
        right(_horizon(stream, number), 16),
        " ",
        right(line(Span(glyphs.spark(stream.history, min(bars, 40)), Role.ACCENT)), bars),
    )


def _horizon(stream: StreamSample, number: int) -> Line:
    """Return what happens next: entries lost, full in, empty in, or level."""
    if stream.losing:
        return line(Span(f"{glyphs.BAD} LOSING ENTRIES", Role.BAD))
    if stream.seconds_to_loss is not None and stream.seconds_to_loss < (stream.seconds_to_full or 1e12):
        role = Role.BAD if stream.seconds_to_loss < _SOON else Role.WARN
        return line(Span("loses in ", Role.DIM), Span(figures.duration(stream.seconds_to_loss), role))
    if stream.seconds_to_full is not None:
        role = Role.BAD if stream.seconds_to_full < _SOON else Role.WARN
        return line(Span("full in ", Role.DIM), Span(figures.duration(stream.seconds_to_full), role))
    if stream.seconds_to_drain is not None and number:
        return line(Span("empty in ", Role.DIM), Span(figures.duration(stream.seconds_to_drain), Role.OK))
    if not number:
        return line(Span(f"{glyphs.OK} drained", Role.OK))
    return BLANK


def _details(stream: StreamSample, names: int, width: int) -> list[Line]:
    parts = [f"group {stream.group}", f"{figures.count(stream.length)} entries"]
    if stream.rate_in is not None and stream.rate_out is not None:
        parts.append(f"in {figures.short(stream.rate_in)}/s, out {figures.short(stream.rate_out)}/s")
    if stream.pending:
        oldest = f", oldest {figures.duration(stream.oldest_pending)}" if stream.oldest_pending is not None else ""
        parts.append(f"{figures.count(stream.pending)} taken and not acknowledged{oldest}")
    return [line("  ", text) for text in wrap(" · ".join(parts), width - 2, Role.DIM)]
