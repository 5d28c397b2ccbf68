"""Crashes: how many, of how many causes, whether it still bleeds, and what each is tied to."""

from dataclasses import dataclass

from console.probes.aftermath import Aftermath
from console.probes.contents import CrashCause, CrashesSample
from console.text import moment, plural
from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, crop, hanging, line, spread, wrap
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_BLEEDING = 45.0  # seconds since the last crash below which the loop is taken to go on
_WIDE = 52  # cells from which on the crashes stand on a line of time


@dataclass(frozen=True, slots=True)
class CrashesView:
    """The crashes, and what followed the last one."""

    source: Source[CrashesSample]
    after: Aftermath | None = None
    stopped: bool = False  # the database is down and nothing starts it: nothing can crash

    @property
    def over(self) -> bool:
        """Return whether the last crash is history: the server is up since, or stopped."""
        return self.stopped or (self.after is not None and self.after.up)


def build(view: CrashesView, room: Room) -> Content:
    source = view.source
    sample = source.data
    if sample is None:
        return Content("crashes", (), note(source), alert(source, "crashes"))
    if not sample.total:
        lines: tuple[Line, ...] = (line(Span(f"{glyphs.OK} none", Role.OK), Span("  no hs_err log", Role.DIM)),)
        return Content("crashes", lines, note(source), alert(source, "crashes"), source.stale)
    if room.open and room.width >= _WIDE:
        text = [
            *_summary(sample, source.now, room.width, bleeding=_bleeds(view), over=view.over, bars=False),
            *_spread(sample, room.width),
        ]
    else:
        text = _summary(sample, source.now, room.width, bleeding=_bleeds(view), over=view.over)
    if room.open:
        for cause in sample.causes:
            text.extend(_open(cause, room.width, alone=len(sample.causes) == 1))
        text.extend(_after(view.after, room.width))
    else:
        for cause in sample.causes:
            text.extend(_brief(cause, room.width, room.height - len(text)))
    return Content("crashes", tuple(text), note(source), alert(source, "crashes"), source.stale)


def _head(sample: CrashesSample, width: int, *, over: bool) -> Line:
    causes = "one cause" if len(sample.causes) == 1 else plural(len(sample.causes), "cause")
    glyph, role = (glyphs.BUSY, Role.STRONG) if over else (glyphs.BAD, Role.BAD)
    head = line(Span(f"{glyph} {plural(sample.total, 'crash', 'crashes')}", role))
    return spread(head, line(Span(causes, Role.STRONG)), width)


def _bleeds(view: CrashesView) -> bool:
    """Return whether the loop is taken to go on: the last crash is recent, and the server is not up since."""
    sample = view.source.data
    if sample is None or sample.last_at is None or view.over:
        return False
    return view.source.now - sample.last_at < _BLEEDING


def _summary(
    sample: CrashesSample, now: float, width: int, *, bleeding: bool, over: bool, bars: bool = True
) -> list[Line]:
    since = now - sample.last_at if sample.last_at is not None else None
    when = "last crash ?" if since is None else f"last crash {figures.ago(since)}"
    last = Span("CRASHING NOW", Role.BAD) if bleeding else Span(when, Role.STRONG)
    spark = glyphs.spark(sample.per_bucket, max(0, min(20, width - 20))) if bars else ""
    return [_head(sample, width, over=over), spread(line(last), line(Span(spark, Role.WARN)), width)]


def _spread(sample: CrashesSample, width: int) -> list[Line]:
    first = min(cause.first_at for cause in sample.causes)
    last = sample.last_at if sample.last_at is not None else first
    bars = glyphs.spark(sample.per_bucket, max(0, min(40, width - 36)))
    start, end = Span(f"{figures.clock(first)} ", Role.DIM), Span(f" {figures.clock(last)}", Role.DIM)
    return [
        crop(line(start, Span(bars, Role.WARN), end, Span(f"  {_rate(sample.total, first, last)}", Role.DIM)), width)
    ]


def _rate(count: int, first: float, last: float) -> str:
    if count < 2 or last <= first:
        return ""
    per_minute = (count - 1) / (last - first) * 60
    return f"{per_minute:.1f} a minute" if per_minute >= 0.95 else f"one every {figures.duration(60 / per_minute)}"


def _after(after: Aftermath | None, width: int) -> list[Line]:
    if after is None:
        return []
    sure = "" if after.certain or not after.up else " (by the time of its start)"
    return hanging(
        line(Span("then  ", Role.DIM)), f"{after.message}{sure}", width, Role.PLAIN if after.up else Role.WARN
    )


def _place(cause: CrashCause) -> str:
    """Return the file without the folders between the table and the name: `market_orderbook~19/…/_txnlog`."""
    parts = [part for part in cause.file.split("/") if part not in {"", "db", "txn_seq"}]
    return "/".join(parts[-2:])


def _brief(cause: CrashCause, width: int, height: int) -> list[Line]:
    """Return what happened where; the place in the server's code is the first to go where lines are few."""
    where = [line(_place(cause))] if cause.file else []
    # The first clause says what; the whole sentence stands where there is room.
    what = wrap(cause.explanation.split(": ")[0], width, Role.STRONG)[:2]
    code = wrap(cause.title.split(" ← ")[0], width)[:1] if len(where) + len(what) < height or not what else []
    return [*code, *where, *what][: max(1, height)]


def _open(cause: CrashCause, width: int, *, alone: bool) -> list[Line]:
    """Return all that is known of one cause; how it came in time is not shown twice where it is the only one."""
    number = f"{figures.count(cause.count)} × "
    lines = hanging(line(Span(number, Role.STRONG)), cause.title, width)
    indent = "  "
    span = f"{moment(cause.first_at)} to {figures.clock(cause.last_at)}"
    if cause.file:
        where = f"{cause.file} at {cause.offset:#010x}" if cause.offset is not None else cause.file
        lines.extend(wrap(indent + where, width))
    txn = line(Span("seqTxn ", Role.DIM), figures.count(cause.seq_txn), "   ") if cause.seq_txn is not None else ()
    bars = "" if alone else f"   {glyphs.spark(cause.per_bucket, 24)}"
    lines.append(crop(line(txn, Span(span, Role.DIM), Span(bars, Role.WARN)), width))
    if cause.explanation:
        lines.extend(wrap(cause.explanation, width, Role.STRONG))
    if cause.confidence:
        lines.extend(hanging(line(Span("how sure  ", Role.DIM)), cause.confidence, width, Role.DIM))
    return lines
