"""Flow: the way of the data in one line, where it stands still, and what that costs."""

from dataclasses import replace

from console.probes.flow import Flow, Hop, HopState
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, cells, crop, join, line, plain, wrap
from console.widgets.pane import Content, Room

_STATES = {
    HopState.OK: (glyphs.OK, "", Role.OK),
    HopState.SLOW: (glyphs.WARN, " slow", Role.WARN),
    HopState.STUCK: (glyphs.BAD, " STUCK", Role.BAD),
    HopState.DOWN: (glyphs.BAD, " DOWN", Role.BAD),
    HopState.UNKNOWN: (glyphs.UNKNOWN, "", Role.DIM),
}

_HELD = (glyphs.BUSY, " held", Role.WARN)


def build(flow: Flow, room: Room) -> Content:
    way = _pipeline(flow, room.width)
    stuck = flow.stuck_at
    if stuck is not None and _held(flow, stuck):
        stuck = replace(stuck, detail="")  # the step that stopped it says why
    if stuck is not None and stuck.detail:
        said = stuck.detail if stuck.role is flow.hops[-1].role else f"{stuck.name}: {stuck.detail}"
        detail = line("  ", Span(said, Role.WARN))
        if cells(way) + cells(detail) <= room.width:
            way = line(way, detail)
    role = Role.BAD if flow.losing else Role.STRONG
    outlook = wrap(f"{flow.outlook}{_soon(flow)}", room.width, role)
    if len(outlook) >= room.height:
        outlook = wrap(flow.outlook, room.width, role)
    if len(outlook) >= room.height > 1:
        outlook = [crop(line(Span(flow.outlook, role)), room.width)]
    note = line(Span(f"since {figures.clock(flow.since)}", Role.WARN)) if stuck and flow.since else BLANK
    lines = [way, *outlook]
    if stuck is not None and stuck.detail and stuck.detail not in plain(way) and len(lines) < room.height:
        lines.extend(wrap(f"{stuck.name}: {stuck.detail}", room.width, Role.WARN)[: 2 if room.open else 1])
    return Content("flow", tuple(lines), note)


def _held(flow: Flow, hop: Hop) -> bool:
    return hop.state is HopState.DOWN and hop.role in flow.held


def _pipeline(flow: Flow, width: int) -> Line:
    """Return the four hops with arrows between; what flows and what waits stands on them if there is room."""
    hops: list[Line] = []
    for hop in flow.hops:
        glyph, word, role = _HELD if _held(flow, hop) else _STATES[hop.state]
        hops.append(line(Span(f"{hop.name} ", Role.STRONG), Span(f"{glyph}{word}", role)))
    bare = join(hops, line(Span(f" {glyphs.ARROW} ", Role.DIM)))
    coming = "" if flow.rate_in is None else f" {figures.short(flow.rate_in)}/s"
    leaving = "" if flow.rate_out is None else f" {figures.short(flow.rate_out)}/s"
    waiting = "" if flow.waiting is None else f" {figures.count(flow.waiting)} waiting"
    feed, queue, writer, database = hops
    full = line(
        feed, Span(f" ──{coming} ─▶ ", Role.DIM), queue, Span(waiting, Role.DIM),
        Span(f" ──{leaving} ─▶ ", Role.DIM), writer, Span(" ──▶ ", Role.DIM), database,
    )  # fmt: skip
    return full if cells(full) <= width else bare


def _soon(flow: Flow) -> str:
    if not flow.lost_soon or flow.names_loss:
        return ""
    return f" If nothing is done: {flow.lost_soon:,} lost in ten minutes."
