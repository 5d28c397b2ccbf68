"""What a plan costs, as large cells: rows lost, rows recovered, possible duplicates; and how a run ended, as a bar."""

from dataclasses import dataclass

from console.recovery.model import Plan
from console.widgets import figures
from console.widgets.line import Line, Role, Span, cells, join, left, line

CELLS = 3  # lines
_WIDE, _NARROW, _GAP = 20, 16, "  "
_LOSSES = {"exact": "", "bound": "≤ "}


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure with its name."""

    name: str
    value: str
    role: Role


def costs(plan: Plan) -> tuple[Cell, ...]:
    """Return the figures of a plan; what is not known is said, never 0."""
    lost = plan.rows_lost
    unknown = lost.value is None or lost.kind not in _LOSSES
    said = "unknown" if unknown else f"{_LOSSES[lost.kind]}{lost.value:,}"
    none = not unknown and lost.value == 0
    cells = [
        Cell("LOST", said, Role.OK if none else Role.BAD),
        Cell("RECOVERED", figures.count(plan.rows_back), Role.OK if plan.rows_back else Role.STRONG),
        _duplicates(plan),
    ]
    if plan.values_lost:
        counts = [lost.count for lost in plan.values_lost]
        total = None if any(count is None for count in counts) else sum(count or 0 for count in counts)
        cells.append(Cell("VALUES LOST", "unknown" if total is None else f"{total:,}", Role.BAD))
    return tuple(cells)


def _duplicates(plan: Plan) -> Cell:
    most = plan.rows_maybe_twice
    if not plan.duplicates_known:
        return Cell("DUPLICATES", "unknown", Role.WARN)
    return Cell("DUPLICATES", f"≤ {most:,}" if most else "0", Role.WARN if most else Role.STRONG)


def large(found: tuple[Cell, ...], width: int) -> list[Line]:
    """Return the cells side by side, three lines high; in one line if they do not fit in `width`."""
    size = next((size for size in (_WIDE, _NARROW) if len(found) * (size + 2) - 2 <= width), 0)
    if not size:
        return [small(found)]
    inner = size - 2
    top, middle, bottom = [], [], []
    for cell in found:
        rule = "─" * (inner - len(cell.name) - 3)
        top.append(line(Span("┌ ", Role.RULE), Span(cell.name, Role.DIM), Span(f" {rule}─┐", Role.RULE)))
        pad = (inner - cells(line(cell.value))) // 2
        value = left(line(" " * pad, Span(cell.value, _strong(cell.role))), inner)
        middle.append(line(Span("│", Role.RULE), value, Span("│", Role.RULE)))
        bottom.append(line(Span(f"└{'─' * inner}┘", Role.RULE)))
    return [join(row, line(_GAP)) for row in (top, middle, bottom)]


def _strong(role: Role) -> Role:
    return {Role.OK: Role.LARGE_OK, Role.WARN: Role.LARGE_WARN}.get(role, role)


def small(found: tuple[Cell, ...]) -> Line:
    return join([line(Span(f"{cell.name} ", Role.DIM), Span(cell.value, cell.role)) for cell in found], line("   "))


def bar(said: str, role: Role, width: int, end: str = "") -> Line:
    """Return a full-width bar: how it ended."""
    start = f" {said}"
    room = width - cells(line(end)) - 1
    return line(Span(_filled(start, room) + f"{end} ", role)) if end else line(Span(_filled(start, width), role))


def _filled(text: str, width: int) -> str:
    return "".join(span.text for span in left(line(text), width)) if width > 0 else ""
