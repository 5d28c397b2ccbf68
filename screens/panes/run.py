"""A run or a rehearsal as it is watched: its stages with their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from console.recovery.codes import StageState
from console.recovery.model import Plan, Progress, RunResult
from console.recovery.rehearsal.model import Rehearsal
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, cells, left, line, right, spread, wrap
from console.widgets.pane import Content, Room

if TYPE_CHECKING:  # it brings all of the engine with it
    from console.recovery.next_steps.way import Way

_STATES = {
    "waits": ("·", "waits", Role.DIM),
    StageState.BEGINS: (glyphs.BUSY, "working", Role.ACCENT),
    StageState.GOES_ON: (glyphs.BUSY, "working", Role.ACCENT),
    StageState.ASKS: (glyphs.BUSY, "YOUR TURN", Role.WARN),
    StageState.DONE: (glyphs.OK, "done", Role.OK),
    StageState.FAILED: (glyphs.BAD, "FAILED", Role.BAD),
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
    """A run or a rehearsal as far as it is known. `error` is what kept it from starting or from being watched.

    `undoes` is the entry that is taken back, `found` who started what was found at work.
    """

    plan: Plan
    stages: tuple[StageView, ...]
    began: float
    now: float
    entry: str = ""
    result: RunResult | Rehearsal | None = None
    error: str = ""
    undoes: str = ""
    found: str = ""
    rehearses: bool = False
    cancelled: bool = False
    way: Way | None = None  # the steps of the recovery as they are after it
    asks: bool = False  # what comes next is being found out

    @classmethod
    def of(cls, plan: Plan, now: float) -> RunView:
        return cls(plan, tuple(StageView(stage.id, stage.title) for stage in plan.stages), now, now)

    def taking(self, reports: Sequence[Progress], now: float, wall: float) -> RunView:
        """Return the run after what was reported; stages that the plan does not name come last.

        `now` is the monotonic clock, `wall` the time in epoch seconds: what was reported earlier keeps its own time.
        """
        stages = {stage.id: stage for stage in self.stages}
        entry, began = self.entry, self.began
        for progress in reports:
            entry = progress.entry or entry
            at = now if progress.at is None else min(now, now - (wall - progress.at))
            began = min(began, at)
            stage = stages.get(progress.stage) or StageView(progress.stage, progress.title)
            stages[progress.stage] = replace(
                stage,
                state=progress.state,
                message=progress.message,
                done=progress.done,
                total=progress.total,
                began=at if stage.began is None or progress.state == StageState.BEGINS else stage.began,
                ended=at if progress.state in {StageState.DONE, StageState.FAILED} else None,
            )
        return replace(self, stages=tuple(stages.values()), entry=entry, began=began, now=now)

    @property
    def over(self) -> bool:
        return self.result is not None or bool(self.error)


def stages(view: RunView, room: Room) -> Content:
    """Return the stages; the one at work says how far it is. The first ones fold into a line where room is short."""
    blocks = [_stage(stage, view, room.width) for stage in view.stages]
    lines = [row for block in blocks for row in block]
    done = next((at for at, stage in enumerate(view.stages) if stage.state != "done"), len(view.stages))
    for folded in range(2, done + 1):
        if len(lines) <= room.height:
            break
        lines = [_folded(view.stages[:folded], room.width), *(row for block in blocks[folded:] for row in block)]
    spent = line(Span(figures.duration(view.now - view.began), Role.DIM)) if not view.over else BLANK
    what = f"undo of {view.undoes}" if view.undoes else view.plan.action
    target = f" on {view.plan.table}" if view.plan.table else ""
    title = f"rehearsal of {what}{target}, on a clone" if view.rehearses else f"stages of {what}{target}"
    if not lines:
        lines = [line(Span("making the plan, measuring what a clone takes…", Role.DIM))]
    elif not view.over and all(stage.began is None for stage in view.stages):
        lines.append(line(Span("The plan is checked once more before the first stage…", Role.DIM)))
    return Content(title, tuple(lines), spent, more="more lines")


def _stage(stage: StageView, view: RunView, width: int) -> list[Line]:
    glyph, word, role = _STATES.get(stage.state, (glyphs.BUSY, stage.state, Role.PLAIN))
    took = ""
    if stage.began is not None and stage.ended is not None:
        took = f"{stage.ended - stage.began:.1f}s"
    elif stage.began is not None and not view.over:
        took = figures.duration(view.now - stage.began)
    end = line(Span(_share(stage), Role.DIM), right(line(Span(took, Role.DIM)), 7))
    column = max(10, len(word) + 3)  # one word is longer
    rows = wrap(stage.title, width - column - max(10, cells(end) + 2)) or [BLANK]
    lines = [spread(line(left(line(Span(f"{glyph} {word}", role)), column), rows[0]), end, width)]
    lines.extend(line(" " * 10, row) for row in rows[1:])
    if stage.message and stage.state in {StageState.GOES_ON, StageState.ASKS, StageState.BEGINS, StageState.FAILED}:
        weight = Role.WARN if stage.state == StageState.ASKS else Role.DIM  # what a person is to do stands out
        lines.extend(line(" " * 10, row) for row in wrap(stage.message, width - 10, weight))
    return lines


def _folded(stages: Sequence[StageView], width: int) -> Line:
    began = min((stage.began for stage in stages if stage.began is not None), default=0.0)
    ended = max((stage.ended for stage in stages if stage.ended is not None), default=began)
    glyph, word, role = _STATES["done"]
    start = line(left(line(Span(f"{glyph} {word}", role)), 10), Span(f"the first {len(stages)} stages", Role.DIM))
    return spread(start, right(line(Span(f"{ended - began:.1f}s", Role.DIM)), 7), width)


def _share(stage: StageView) -> str:
    """Return how far the stage at work is: bytes, or a count of few things."""
    if stage.done is None or not stage.total or stage.ended is not None:
        return ""
    if stage.total > 9_999:
        return f"{figures.size(stage.done)} of {figures.size(stage.total)}"
    return f"{stage.done} of {stage.total}"
