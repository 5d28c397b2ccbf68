"""Crashes: how many, of how many causes, whether it still bleeds, and what each is tied to."""

from dataclasses import dataclass

from console.probes.aftermath import Aftermath
from console.probes.sample import CrashCause, CrashesSample
from console.text import moment, plural
from console.widgets import figures, glyphs
from console.widgets.large import large
from console.widgets.line import Line, Role, Span, crop, hanging, line, spread, wrap
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_BLEEDING = 45.0  # seconds since the last crash below which the loop is taken to go on
_LARGE_WIDTH, _LARGE_HEIGHT = 44, 9  # cells and lines from which on the time since the last crash is drawn large


@dataclass(frozen=True, slots=True)
class CrashesView:
    """The crashes, and what followed the last one."""

    source: Source[CrashesSample]
    after: Aftermath | None = None


def build(view: CrashesView, room: Room) -> Content:
    """Return the crashes pane."""
    source = view.source
    sample = source.data
    if sample is None:
        return Content("crashes", (), note(source), alert(source, "crashes"))
    if not sample.total:
        lines: tuple[Line, ...] = (line(Span(f"{glyphs.OK} none", Role.OK), Span("  no hs_err log", Role.DIM)),)
        return Content("crashes", lines, note(source), alert(source, "crashes"), source.stale)
    if room.open and room.width >= _LARGE_WIDTH and room.height >= _LARGE_HEIGHT:
        text = _large(sample, source.now, room.width, bleeding=_bleeds(view))
    else:
        text = _summary(sample, source.now, room.width, bleeding=_bleeds(view))
    if room.open:
        for cause in sample.causes:
            text.extend(_open(cause, room.width, alone=len(sample.causes) == 1))
        text.extend(_after(view.after, room.width))
    else:
        for cause in sample.causes:
            text.extend(_brief(cause, room.width, room.height - len(text)))
    return Content("crashes", tuple(text), note(source), alert(source, "crashes"), source.stale)


def _head(sample: CrashesSample, width: int) -> Line:
    causes = "one cause" if len(sample.causes) == 1 else plural(len(sample.causes), "cause")
    head = line(Span(f"{glyphs.BAD} {plural(sample.total, 'crash', 'crashes')}", Role.BAD))
    return spread(head, line(Span(causes, Role.STRONG)), width)


def _bleeds(view: CrashesView) -> bool:
    """Return whether the loop is taken to go on: the last crash is recent, and the server is not up since."""
    sample = view.source.data
    if sample is None or sample.last_at is None or (view.after is not None and view.after.up):
        return False
    return view.source.now - sample.last_at < _BLEEDING


def _summary(sample: CrashesSample, now: float, width: int, *, bleeding: bool) -> list[Line]:
    since = now - sample.last_at if sample.last_at is not None else None
    when = "last ?" if since is None else f"last {figures.ago(since)}"
    last = Span("CRASHING NOW", Role.BAD) if bleeding else Span(when, Role.DIM)
    bars = glyphs.spark(sample.per_bucket, max(0, min(20, width - 20)))
    return [_head(sample, width), spread(line(last), line(Span(bars, Role.WARN)), width)]


def _large(sample: CrashesSample, now: float, width: int, *, bleeding: bool) -> list[Line]:
    """Return the time since the last crash in large, beside it what it is and how the crashes came."""
    since = now - sample.last_at if sample.last_at is not None else None
    figure = large(figures.duration(since))
    first = min(cause.first_at for cause in sample.causes)
    last = sample.last_at if sample.last_at is not None else first
    room = width - len(figure[0]) - 3
    bars = glyphs.spark(sample.per_bucket, max(0, min(24, room - 20)))
    beside = (
        line(Span("CRASHING NOW" if bleeding else "since the last crash", Role.BAD if bleeding else Role.DIM)),
        line(
            Span(f"{figures.clock(first)} ", Role.DIM), Span(bars, Role.WARN), Span(f" {figures.clock(last)}", Role.DIM)
        ),
        line(Span(_rate(sample.total, first, last), Role.DIM)),
    )
    role = Role.BAD if bleeding else Role.STRONG
    rows = [
        line(Span(row, role), "   ", crop(beside_text, room)) for row, beside_text in zip(figure, beside, strict=True)
    ]
    return [_head(sample, width), *rows]


def _rate(count: int, first: float, last: float) -> str:
    """Return how fast crashes came between the first and the last of them."""
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
