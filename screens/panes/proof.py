"""How a run or a rehearsal ended: what proves it, what comes next, and the way back."""

from collections.abc import Sequence

from rich.cells import cell_len

from console.recovery.model import Claim, Outcome, RunResult
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome
from console.text import plural
from console.widgets import glyphs
from console.widgets.line import BLANK, Line, Role, Span, hanging, left, line, right, wrap
from console.widgets.pane import Content, Room
from screens.panes.run import RunView

_OUTCOMES = {
    Outcome.DONE: (glyphs.OK, "DONE AND VERIFIED", Role.OK),
    Outcome.NOT_NEEDED: (glyphs.OK, "NOTHING TO DO", Role.OK),
    Outcome.FAILED: (glyphs.BAD, "FAILED", Role.BAD),
    Outcome.ROLLED_BACK: ("!", "FAILED AND ROLLED BACK", Role.WARN),
    Outcome.REFUSED: (glyphs.BAD, "REFUSED", Role.BAD),
    Outcome.UNFINISHED: ("!", "UNFINISHED", Role.BAD),
}
REHEARSALS = {
    RehearsalOutcome.PASSED: (glyphs.OK, "PASSED", Role.OK),
    RehearsalOutcome.NOT_NEEDED: (glyphs.OK, "NOTHING TO REHEARSE", Role.OK),
    RehearsalOutcome.FAILED: (glyphs.BAD, "FAILED", Role.BAD),
    RehearsalOutcome.REFUSED: (glyphs.BAD, "NOT REHEARSED", Role.WARN),
}


def proof(view: RunView, room: Room) -> Content:
    """Return how it ended and what proves it, what comes next, and the way back."""
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
        hint = "The original is only read. It goes on when this screen is left; c cancels it and removes the clone."
    else:
        hint = "It goes on by itself, also when this screen or the console is closed."
    lines = [*wrap(view.found, room.width, Role.STRONG), *wrap(hint, room.width, Role.DIM)]
    return Content("proof", tuple(lines))


def _run(view: RunView, result: RunResult, room: Room) -> Content:
    glyph, word, role = _OUTCOMES[result.outcome]
    if view.undoes and result.outcome is Outcome.DONE:
        word = "UNDONE"
    lines = hanging(line(Span(f"{glyph} {word}  ", role)), result.message, room.width)
    # What to do now stands above the claims: they may be more than there is room for. What failed comes first.
    if view.next is not None:
        step = " ".join(filter(None, (view.next.action, view.next.table)))
        lines.append(line(Span("next  ", Role.KEY), Span(step, Role.STRONG)))
        lines.extend(line(" " * 6, row) for row in wrap(view.next.reason, room.width - 6))
    elif view.asks:
        lines.append(line(Span("next  ", Role.KEY), Span("finding the next step…", Role.DIM)))
    elif view.ending:
        lines.extend(hanging(line(Span(f"{glyphs.OK} ", Role.OK)), view.ending, room.width, Role.STRONG))
    elif result.next_step:
        lines.extend(hanging(line(Span("next  ", Role.KEY)), result.next_step, room.width, Role.STRONG))
    if result.entry and result.outcome is Outcome.DONE:
        label = line(
            Span("back  " if view.undoes else "undo  ", Role.DIM), Span("" if view.undoes else "u  ", Role.KEY)
        )
        lines.extend(hanging(label, view.plan.undo, room.width, Role.DIM))
    lines.extend(claims(result.verification, room.width))
    note = line(Span(f"entry {result.entry}", Role.DIM)) if result.entry else BLANK
    return Content("proof", tuple(lines), note, more="more lines")


def _rehearsal(ended: Rehearsal, room: Room) -> Content:
    glyph, word, role = REHEARSALS[ended.outcome]
    lines = hanging(line(Span(f"{glyph} {word}  ", role)), ended.message, room.width)
    differ = [claim for claim in ended.verification if not claim.ok]
    if compared := [claim for claim in ended.verification if not claim.noted]:
        counted = f"{plural(len(compared), 'claim')}, {f'{len(differ)} not' if differ else 'all'} as expected"
        lines.append(line(Span(counted, Role.BAD if differ else Role.STRONG)))
    if ended.outcome is RehearsalOutcome.PASSED:
        lines.extend(
            hanging(line(Span("next  ", Role.KEY)), "Esc goes back to the plan, which can be confirmed", room.width)
        )
    for left_out in ended.left_out:
        lines.extend(hanging(line(Span("• left out: ", Role.DIM)), left_out, room.width, Role.DIM))
    lines.extend(claims(ended.verification, room.width))
    note = line(Span(f"{ended.seconds:.0f} s on a clone", Role.DIM)) if ended.id else BLANK
    return Content("proof by rehearsal", tuple(lines), note, more="more lines")


def claims(proven: Sequence[Claim], width: int) -> list[Line]:
    """Return each claim with what was expected and what was found, in two columns with a heading.

    What does not hold comes first, notes come last.
    """
    if not proven:
        return []
    proven = sorted(proven, key=lambda claim: (claim.ok, claim.noted))
    expected, found = (
        min(max(cell_len(text) for text in (heading, *texts)), width // 4)
        for heading, texts in (("expected", [c.expected for c in proven]), ("found", [c.found for c in proven]))
    )
    claimed = max(10, width - expected - found - 6)
    heading = (right(line(Span(text, Role.DIM)), size) for text, size in (("expected", expected), ("found", found)))
    lines = [line(" " * (claimed + 2), *(line("  ", cell) for cell in heading))]
    for claim in proven:
        glyph, role = (glyphs.OK, Role.OK) if claim.proven else (glyphs.BAD, Role.BAD)
        if claim.noted:
            glyph, role = ("•", Role.DIM)
        text = wrap(claim.claim, claimed) or [BLANK]
        row = line(
            Span(f"{glyph} ", role),
            left(text[0], claimed),
            "  ",
            right(line(claim.expected), expected),
            "  ",
            right(line(Span(claim.found, Role.STRONG if claim.ok else Role.BAD)), found),
        )
        lines.append(row)
        lines.extend(line("  ", more) for more in text[1:])
    return lines
