"""Actions: what is open now, what is not and why, and what comes first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from console.diagnosis.model import DatabaseReport, Verdict
from console.recovery.model import Availability, Danger
from console.widgets import glyphs
from console.widgets.choice import Item
from console.widgets.line import BLANK, Line, Role, Span, hanging, left, line, wrap
from console.widgets.pane import Content, Room

_TOUCHES = {
    Danger.SAFE: ("touches no data", Role.DIM),
    Danger.SERVICE: ("touches running services", Role.WARN),
    Danger.DATA: ("touches a table's files", Role.BAD),
}
_NAMES = 19

T = TypeVar("T")


def matching(actions: Sequence[Availability], typed: str) -> list[Availability]:
    """Return the actions that hold `typed` in id or title; where none does, those that hold its letters in order."""
    return found_by(actions, typed, lambda action: (action.spec.id, action.spec.title))


def found_by(items: Sequence[T], typed: str, names: Callable[[T], tuple[str, ...]]) -> list[T]:
    """Return the items one of whose names holds `typed`; if none does, those that hold its letters in order."""
    wanted = typed.lower().strip()
    whole = [item for item in items if any(wanted in name.lower() for name in names(item))]
    return whole or [item for item in items if any(_in_order(wanted, name.lower()) for name in names(item))]


def _in_order(typed: str, text: str) -> bool:
    letters = iter(text)
    return all(letter in letters for letter in typed.replace(" ", ""))


@dataclass(frozen=True, slots=True)
class Advice:
    """The text where no action is recommended: that all is well, or what a person can do."""

    text: str
    well: bool


def advice_of(report: DatabaseReport | None, table: str | None) -> Advice:
    """Return what to say in place of a recommended action."""
    if report is not None and report.healthy:
        return Advice("nothing to do: every table is healthy", well=True)
    reports = report.worst_first() if report is not None else []
    found = next((each for each in reports if each.table == table), reports[0] if reports else None)
    if found is not None and found.verdict is not Verdict.HEALTHY and found.next_step.reason:
        return Advice(f"by hand: {found.next_step.advice}", well=False)
    return Advice("no action helps now", well=False)


NOTHING = "nothing"
"""Key of the line on which the cursor stands where no action is recommended: Enter does nothing there."""


KNOWN = "known"
"""Key of the line of the next step as it is known before the engine has answered."""


def known_step(action: str, table: str | None, reason: str, width: int) -> list[Item]:
    """Return the list of the palette before the engine has answered: the next step, which is known."""
    name = " ".join(filter(None, (action, table)))
    row = line(Span(f"{glyphs.OK} ", Role.OK), Span(name, Role.STRONG), "  ", Span(reason, Role.DIM))
    return [Item("", line(Span("recommended now", Role.DIM))), Item(KNOWN, left(row, width))]


def items(
    actions: Sequence[Availability],
    typed: str,
    width: int,
    advice: Advice,
    heading: str = "recommended now",
    reason: str = "",
) -> list[Item]:
    """Return the list of the palette: the recommended step, then what is open, then what is blocked.

    Where nothing is recommended it begins with `advice`, so that no action is preselected. `reason` says why the
    recommended step is.
    """
    shown = matching(actions, typed)
    groups = (
        (heading, [a for a in shown if a.recommended]),
        ("open now", [a for a in shown if a.open and not a.recommended]),
        ("not now", [a for a in shown if not a.open and not a.recommended]),
    )
    listed: list[Item] = []
    if actions and not typed and not any(action.recommended for action in actions):
        glyph, role = (glyphs.OK, Role.OK) if advice.well else (glyphs.WARN, Role.WARN)
        listed.append(Item(NOTHING, left(line(Span(f"{glyph} ", role), Span(advice.text, Role.STRONG)), width)))
    for heading, members in groups:
        if members:
            listed.append(Item("", line(Span(heading, Role.DIM))))
            listed.extend(Item(action.spec.id, _action(action, width, reason)) for action in members)
    if actions and not listed:
        listed.append(Item("", line(Span(f"no action matches {typed.strip()}", Role.WARN))))
    return listed


def _action(action: Availability, width: int, reason: str) -> Line:
    glyph, role = (glyphs.OK, Role.OK) if action.open else (glyphs.BAD, Role.WARN)
    why = reason if action.recommended else ""
    caption = (why or action.spec.title) if action.open else action.refusals[0].reason
    row = line(
        Span(f"{glyph} ", role),
        left(line(Span(action.spec.id, Role.STRONG if action.open else Role.PLAIN)), _NAMES),
        Span(caption, Role.PLAIN if action.open else Role.DIM),
    )
    return left(row, width)


def detail(action: Availability | None, room: Room) -> Content:
    """Return what the action under the cursor is, and all that stands against it."""
    if action is None:
        return Content("no action matches")
    touches, role = _TOUCHES[action.spec.danger]
    lines: list[Line] = [*wrap(action.spec.summary, room.width)]
    for refusal in action.refusals:
        lines.extend(hanging(line(Span(f"{glyphs.BAD} ", Role.WARN)), refusal.reason, room.width))
        lines.extend(
            hanging(line(Span(f"  first {glyphs.ARROW} ", Role.KEY)), refusal.instead, room.width, Role.STRONG)
        )
    lines.extend(hanging(line(Span("undo  ", Role.DIM)), action.spec.undo, room.width, Role.DIM))
    return Content(action.spec.id, tuple(lines), line(Span(touches, role)))


def advised(advice: Advice, room: Room) -> Content:
    """Return the whole sentence of the line that stands in place of a recommended action."""
    return Content("nothing to do" if advice.well else "no action", tuple(wrap(advice.text, room.width, Role.STRONG)))


def nothing(message: str, room: Room) -> Content:
    return Content("actions", tuple(wrap(message, room.width)) or (BLANK,))
