"""A run as it is watched: stages with their times, then the proof, what comes next, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from console.recovery.model import Claim, Outcome, Plan, Progress, RunResult
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, hanging, left, line, right, spread, wrap
from console.widgets.pane import Content, Room

_STATES = {
    "waits": ("·", "waits", Role.DIM),
    "begins": (glyphs.BUSY, "working", Role.ACCENT),
    "goes on": (glyphs.BUSY, "working", Role.ACCENT),
    "done": (glyphs.OK, "done", Role.OK),
    "failed": (glyphs.BAD, "FAILED", Role.BAD),
}
_OUTCOMES = {
    Outcome.DONE: (glyphs.OK, "DONE AND VERIFIED", Role.OK),
    Outcome.NOT_NEEDED: (glyphs.OK, "NOTHING TO DO", Role.OK),
    Outcome.FAILED: (glyphs.BAD, "FAILED", Role.BAD),
    Outcome.ROLLED_BACK: ("!", "FAILED AND ROLLED BACK", Role.WARN),
    Outcome.REFUSED: (glyphs.BAD, "REFUSED", Role.BAD),
    Outcome.UNFINISHED: ("!", "UNFINISHED", Role.BAD),
}


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage as far as it got; times in seconds of the console's monotonic clock."""

    id: str
    title: str
    state: str = "waits"
    message: str = ""
    done: int | None = None
    total: int | None = None
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as far as it is known. `error` is what kept it from starting or from being watched."""

    plan: Plan
    stages: tuple[StageView, ...]
    began: float
    now: float
    entry: str = ""
    result: RunResult | None = None
    error: str = ""

    @classmethod
    def of(cls, plan: Plan, now: float) -> "RunView":
        """Return a run of which nothing is known yet."""
        return cls(plan, tuple(StageView(stage.id, stage.title) for stage in plan.stages), now, now)

    def taking(self, told: Sequence[Progress], now: float) -> "RunView":
        """Return the run after what the executor told; stages that the plan does not name come last."""
        stages = {stage.id: stage for stage in self.stages}
        entry = self.entry
        for progress in told:
            entry = progress.entry or entry
            stage = stages.get(progress.stage) or StageView(progress.stage, progress.title)
            ended = now if progress.state in {"done", "failed"} else None
            stages[progress.stage] = replace(
                stage,
                state=progress.state,
                message=progress.message,
                done=progress.done,
                total=progress.total,
                began=stage.began if stage.began is not None else now,
                ended=ended,
            )
        return replace(self, stages=tuple(stages.values()), entry=entry, now=now)

    @property
    def over(self) -> bool:
        """Return whether there is nothing more to wait for."""
        return self.result is not None or bool(self.error)


def stages(view: RunView, room: Room) -> Content:
    """Return the stages; the one at work says how far it is."""
    lines: list[Line] = []
    for stage in view.stages:
        glyph, word, role = _STATES.get(stage.state, (glyphs.BUSY, stage.state, Role.PLAIN))
        took = ""
        if stage.began is not None and stage.ended is not None:
            took = f"{stage.ended - stage.began:.1f}s"
        elif stage.began is not None and not view.over:
            took = figures.duration(view.now - stage.began)
        rows = wrap(stage.title, room.width - 10 - 26) or [BLANK]
        end = line(Span(_share(stage), Role.DIM), right(line(Span(took, Role.DIM)), 7))
        lines.append(spread(line(left(line(Span(f"{glyph} {word}", role)), 10), rows[0]), end, room.width))
        lines.extend(line(" " * 10, row) for row in rows[1:])
        if stage.message and stage.state in {"goes on", "begins", "failed"}:
            lines.extend(line(" " * 10, row) for row in wrap(stage.message, room.width - 10, Role.DIM))
    spent = line(Span(figures.duration(view.now - view.began), Role.DIM)) if not view.over else BLANK
    target = f" on {view.plan.table}" if view.plan.table else ""
    return Content(f"stages of {view.plan.action}{target}", tuple(lines), spent, more="more lines")


def _share(stage: StageView) -> str:
    """Return how far the stage at work is: bytes, or a count of few things."""
    if stage.done is None or not stage.total or stage.ended is not None:
        return ""
    if stage.total > 9_999:
        return f"{figures.size(stage.done)} of {figures.size(stage.total)}"
    return f"{stage.done} of {stage.total}"


def proof(view: RunView, room: Room) -> Content:
    """Return how it ended and what proves it, what comes next, and the way back."""
    if view.error:
        return Content("outcome", tuple(hanging(line(Span(f"{glyphs.BAD} ", Role.BAD)), view.error, room.width)))
    result = view.result
    if result is None:
        text = "It goes on by itself, also when this screen or the console is closed."
        return Content("proof", (line(Span(text, Role.DIM)),))
    glyph, word, role = _OUTCOMES[result.outcome]
    lines = hanging(line(Span(f"{glyph} {word}  ", role)), result.message, room.width)
    # What to do now stands above the claims: they may be more than there is room for. What failed comes first.
    if result.next_step:
        lines.extend(hanging(line(Span("next  ", Role.KEY)), result.next_step, room.width, Role.STRONG))
    if result.entry and result.outcome is Outcome.DONE:
        undo = f"walmedic undo {result.entry}   {view.plan.undo}"
        lines.extend(hanging(line(Span("undo  ", Role.DIM)), undo, room.width, Role.DIM))
    lines.extend(_claims(sorted(result.verification, key=lambda claim: claim.ok), room.width))
    note = line(Span(f"entry {result.entry}", Role.DIM)) if result.entry else BLANK
    return Content("proof", tuple(lines), note, more="more lines")


def _claims(claims: Sequence[Claim], width: int) -> list[Line]:
    """Return each claim with what was expected and what was found, in two columns with a heading."""
    if not claims:
        return []
    expected, found = (
        min(max(cell_len(text) for text in (heading, *texts)), width // 3)
        for heading, texts in (("expected", [c.expected for c in claims]), ("found", [c.found for c in claims]))
    )
    claimed = max(10, width - expected - found - 6)
    heading = (right(line(Span(text, Role.DIM)), size) for text, size in (("expected", expected), ("found", found)))
    lines = [line(" " * (claimed + 2), *(line("  ", cell) for cell in heading))]
    for claim in claims:
        glyph, role = (glyphs.OK, Role.OK) if claim.ok else (glyphs.BAD, Role.BAD)
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
