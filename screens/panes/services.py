"""Services: state, how long, how often restarted, each as glyph, word and colour."""

from rich.cells import cell_len

from console.probes.sample import ServicesSample, UnitSample, UnitState
from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, left, line, right
from console.widgets.pane import Content, Room
from screens.panes.reading import Source, alert, note

_STATES = {
    UnitState.UP: (glyphs.OK, "up", Role.OK),
    UnitState.STARTING: (glyphs.BUSY, "wait", Role.WARN),
    UnitState.STOPPING: (glyphs.BUSY, "stop", Role.WARN),
    UnitState.DOWN: (glyphs.BAD, "DOWN", Role.WARN),
    UnitState.FAILED: (glyphs.BAD, "FAIL", Role.BAD),
    UnitState.UNKNOWN: (glyphs.UNKNOWN, "?", Role.WARN),
}


def build(source: Source[ServicesSample], room: Room) -> Content:
    """Return the services pane."""
    if not source.asked:
        return Content("services", (line(Span("no service is configured for this directory", Role.DIM)),))
    sample = source.data
    if sample is None:
        return Content("services", (), note(source), alert(source, "services"))
    names = min(max((cell_len(unit.name) for unit in sample.units), default=0), room.width - 28)
    lines = [_unit(unit, names, room) for unit in sample.units]
    return Content("services", tuple(lines), note(source), alert(source, sample.backend), source.stale)


def _unit(unit: UnitSample, names: int, room: Room) -> Line:
    glyph, word, role = (glyphs.BAD, "LOOP", Role.BAD) if unit.loop else _STATES[unit.state]
    running = unit.state is UnitState.UP
    since = figures.duration(unit.uptime) if running else unit.result or ""
    restarts = "" if unit.restarts is None else figures.count(unit.restarts)
    row = line(
        left(line(Span(f"{glyph} {word}", role)), 7),
        left(line(unit.name), names + 1),
        right(line(Span(since, Role.PLAIN if running else role)), 7 if running or len(since) <= 7 else 12),
        Span(" restarts " if restarts else " " * 10, Role.DIM),
        right(line(Span(restarts, Role.STRONG if unit.restarts else Role.DIM)), 4),
    )
    if room.width >= names + 60:
        pid = line(Span("   pid ", Role.DIM), right(line(str(unit.pid)), 7)) if unit.pid else line(" " * 14)
        memory = line(Span("   mem ", Role.DIM), right(line(figures.size(unit.memory)), 8)) if unit.memory else ()
        row = line(row, pid, memory)
    return row
