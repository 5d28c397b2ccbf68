"""The confirmation below a plan: what to type, or why nothing can be typed."""

from dataclasses import dataclass

from console.recovery.model import Plan
from console.recovery.rehearsal.model import RehearsalOutcome, can_be_rehearsed
from console.text import plural
from console.widgets.line import BLANK, Line, Role, Span, cells, hanging, line, wrap
from console.widgets.pane import Content, Room
from screens.panes.plan import PlanView


@dataclass(frozen=True, slots=True)
class ConfirmView:
    """The plan to confirm, whether operate mode is armed, and the answer to what was typed."""

    view: PlanView | None
    armed: bool
    answer: Line = BLANK


def confirmation(confirm: ConfirmView, room: Room) -> Content:
    view, answer = confirm.view, confirm.answer
    if view is None:
        return Content("confirmation", (answer,))
    plan = view.plan
    if plan.refused:
        text = "Refused now, for the reasons above. Nothing can be confirmed."
        return Content("confirmation", (*wrap(text, room.width, Role.WARN), answer))
    if not plan.needed:
        return Content("confirmation", (line(Span("Nothing to do.", Role.OK)), answer))
    if not confirm.armed:
        closed = line(Span("Closed: this is observe mode. ", Role.WARN), Span("F2", Role.KEY), " arms operate mode.")
        phrase = line(Span("It asks for  ", Role.DIM), Span(plan.confirmation, Role.STRONG))
        return Content("confirmation", (closed, answer or _urge(view) or phrase))
    asked = _asked(plan.confirmation, room.width)
    return Content("confirmation", (*asked, *([answer or _urge(view)] if len(asked) < room.height else [])))


def _asked(phrase: str, width: int) -> list[Line]:
    """Return what to type: the phrase whole at any width, and what else there is room for."""
    start = line("Type  ", Span(phrase, Role.STRONG))
    back = Span("   Esc goes back", Role.DIM)
    for end in (line("  and Enter to do it", back), line("  and Enter to do it"), line("  and Enter"), BLANK):
        if cells(start) + cells(end) <= width:
            return [line(start, end)]
    return hanging(line("Type  "), phrase, width, Role.STRONG)


def _urge(view: PlanView) -> Line:
    """Return the sentence that urges a rehearsal where rows hang on the plan and none has passed."""
    plan = view.plan
    if plan.rehearsed or not can_be_rehearsed(plan):
        return BLANK
    key = Span("F3", Role.KEY)
    if view.rehearsing:
        return line(Span("rehearsal running: ", Role.ACCENT), key, " shows it")
    if view.rehearsal is not None and view.rehearsal.outcome is RehearsalOutcome.FAILED:
        return line(Span("! rehearsal FAILED: ", Role.BAD), key, " shows what was not as expected")
    rows = at_stake(plan)
    if rows is None:
        return line(Span("! the number of rows lost is unknown. ", Role.WARN), key, ": rehearse on a clone first")
    if rows:
        affected = f"! Affects {plural(rows, 'row')}. "
        return line(Span(affected, Role.WARN), key, ": rehearse on a clone first")
    return line(key, Span(": rehearse on a clone first", Role.DIM))


def at_stake(plan: Plan) -> int | None:
    """Return the rows that hang on a plan: that come back, are lost or may come twice; None for an unknown loss."""
    if plan.rows_lost.kind == "unknown" or plan.rows_lost.value is None:
        return None
    return max(plan.rows_back, plan.rows_lost.value, plan.rows_maybe_twice)
