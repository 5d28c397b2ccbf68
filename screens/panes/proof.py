"""How a run or a rehearsal ended: what proves it, what comes next, and how to undo it."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from console.recovery.model import Claim, Outcome, Plan, RunResult, proven_in_words
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome
from console.text import plural
from console.widgets import glyphs
from console.widgets.line import BLANK, Line, Role, Span, hanging, left, line, right, wrap
from console.widgets.pane import Content, Room
from screens.panes.cost import bar, costs, large, small
from screens.panes.run import RunView

_OUTCOMES = {
    Outcome.DONE: (glyphs.OK, "DONE AND VERIFIED", Role.BAR_OK),
    Outcome.NOT_NEEDED: (glyphs.OK, "NOTHING TO DO", Role.BAR_OK),
    Outcome.FAILED: (glyphs.BAD, "FAILED", Role.BAR_BAD),
    Outcome.ROLLED_BACK: (glyphs.BAD, "FAILED AND ROLLED BACK", Role.BAR_WARN),
    Outcome.REFUSED: (glyphs.BAD, "REFUSED", Role.BAR_WARN),
    Outcome.UNFINISHED: (glyphs.WARN, "UNFINISHED", Role.BAR_BAD),
}
REHEARSALS = {
    RehearsalOutcome.PASSED: (glyphs.OK, "PASSED", Role.BAR_OK),
    RehearsalOutcome.NOT_NEEDED: (glyphs.OK, "NOTHING TO REHEARSE", Role.BAR_OK),
    RehearsalOutcome.FAILED: (glyphs.BAD, "FAILED", Role.BAR_BAD),
    RehearsalOutcome.REFUSED: (glyphs.BAD, "NOT REHEARSED", Role.BAR_WARN),
}
_AGAIN = "The same step, which has just failed: remove the cause that stands above first."
_ROOMY = 12  # lines of the pane from which on the cost stands in large cells
_READING = 110  # cells of the longest line that an eye follows
_COLUMN = 17  # cells for expected and found at least: a time of day, whole


def proof(view: RunView, room: Room) -> Content:
    """Return how it ended and what proves it, what comes next, and how to undo it."""
    if view.error:
        return Content("outcome", tuple(hanging(line(Span(f"{glyphs.BAD} ", Role.BAD)), view.error, room.width)))
    if isinstance(view.result, Rehearsal):
        return _rehearsal(view.result, room)
    if view.result is None:
        return _at_work(view, room)
    return _run(view, view.result, room)


def _at_work(view: RunView, room: Room) -> Content:
    if view.cancelled:
        hint = "Being cancelled: its server is stopped and the clone is removed…"
    elif view.rehearses:
        hint = "The original is only read. Keeps running if you leave this screen; c cancels it and removes the clone."
    else:
        hint = "Keeps running if you leave this screen or close the console."
    lines = [*wrap(view.found, room.width, Role.STRONG), *wrap(hint, room.width, Role.DIM)]
    return Content("proof", tuple(lines))


def _run(view: RunView, result: RunResult, room: Room) -> Content:
    glyph, word, role = _OUTCOMES[result.outcome]
    done = result.outcome is Outcome.DONE
    passed = sum(claim.proven for claim in result.verification)
    checks = f"{plural(passed, 'check')} passed" if passed else ""
    lines = [bar(f"{glyph} {'UNDONE' if view.undoes and done else word}", role, room.width, checks)]
    if result.outcome is Outcome.ROLLED_BACK:
        lines.extend(wrap(_as_before(view.plan), room.width, Role.STRONG))
    if result.message != proven_in_words(result.verification):
        lines.extend(wrap(result.message, min(room.width, _READING)))
    if view.plan.table and done and not view.undoes:
        roomy = room.height >= _ROOMY
        lines.extend(large(costs(view.plan), room.width) if roomy else [small(costs(view.plan))])
    # What to do now stands above the claims: they may be more than there is room for. What failed comes first.
    lines.extend(_next(view, result, room))
    if result.entry and done:
        back, key = ("back  ", "") if view.undoes else ("undo  ", "u  ")
        label = line(Span(back, Role.DIM), Span(key, Role.KEY))
        lines.extend(hanging(label, view.plan.undo, room.width, Role.DIM))
    lines.extend(claims(result.verification, min(room.width, _READING)))
    note = line(Span(f"entry {result.entry}", Role.DIM)) if result.entry else BLANK
    return Content("proof", tuple(lines), note, more="more lines")


def _next(view: RunView, result: RunResult, room: Room) -> Iterator[Line]:
    """Yield what to do now: the next step of the way, that it is over, or what the run itself said."""
    way, label = view.way, Span("next  ", Role.KEY)
    if way is not None and way.first is not None:
        first = way.first
        number = f"{way.next.number} " if way.next is not None else ""
        yield line(label, Span(f"{number}{' '.join(filter(None, (first.action, first.table)))}", Role.STRONG))
        same = (first.action, first.table) == (view.plan.action, view.plan.table)
        again = same and result.outcome is not Outcome.DONE
        why = _AGAIN if again else first.reason
        yield from (line(" " * 6, row) for row in wrap(why, min(room.width, _READING) - 6))
    elif view.asks:
        yield line(label, Span("finding the next step…", Role.DIM))
    elif way is not None and way.recovered is not None:
        yield from hanging(line(Span(f"{glyphs.OK} ", Role.OK)), way.recovered.sentence, room.width, Role.STRONG)
    elif result.next_step:
        yield from hanging(line(label), result.next_step, room.width, Role.STRONG)


def _as_before(plan: Plan) -> str:
    """Return what a run that was rolled back left: each stage was taken back, last first."""
    if plan.table is None:
        return "Every stage was undone: the station is as it was."
    return f"Every stage was undone: {plan.table} is byte for byte as it was."


def _rehearsal(ended: Rehearsal, room: Room) -> Content:
    glyph, word, role = REHEARSALS[ended.outcome]
    lines = [bar(f"{glyph} {word}", role, room.width), *wrap(ended.message, min(room.width, _READING))]
    differ = [claim for claim in ended.verification if not claim.ok]
    if compared := [claim for claim in ended.verification if not claim.noted]:
        counted = f"{plural(len(compared), 'check')}, {f'{len(differ)} not' if differ else 'all'} as expected"
        lines.append(line(Span(counted, Role.BAD if differ else Role.STRONG)))
    if ended.outcome is RehearsalOutcome.PASSED:
        lines.extend(
            hanging(line(Span("next  ", Role.KEY)), "Esc: back to the plan, which can be confirmed now", room.width)
        )
    for left_out in ended.left_out:
        lines.extend(hanging(line(Span("• not checked: ", Role.DIM)), left_out, room.width, Role.DIM))
    lines.extend(claims(ended.verification, min(room.width, _READING)))
    note = line(Span(f"{ended.seconds:.0f} s on a clone", Role.DIM)) if ended.id else BLANK
    return Content("proof by rehearsal", tuple(lines), note, more="more lines")


def claims(proven: Sequence[Claim], width: int) -> list[Line]:
    """Return each claim with what was expected and what was found, in two columns with a heading. Nothing is cut.

    What does not hold comes first, notes come last.
    """
    if not proven:
        return []
    proven = sorted(proven, key=lambda claim: (claim.ok, claim.noted))
    expected, found = (
        min(max(cell_len(text) for text in (heading, *texts)), max(width // 4, _COLUMN))
        for heading, texts in (("expected", [c.expected for c in proven]), ("found", [c.found for c in proven]))
    )
    claimed = max(10, width - expected - found - 6)
    heading = (right(line(Span(text, Role.DIM)), size) for text, size in (("expected", expected), ("found", found)))
    lines = [line(" " * (claimed + 2), *(line("  ", cell) for cell in heading))]
    for claim in proven:
        glyph, role = (glyphs.OK, Role.OK) if claim.proven else (glyphs.BAD, Role.BAD)
        if claim.noted:
            glyph, role = ("•", Role.DIM)
        tone = Role.STRONG if claim.ok else Role.BAD
        columns = (wrap(claim.claim, claimed), wrap(claim.expected, expected), wrap(claim.found, found, tone))
        for number, (said, wanted, seen) in enumerate(zip_longest(*columns, fillvalue=BLANK)):
            mark = Span(f"{glyph} ", role) if not number else "  "
            lines.append(line(mark, left(said, claimed), "  ", right(wanted, expected), "  ", right(seen, found)))
    return lines
