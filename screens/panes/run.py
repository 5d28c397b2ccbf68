"""A run as it is watched: stages with their times, then the proof, what comes next, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        head = line(left(line(Span(f"{glyph} {word}", role)), 10), stage.title)
        lines.append(spread(head, right(line(Span(took, Role.DIM)), 7), room.width))
        if stage.message and stage.state in {"goes on", "begins", "failed"}:
            lines.extend(line(" " * 10, row) for row in wrap(stage.message + _share(stage), room.width - 10, Role.DIM))
    spent = line(Span(figures.duration(view.now - view.began), Role.DIM)) if not view.over else BLANK
    target = f" on {view.plan.table}" if view.plan.table else ""
    return Content(f"stages of {view.plan.action}{target}", tuple(lines), spent, more="more lines")


def _share(stage: StageView) -> str:
    if stage.done is None or not stage.total:
        return ""
    return (
        f"  {figures.size(stage.done)} of {figures.size(stage.total)}"
        if stage.total > 9999
        else (f"  {stage.done} of {stage.total}")
    )


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
    lines.extend(_claims(result.verification, room.width))
    if result.next_step:
        lines.extend(hanging(line(Span("next  ", Role.KEY)), result.next_step, room.width, Role.STRONG))
    if result.entry and result.outcome is Outcome.DONE:
        lines.extend(hanging(line(Span("undo  ", Role.DIM)), view.plan.undo, room.width, Role.DIM))
        lines.append(line(Span("      walmedic undo ", Role.DIM), Span(result.entry, Role.DIM)))
    note = line(Span(f"entry {result.entry}", Role.DIM)) if result.entry else BLANK
    return Content("proof", tuple(lines), note, more="more lines")


def _claims(claims: Sequence[Claim], width: int) -> list[Line]:
    lines: list[Line] = []
    values = min(max((len(c.expected) for c in claims), default=0), width // 4)
    found = min(max((len(c.found) for c in claims), default=0), width // 4)
    claimed = max(10, width - values - found - 26)
    for claim in claims:
        glyph, role = (glyphs.OK, Role.OK) if claim.ok else (glyphs.BAD, Role.BAD)
        text = wrap(claim.claim, claimed)
        row = line(
            Span(f"{glyph} ", role),
            left(text[0] if text else BLANK, claimed),
            Span("  expected ", Role.DIM),
            right(line(claim.expected), values),
            Span("  found ", Role.DIM),
            right(line(Span(claim.found, Role.STRONG if claim.ok else Role.BAD)), found),
        )
        lines.append(row)
        lines.extend(line("  ", more) for more in text[1:])
    return lines
