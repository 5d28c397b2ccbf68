"""Services: state, how long, how often restarted, each as glyph, word and colour."""

from dataclasses import dataclass

from rich.cells import cell_len

from console.probes.contents import ServicesSample, UnitSample, UnitState
from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, cells, crop, hanging, left, line, right
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
_WORST = (UnitState.FAILED, UnitState.DOWN, UnitState.UNKNOWN, UnitState.STOPPING, UnitState.STARTING, UnitState.UP)
_RESULT = 24  # cells for how a service ended, where there is room
_NOBODY = UnitSample("", "", UnitState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class ServicesView:
    """The services, and the one that the cursor is on, empty where there is no cursor."""

    source: Source[ServicesSample]
    chosen: str = ""
    order: str = ""  # in words; empty: as configured
    stopped: frozenset[str] = frozenset()  # roles of the services that a step of the recovery has stopped


def build(view: ServicesView, room: Room) -> Content:
    """Return the services pane: a line each, what keeps one from running, and all that is known where there is room."""
    source = view.source
    if not source.asked:
        return Content("services", (line(Span("no service is configured for this directory", Role.DIM)),))
    sample = source.data
    if sample is None:
        return Content("services", (), note(source), alert(source, "services"))
    names = min(max((cell_len(unit.name) for unit in sample.units), default=0), room.width - 28)
    most = _RESULT if room.open else 12
    ends = min(max((len(_since(unit)) for unit in sample.units), default=0), most)
    rows = {
        unit.name: [_unit(unit, mark(unit, view.stopped), names, max(7, ends), unit.name == view.chosen)]
        for unit in sample.units
    }
    for unit in sample.units:
        rows[unit.name].extend(_details(unit, room) if room.open else _limit(unit, room.width))
    if sum(map(len, rows.values())) > room.height:
        rows = _fitted(sample, rows, room.height)
    if len(rows) > room.height and not view.chosen:
        rows = _folded(sample, rows, room)
    lines = [row for block in rows.values() for row in block]
    return Content("services", tuple(lines), note(source, view.order), alert(source, sample.backend), source.stale)


def _fitted(sample: ServicesSample, rows: dict[str, list[Line]], height: int) -> dict[str, list[Line]]:
    """Return a line for each service, and in what is left the details of those that need the operator most."""
    made = {name: lines[:1] for name, lines in rows.items()}
    spare = height - len(rows)
    for unit in sorted(sample.units, key=urgency):
        more = len(rows[unit.name]) - 1
        if more <= spare:
            made[unit.name] = rows[unit.name]
            spare -= more
    return made


def _folded(sample: ServicesSample, rows: dict[str, list[Line]], room: Room) -> dict[str, list[Line]]:
    """Return a line for each service that needs the operator, and the names of those that run in what is left."""
    well = [unit.name for unit in sample.units if unit.state is UnitState.UP and not unit.loop]
    troubled = {name: lines for name, lines in rows.items() if name not in well}
    left_over = max(1, room.height - len(troubled))
    while well and left_over > 1:  # the first ones keep their line
        name = next(each for each in rows if each in well and each not in troubled)
        folded = hanging(line(Span(f"{glyphs.OK} up   ", Role.OK)), ", ".join(well[1:]), room.width)
        if len(well) == 1 or len(folded) >= left_over:
            break
        troubled[name] = rows[name]
        well.remove(name)
        left_over -= 1
    if well:
        troubled["\n"] = hanging(line(Span(f"{glyphs.OK} up   ", Role.OK)), ", ".join(well), room.width)
    return troubled


def worst(sample: ServicesSample | None) -> str:
    """Return the service that needs the operator most: one that loops, failed or is down; else the first."""
    units = sample.units if sample is not None else ()
    return min(units, key=urgency, default=_NOBODY).name


def urgency(unit: UnitSample) -> tuple[bool, int]:
    """Return what sorts the services that need the operator most first."""
    return not unit.loop, _WORST.index(unit.state)


def next_to(sample: ServicesSample | None, name: str, steps: int) -> str:
    """Return the service `steps` below the one of `name`, not past the ends."""
    names = [unit.name for unit in sample.units] if sample is not None else []
    if not names:
        return ""
    at = names.index(name) if name in names else 0
    return names[min(max(0, at + steps), len(names) - 1)]


def mark(unit: UnitSample, stopped: frozenset[str] = frozenset()) -> Line:
    """Return a service's state as glyph, word and colour; one of a role in `stopped` is down on purpose."""
    if unit.role in stopped and unit.state is UnitState.DOWN:
        return line(Span(f"{glyphs.BUSY} held", Role.WARN))
    looping = unit.loop and unit.state is not UnitState.FAILED  # one that failed has given up
    glyph, word, role = (glyphs.BAD, "LOOP", Role.BAD) if looping else _STATES[unit.state]
    return line(Span(f"{glyph} {word}", role))


def _since(unit: UnitSample) -> str:
    return figures.duration(unit.uptime) if unit.state is UnitState.UP else unit.result


def _unit(unit: UnitSample, state: Line, names: int, ends: int, chosen: bool) -> Line:
    role = state[0].role
    running = unit.state is UnitState.UP
    restarts = "" if unit.restarts is None else figures.count(unit.restarts)
    return line(
        left(state, 7),
        left(line(Span(unit.name, Role.CURSOR if chosen else Role.PLAIN)), names + 1),
        right(line(Span(_since(unit), Role.PLAIN if running else role)), ends),
        Span(" restarts " if restarts else " " * 10, Role.DIM),
        right(line(Span(restarts, Role.STRONG if unit.restarts else Role.DIM)), 4),
    )


def _loop(unit: UnitSample, width: int) -> list[Line]:
    return hanging(line(" " * 7), f"{unit.loop}{_rate(unit)}", width, Role.BAD) if unit.loop else []


def _limit(unit: UnitSample, width: int) -> list[Line]:
    """Return in one line what limits a failing restart loop; that it loops, and how often, stands above."""
    limit = unit.loop.rpartition("; ")[2]
    said = [line(" " * 7, Span(text, Role.BAD)) for text in (f"{limit}{_rate(unit)}", limit)]
    return [next((each for each in said if cells(each) <= width), crop(said[-1], width))] if unit.loop else []


def _rate(unit: UnitSample) -> str:
    return f", {unit.restart_rate:.1f}/min" if unit.restart_rate else ""


def _details(unit: UnitSample, room: Room) -> list[Line]:
    """Return what stands below a service's line: the loop, process and memory, the last run, the unit file."""
    up = unit.state is UnitState.UP
    known = [
        f"{unit.role}",
        f"pid {unit.pid}" if unit.pid else "",
        figures.size(unit.memory) if unit.memory else "",
        f"last run {unit.result}" if unit.result and up else "",
        f"{unit.sub_state}" if unit.sub_state and not up else "",
        f"restarts{_rate(unit).removeprefix(',')}" if unit.restart_rate and not unit.loop else "",
        unit.result if not up and len(unit.result) > _RESULT else "",  # cut short above
        unit.health,
        f"restart policy {unit.restart_policy}" if unit.restart_policy else "",
        "masked until the repair is done" if unit.masked else "",
        unit.unit_file,
    ]
    text = " · ".join(part for part in known if part)
    return [*_loop(unit, room.width), *hanging(line(" " * 7), text, room.width, Role.DIM)]
