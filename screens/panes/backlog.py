"""Redis backlog: what waits, whether it grows, and how long until it is full."""

from collections.abc import Sequence

from rich.cells import cell_len

from console.probes.contents import HISTORY_STEP, BacklogSample, StreamSample
from console.text import moment, plural
from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, crop, hanging, left, line, right, wrap
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_SOON = 3600.0  # seconds to full that deserve the alarming colour
_COLUMNS, _NARROW, _WAITING = (13, 9, 16), (11, 8, 14), 8  # cells for count, rate and what comes next; for a word
_FAR = 86_400.0  # seconds to an end from which on it is no news
_MANY = 1_000  # waiting entries below which a queue that grows a little is as it should be
_GAUGE = 10  # cells of the bar that shows how near MAXLEN is
_LOWEST, _TALLEST, _SCALE = 3, 8, 6  # lines of a chart, cells of its scale
_SILENT = 60.0  # seconds without a question after which no consumer is taken to live


def build(source: Source[BacklogSample], room: Room) -> Content:
    title = "redis backlog"
    if not source.asked:
        return Content(title, (line(Span("no queue is configured for this directory", Role.DIM)),))
    sample = source.data
    if sample is None:
        return Content(title, (), note(source), alert(source, "redis"))
    names = min(max((cell_len(stream.stream) for stream in sample.streams), default=0), room.width // 3)
    blocks: list[list[Line]] = []
    for stream in sample.streams:
        details = room.open and not stream.error
        about = [*_lost(stream, room.width), *_details(stream, source.now, room.width)] if details else []
        blocks.append([_stream(stream, names, room.width), *about])
    if room.open:
        blocks.append(_memory(sample, room.width))
    lines = _fitted(blocks, room.height)
    if room.open and not room.whole:
        lines += _charts(sample.streams, room.height - len(lines), room.width)
    return Content(title, tuple(lines), note(source), alert(source, "redis"), source.stale)


def _charts(streams: Sequence[StreamSample], height: int, width: int) -> list[Line]:
    """Return what waited in the last minutes as one chart for each stream, none if `height` lines are too few."""
    drawn = [stream for stream in streams if len(stream.history) > 1]
    tall = min(_TALLEST, height // len(drawn) - 2) if drawn else 0
    if tall < _LOWEST:
        return []
    lines: list[Line] = []
    for stream in drawn:
        shown = stream.history[-max(1, width - _SCALE - 2) :]
        last = figures.duration(len(shown) * HISTORY_STEP)
        lines += [(), line(Span(f"{stream.stream}: entries waiting, last {last}", Role.DIM))]
        rows = glyphs.columns(shown, len(shown), tall)
        for number, row in enumerate(rows):
            scale = {0: figures.short(max(shown)), tall - 1: "0"}.get(number, "")
            lines.append(line(Span(f"{scale:>{_SCALE}} │", Role.RULE), Span(row, Role.ACCENT)))
    return lines


def _fitted(blocks: list[list[Line]], height: int) -> list[Line]:
    """Return the blocks one below the other, each cut so that the first line of every stream is in sight."""
    sizes = [1] * len(blocks)
    spare = height - len(blocks)
    for number, block in enumerate(blocks):
        more = max(0, min(spare, len(block) - 1))
        sizes[number] += more
        spare -= more
    return [row for block, size in zip(blocks, sizes, strict=True) for row in block[:size]]


def _stream(stream: StreamSample, names: int, width: int) -> Line:
    if stream.error:
        return line(left(line(stream.stream), names + 2), Span(f"{glyphs.BAD} {stream.error}", Role.BAD))
    number = stream.waiting
    bound = "" if stream.lag_known or number is None else "≥ "
    rate = None
    if stream.rate_in is not None and stream.rate_out is not None:
        rate = stream.rate_in - stream.rate_out
    growing = rate is not None and rate >= 0.5 and (number or 0) >= _MANY  # the ripple of a healthy queue is no news
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
            f"{stream.lost_pending:,} delivered and trimmed before they were acknowledged: only the writer has them"
        )
    return [crop(line("  ", Span(f"{glyphs.BAD} {text}", Role.BAD)), width) for text in notes]


def _horizon(stream: StreamSample) -> Line:
    """Return what happens next: entries lost, full in, empty in, or level; what is more than a day away is not near."""
    if stream.losing:
        return line(Span(f"{glyphs.BAD} LOSING NOW", Role.BAD))
    if stream.seconds_to_loss is not None and stream.seconds_to_loss < min(stream.seconds_to_full or _FAR, _FAR):
        role = Role.BAD if stream.seconds_to_loss < _SOON else Role.WARN
        return line(Span("trims in ", Role.DIM), Span(figures.duration(stream.seconds_to_loss), role))
    if stream.seconds_to_full is not None and stream.seconds_to_full < _FAR:
        role = Role.BAD if stream.seconds_to_full < _SOON else Role.WARN
        return line(Span("full in ", Role.DIM), Span(figures.duration(stream.seconds_to_full), role))
    if stream.seconds_to_drain is not None and (stream.waiting or 0) >= _MANY:
        return line(Span("empty in ", Role.DIM), Span(figures.duration(stream.seconds_to_drain), Role.OK))
    if stream.waiting is None:
        return line(Span("unknown", Role.WARN))
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
        parts.append(f"{figures.count(stream.pending)} delivered, not acknowledged{_held(stream, now)}")
    if not stream.lag_known:
        parts.append("still counting the unread entries")
    parts.extend(_times(stream))
    lines = [*_ceiling(stream), *(line("  ", text) for text in wrap(" · ".join(parts), width - 2, Role.DIM))]
    for label, entry in (("first ", stream.first_entry), ("last  ", stream.last_entry)):
        if entry is not None:
            when = moment(entry.at) if entry.at is not None else entry.id
            lines.append(crop(line("  ", Span(f"{label} {when}  ", Role.DIM), entry.text), width))
    return lines


def _ceiling(stream: StreamSample) -> list[Line]:
    """Return how much of MAXLEN the unread entries fill, as a bar below its ceiling."""
    if not stream.max_length or stream.waiting is None:
        return []
    share = min(1.0, stream.waiting / stream.max_length)
    full = glyphs.gauge(share, _GAUGE)
    role = Role.BAD if share >= 0.8 else Role.WARN if share >= 0.4 else Role.ACCENT
    said = f" {share * 100:.0f} % of MAXLEN {stream.max_length:,}"
    end = stream.seconds_to_loss
    left_over = f": trims unread entries in {figures.duration(end)}" if end and end < _FAR else ""
    return [line("  ", Span(full, role), Span("░" * (_GAUGE - len(full)), Role.RULE), Span(said + left_over, Role.DIM))]


def _held(stream: StreamSample, now: float) -> str:
    """Return since when the oldest of them is held: by when it was added, which no retry changes."""
    if stream.held_since is None:
        return ""
    return f" (oldest {figures.duration(now - stream.held_since)})"


def _times(stream: StreamSample) -> list[str]:
    """Return every end that is in sight, the nearest of which the stream's own line shows."""
    found = []
    if stream.seconds_to_full is not None and stream.seconds_to_full < _FAR:
        found.append(f"memory full in {figures.duration(stream.seconds_to_full)}")
    if stream.seconds_to_drain is not None and (stream.waiting or 0) >= _MANY:
        found.append(f"empty in {figures.duration(stream.seconds_to_drain)}")
    return found


def _memory(sample: BacklogSample, width: int) -> list[Line]:
    limit = f"of {figures.size(sample.memory_limit)}" if sample.memory_limit else "no maxmemory set"
    end = sample.seconds_to_full
    full = f", full in {figures.duration(end)}" if end is not None and end < _FAR else ""
    memory = line(
        Span("memory ", Role.DIM),
        figures.size(sample.memory_used),
        Span(f" {limit}, {sample.policy}{full}", Role.DIM),
    )
    kept = hanging(line(Span("kept   ", Role.DIM)), sample.persistence, width, Role.DIM) if sample.persistence else []
    return [memory, *kept]
