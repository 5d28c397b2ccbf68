"""Redis backlog: what waits, whether it grows, and how long until it is full."""

from rich.cells import cell_len

from console.probes.sample import BacklogSample, StreamSample
from console.text import moment, plural
from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, crop, hanging, left, line, right, wrap
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_SOON = 3600.0  # seconds to full that deserve the alarming colour
_COLUMNS, _NARROW, _WAITING = (13, 9, 16), (11, 8, 14), 8  # cells for count, rate and what comes next; for a word
_SILENT = 60.0  # seconds without a question after which no consumer is taken to live


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
        if room.open and not stream.error:
            lines.extend(_lost(stream, room.width))
            lines.extend(_details(stream, source.now, room.width))
    if room.open:
        lines.extend(_memory(sample, room.width))
    return Content(title, tuple(lines), note(source), alert(source, "redis"), source.stale)


def _stream(stream: StreamSample, names: int, width: int) -> Line:
    if stream.error:
        return line(left(line(stream.stream), names + 2), Span(f"{glyphs.BAD} {stream.error}", Role.BAD))
    number = stream.waiting
    bound = "" if stream.lag_known or number is None else "≥ "
    rate = None
    if stream.rate_in is not None and stream.rate_out is not None:
        rate = stream.rate_in - stream.rate_out
    growing = rate is not None and rate >= 0.5
    columns = _COLUMNS if width >= names + sum(_COLUMNS) + _WAITING else _NARROW
    names = min(names, max(8, width - sum(columns) - _WAITING))  # a name is cut before a figure is
    bars = max(0, width - names - sum(columns) - _WAITING - 1)
    return line(
        left(line(stream.stream), names),
        right(line(bound, Span(figures.count(number), Role.STRONG)), columns[0]),
        Span(" waiting", Role.DIM),
        right(
            line(Span(figures.signed(rate) if rate is not None else "", Role.WARN if growing else Role.OK)), columns[1]
        ),
        right(_horizon(stream), columns[2]),
        " ",
        right(line(Span(glyphs.spark(stream.history, min(bars, 40)), Role.ACCENT)), bars),
    )


def _lost(stream: StreamSample, width: int) -> list[Line]:
    """Return what is gone for good; where there is no room for it the flow pane says how much that is."""
    notes = []
    if stream.lost:
        notes.append(f"LOST {plural(stream.lost, 'entry', 'entries')}: trimmed before {stream.group} read them")
    if stream.lost_pending:
        notes.append(
            f"{stream.lost_pending:,} taken and trimmed before they were acknowledged: only the writer has them"
        )
    return [crop(line("  ", Span(f"{glyphs.BAD} {text}", Role.BAD)), width) for text in notes]


def _horizon(stream: StreamSample) -> Line:
    """Return what happens next: entries lost, full in, empty in, or level."""
    if stream.losing:
        return line(Span(f"{glyphs.BAD} LOSING NOW", Role.BAD))
    if stream.seconds_to_loss is not None and stream.seconds_to_loss < (stream.seconds_to_full or 1e12):
        role = Role.BAD if stream.seconds_to_loss < _SOON else Role.WARN
        return line(Span("loses in ", Role.DIM), Span(figures.duration(stream.seconds_to_loss), role))
    if stream.seconds_to_full is not None:
        role = Role.BAD if stream.seconds_to_full < _SOON else Role.WARN
        return line(Span("full in ", Role.DIM), Span(figures.duration(stream.seconds_to_full), role))
    if stream.seconds_to_drain is not None and stream.waiting:
        return line(Span("empty in ", Role.DIM), Span(figures.duration(stream.seconds_to_drain), Role.OK))
    if stream.waiting is None:
        return line(Span("not known", Role.WARN))
    if stream.lost or stream.lost_pending:
        lost = figures.short((stream.lost or 0) + stream.lost_pending)
        return line(Span(f"{glyphs.BAD} {lost} LOST", Role.BAD))
    if not stream.waiting and stream.lag_known:
        return line(Span(f"{glyphs.OK} drained", Role.OK))
    return ()


def _details(stream: StreamSample, now: float, width: int) -> list[Line]:
    """Return what stands below a stream: who reads it, how fast, how long until what, and how its entries look."""
    readers = "no consumer" if not stream.consumers else plural(stream.consumers, "consumer")
    if stream.consumers and stream.consumer_idle is not None:
        silent = stream.consumer_idle >= _SILENT
        readers += f", {'SILENT' if silent else 'last asked'} {figures.ago(stream.consumer_idle)}"
    parts = [f"group {stream.group}, {readers}", f"{figures.count(stream.length)} entries"]
    if stream.rate_in is not None and stream.rate_out is not None:
        parts.append(f"in {figures.short(stream.rate_in)}/s, out {figures.short(stream.rate_out)}/s")
    if stream.pending:
        parts.append(f"{figures.count(stream.pending)} taken and not acknowledged{_held(stream, now)}")
    if not stream.lag_known:
        parts.append("what waits is still being counted")
    parts.extend(_times(stream))
    lines = [line("  ", text) for text in wrap(" · ".join(parts), width - 2, Role.DIM)]
    for label, entry in (("first ", stream.first_entry), ("last  ", stream.last_entry)):
        if entry is not None:
            when = moment(entry.at) if entry.at is not None else entry.id
            lines.append(crop(line("  ", Span(f"{label} {when}  ", Role.DIM), entry.text), width))
    return lines


def _held(stream: StreamSample, now: float) -> str:
    """Return since when the oldest of them is held: by when it was added, which no retry changes."""
    if stream.held_since is None:
        return ""
    return f", the oldest since {figures.clock(stream.held_since)} ({figures.duration(now - stream.held_since)})"


def _times(stream: StreamSample) -> list[str]:
    """Return every end that is in sight, the nearest of which the stream's own line shows."""
    found = []
    if stream.max_length is not None:
        loss = f", reaches unread ones in {figures.duration(stream.seconds_to_loss)}" if stream.seconds_to_loss else ""
        found.append(f"trimmed at {stream.max_length:,}{loss}")
    if stream.seconds_to_full is not None:
        found.append(f"memory full in {figures.duration(stream.seconds_to_full)}")
    if stream.seconds_to_drain is not None and stream.waiting:
        found.append(f"empty in {figures.duration(stream.seconds_to_drain)}")
    return found


def _memory(sample: BacklogSample, width: int) -> list[Line]:
    limit = (
        f"of {figures.size(sample.memory_limit)}" if sample.memory_limit else "no limit set: the machine's is the limit"
    )
    full = f", full in {figures.duration(sample.seconds_to_full)}" if sample.seconds_to_full is not None else ""
    memory = line(
        Span("memory ", Role.DIM),
        figures.size(sample.memory_used),
        Span(f" {limit}, {sample.policy}{full}", Role.DIM),
    )
    kept = hanging(line(Span("kept   ", Role.DIM)), sample.persistence, width, Role.DIM) if sample.persistence else []
    return [memory, *kept]
