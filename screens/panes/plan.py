"""A plan as it is read before it is confirmed: why, changes, preconditions, what it costs, how to undo it."""

from dataclasses import dataclass

from console.recovery.model import Change, Plan
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome, can_be_rehearsed
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, cells, crop, hanging, line, spread, tail, wrap
from console.widgets.pane import Content, Room
from screens.panes.cost import CELLS, large, small
from screens.panes.cost import costs as figures_of

_SIGNS = {
    "create": "+",
    "copy": "+",
    "remove": "-",
    "rename": "~",
    "overwrite": "~",
    "command": "$",
    "sql": "$",
    "lock": "•",
}


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan, what became of the one before it where that was void, and its rehearsal."""

    plan: Plan
    void: tuple[str, ...] = ()  # what has changed since the plan that was shown before
    rehearsing: bool = False
    rehearsal: Rehearsal | None = None  # how the last rehearsal of this plan ended


def why(view: PlanView, room: Room) -> Content:
    """Return why this action, how sure it is, and what stands against it."""
    plan = view.plan
    lines: list[Line] = []
    if view.void:
        lines.extend(wrap("The previous plan is void: the station has changed.", room.width, Role.BAD))
        lines.extend(line("  ", crop(line(Span(name, Role.PLAIN)), room.width - 2)) for name in view.void[:4])
    for refusal in plan.refused:
        lines.extend(hanging(line(Span(f"{glyphs.BAD} REFUSED ", Role.BAD)), refusal.reason, room.width, Role.STRONG))
        lines.extend(hanging(line(Span(f"  instead {glyphs.ARROW} ", Role.KEY)), refusal.instead, room.width))
    for warning in plan.warnings:
        lines.extend(hanging(line(Span("! ", Role.WARN)), warning, room.width))
    lines.extend(wrap(plan.why, room.width))
    for left_out in plan.left_out:
        lines.extend(hanging(line(Span("• not checked: ", Role.DIM)), left_out, room.width, Role.DIM))
    target = f" on {plan.table}" if plan.table else ""
    what = "undo" if plan.action == "undo" else f"why {plan.action}"
    note, brief = (line(Span(text, Role.DIM)) for text in (f"plan {plan.plan_id[:8]}", plan.plan_id[:8]))
    return Content(f"{what}{target}", tuple(lines), note, more="more lines", brief=brief)


def changes(view: PlanView, room: Room) -> Content:
    """Return every stage with the exact changes it makes, and how to undo it."""
    directory = view.plan.directory
    base = f"{directory}/" if directory else ""
    lines: list[Line] = []
    for number, stage in enumerate(view.plan.stages, 1):
        lines.extend(hanging(line(Span(f"{number} ", Role.DIM)), stage.title, room.width, Role.STRONG))
        for change in stage.changes:
            lines.extend(_change(change, base, room.width))
    if not view.plan.stages:
        lines.append(line(Span("nothing changes", Role.DIM)))
    lines.extend(hanging(line(Span("undo  ", Role.DIM)), view.plan.undo, room.width, Role.DIM))
    needed = view.plan.disk_needed
    notes = [f"in {directory}"] if directory else []
    notes += [f"writes {figures.size(needed)}"] if needed else []
    note, brief = (line(Span(text, Role.DIM)) for text in (", ".join(notes), notes[-1] if notes else ""))
    return Content("what will change", tuple(lines), note, more="more lines", brief=brief)


def _change(change: Change, base: str, width: int) -> list[Line]:
    """Return one change: what is made of what, on one line where it fits. Paths start at the table's directory."""
    sign = _SIGNS.get(change.kind, "•")
    role = Role.WARN if sign in "~-" else Role.ACCENT
    size = line(Span(f" {figures.count(change.size)} bytes", Role.DIM)) if change.size is not None else BLANK
    target = change.target.removeprefix("db/").removeprefix(base)
    before, after = change.before.replace(base, "") if base else change.before, change.after
    after = after.replace(base, "") if base else after
    text = f"{before} {glyphs.ARROW} {after}" if before else after
    head = line("  ", Span(f"{sign} ", role), target)
    if text and cells(head) + cells(size) + len(text) + 3 <= width:
        return [spread(line(head, "  ", Span(text, Role.DIM)), size, width)]
    room = width - cells(size) - 5
    head = line("  ", Span(f"{sign} ", role), tail(line(target), room))  # the name at the end tells files apart
    return [spread(head, size, width), *(line("    ", row) for row in wrap(text, width - 4, Role.DIM))]


def must_hold(view: PlanView, room: Room) -> Content:
    """Return the preconditions, whether they are met, and the evidence; what a rehearsal showed first."""
    lines: list[Line] = _rehearsal(view, room.width)
    for requirement in view.plan.requirements:
        glyph, role = (glyphs.OK, Role.OK) if requirement.holds else (glyphs.BAD, Role.BAD)
        word = "" if requirement.holds else "NO "
        text = f"{requirement.claim}: {requirement.evidence}" if requirement.evidence else requirement.claim
        lines.extend(hanging(line(Span(f"{glyph} {word}", role)), text, room.width))
    return Content("preconditions", tuple(lines) or (line(Span("none", Role.DIM)),), more="more lines")


def _rehearsal(view: PlanView, width: int) -> list[Line]:
    ended = view.rehearsal
    if ended is None or ended.outcome is RehearsalOutcome.NOT_NEEDED:
        return []
    if ended.outcome is RehearsalOutcome.PASSED:
        return hanging(line(Span(f"{glyphs.OK} ", Role.OK)), f"rehearsed: {ended.message}", width)
    word = "rehearsal FAILED: " if ended.outcome is RehearsalOutcome.FAILED else "not rehearsed: "
    return hanging(line(Span(f"{glyphs.BAD} NO ", Role.BAD)), f"{word}{ended.message}", width)


def cost(view: PlanView, room: Room) -> Content:
    """Return rows lost, rows recovered and possible duplicates: large, for they decide."""
    found = figures_of(view.plan)
    lines = large(found, room.width) if room.height >= CELLS and view.plan.table else [small(found)]
    return Content("cost, in rows", tuple(lines), _rehearsed(view))


def _rehearsed(view: PlanView) -> Line:
    """Return in a word or two how far the plan's rehearsal is, empty where there is nothing to rehearse."""
    if view.rehearsing:
        return line(Span(f"{glyphs.BUSY} being rehearsed", Role.ACCENT))
    if view.plan.rehearsed:
        return line(Span(f"{glyphs.OK} rehearsed", Role.OK))
    if view.rehearsal is not None and view.rehearsal.outcome is RehearsalOutcome.FAILED:
        return line(Span(f"{glyphs.BAD} rehearsal FAILED", Role.BAD))
    return line(Span("not rehearsed", Role.DIM)) if can_be_rehearsed(view.plan) else BLANK


def changed_facts(old: Plan, new: Plan) -> tuple[str, ...]:
    before = {fact.name: fact.digest for fact in old.facts}
    after = {fact.name: fact.digest for fact in new.facts}
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
