"""Timeline: the incident in few lines, and everything that is known in time order."""

import datetime
from dataclasses import dataclass

from console.recovery.model import Outcome
from console.reporting.accounts import TableAccount, accounts
from console.reporting.events import Event, Kind
from console.reporting.incident import Incident, left_to_do
from console.text import moment, plural
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, crop, hanging, left, line, wrap
from console.widgets.pane import Content, Room

_KINDS = {
    Kind.CRASH: (glyphs.BAD, Role.BAD),
    Kind.SERVICE: (glyphs.BUSY, Role.DIM),
    Kind.FINDING: (glyphs.WARN, Role.WARN),
    Kind.ACTION: (glyphs.ARROW, Role.ACCENT),
}
_KIND_WIDTH = 10


@dataclass(frozen=True, slots=True)
class IncidentView:
    """The incident, or why there is none yet, and what was done with its report."""

    incident: Incident | None
    message: str = ""
    error: str = ""
    waiting: str = ""  # for how long it is being read


def summary(view: IncidentView, room: Room) -> Content:
    """Return what a reader needs who reads nothing else: crashes, rows table by table, what is left to do."""
    if view.incident is None:
        message = line(Span(f"reading files, services and the journal… {view.waiting}", Role.DIM))
        return Content("incident", tuple(_error(view, room.width)) or (message,))
    incident = view.incident
    lines: list[Line] = []
    crashes = incident.crashes
    if crashes.total:
        causes = "one cause" if len(crashes.groups) == 1 else f"{len(crashes.groups)} causes"
        crashed = f"{plural(crashes.total, 'crash', 'crashes')}, {causes}"
        last = f", the last {moment(crashes.last_at)}" if crashes.last_at is not None else ""
        lines.append(line(Span(f"{glyphs.BAD} {crashed}", Role.BAD), Span(last, Role.DIM)))
    names = max((len(account.table) for account in accounts(incident)), default=0)
    lines.extend(_account(account, names) for account in accounts(incident))
    todo = left_to_do(incident)
    if todo:
        lines.append(line(Span(f"{glyphs.WARN} {plural(len(todo), 'thing')} left to do", Role.WARN)))
        for number, each in enumerate(todo, 1):
            whole = hanging(line(f"  {number}. "), each, room.width)
            # A low screen belongs to the timeline: one line for each, the report has the rest.
            lines.extend(whole if room.open else [crop(line(f"  {number}. {each}"), room.width)])
    else:
        lines.append(line(Span(f"{glyphs.OK} nothing is left to do", Role.OK)))
    lines.extend(line(Span(f"not read: {each}", Role.DIM)) for each in incident.missing)
    lines.extend(_error(view, room.width))
    if view.message:
        lines.extend(wrap(f"{glyphs.OK} {view.message}", room.width, Role.OK, 2))
    note = line(Span(f"as of {figures.clock(incident.made_at)}", Role.DIM))
    return Content("incident", tuple(lines), note, more="more lines: s saves the whole report")


def events(view: IncidentView, room: Room) -> Content:
    """Return every event, oldest first, with the day where it changes."""
    if view.incident is None:
        return Content("timeline")
    lines: list[Line] = []
    day = ""
    for event in view.incident.events:
        today = datetime.datetime.fromtimestamp(event.at, datetime.UTC).strftime("%Y-%m-%d")
        if today != day:
            lines.append(line(Span(f"{today} (UTC)", Role.TITLE)))
            day = today
        lines.extend(_event(event, room.width))
    if not lines:
        lines.append(line(Span("nothing is known of the time before now", Role.DIM)))
    note = line(Span(plural(len(view.incident.events), "event"), Role.DIM))
    return Content("timeline", tuple(lines), note, more="more lines (PgDn)")


def _event(event: Event, width: int) -> list[Line]:
    glyph, role = _KINDS[event.kind]
    if event.kind is Kind.ACTION and event.outcome != Outcome.DONE:
        role = Role.BAD if event.outcome in (Outcome.FAILED, Outcome.UNFINISHED) else Role.WARN
    about = " " if event.sure else "~"
    label = line(
        Span(f"{about}{figures.clock(event.at)} ", Role.DIM),
        left(line(Span(f"{glyph} {event.kind.value}", role)), _KIND_WIDTH),
    )
    times = f"{event.count:,} × " if event.count > 1 else ""
    until = f", until {figures.clock(event.last)}" if int(event.last) != int(event.at) else ""
    first = hanging(label, f"{times}{event.what}{until}", width, Role.STRONG if role is not Role.DIM else Role.PLAIN)
    indent = line(" " * (len("00:00:00Z") + 2 + _KIND_WIDTH))
    return [*first, *(hanging(indent, event.detail, width, Role.DIM) if event.detail else [])]


def _account(account: TableAccount, names: int) -> Line:
    good = account.verdict == "healthy"
    glyph = Span(f"{glyphs.OK if good else glyphs.BAD} ", Role.OK if good else Role.BAD)
    parts = [account.verdict]
    if account.repaired:
        parts.append(f"{plural(account.back, 'row')} back, {account.lost_in_words} lost")
        parts += [f"{account.maybe_twice:,} possible duplicates"] if account.maybe_twice else []
    if account.proven is not None:
        parts.append(f"{account.proven:,} proven")
    if account.at_risk is None or account.at_risk:
        parts.append(f"{figures.count(account.at_risk)} at risk")
    return line(glyph, Span(f"{account.table:<{names}}  ", Role.STRONG), ", ".join(parts))


def _error(view: IncidentView, width: int) -> list[Line]:
    return wrap(f"{glyphs.BAD} {view.error}", width, Role.BAD, 2) if view.error else [BLANK][:0]
