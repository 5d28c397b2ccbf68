"""Crashes: how many, of how many causes, whether it still bleeds, and what each is tied to."""

from console.probes.sample import CrashCause, CrashesSample
from console.text import plural
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, hanging, line, spread, wrap
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_BLEEDING = 45.0  # seconds since the last crash below which the loop is taken to go on


def build(source: Source[CrashesSample], room: Room) -> Content:
    """Return the crashes pane."""
    sample = source.data
    if sample is None:
        return Content("crashes", (), note(source), alert(source, "crashes"))
    if not sample.total:
        lines: tuple[Line, ...] = (line(Span(f"{glyphs.OK} none", Role.OK), Span("  no hs_err log", Role.DIM)),)
        return Content("crashes", lines, note(source), alert(source, "crashes"), source.stale)
    text = _summary(sample, source.now, room.width)
    for cause in sample.causes:
        text.extend(_open(cause, room.width) if room.open else _brief(cause, room.width, room.height - len(text)))
    return Content("crashes", tuple(text), note(source), alert(source, "crashes"), source.stale)


def _summary(sample: CrashesSample, now: float, width: int) -> list[Line]:
    since = now - sample.last_at if sample.last_at is not None else None
    bleeding = since is not None and since < _BLEEDING
    causes = "one cause" if len(sample.causes) == 1 else plural(len(sample.causes), "cause")
    head = line(Span(f"{glyphs.BAD} {plural(sample.total, 'crash', 'crashes')}", Role.BAD))
    when = "last ?" if since is None else f"last {figures.ago(since)}"
    last = line(Span("crashing now, " if bleeding else "", Role.BAD), Span(when, Role.BAD if bleeding else Role.DIM))
    bars = glyphs.spark(sample.per_bucket, max(0, min(20, width - 20)))
    return [
        spread(head, line(Span(causes, Role.STRONG)), width),
        spread(last, line(Span(bars, Role.WARN)) if not bleeding else BLANK, width),
    ]


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
    return [*code, *where, *what]


def _open(cause: CrashCause, width: int) -> list[Line]:
    number = f"{figures.count(cause.count)} × "
    lines = hanging(line(Span(number, Role.STRONG)), cause.title, width)
    indent = "  "
    span = f"{figures.moment(cause.first_at)} to {figures.clock(cause.last_at)}"
    if cause.file:
        where = f"{cause.file} at {cause.offset:#010x}" if cause.offset is not None else cause.file
        lines.extend(wrap(indent + where, width))
    if cause.seq_txn is not None:
        lines.append(line(Span("seqTxn ", Role.DIM), figures.count(cause.seq_txn), Span(f"   {span}", Role.DIM)))
    else:
        lines.append(line(Span(span, Role.DIM)))
    if cause.explanation:
        lines.extend(wrap(cause.explanation, width, Role.STRONG))
    if cause.confidence:
        lines.extend(hanging(line(Span("how sure  ", Role.DIM)), cause.confidence, width, Role.DIM))
    return lines
