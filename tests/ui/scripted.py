"""An engine that answers from values: what the screens do with an answer is tested here, the engine elsewhere."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from console.diagnosis.model import DatabaseReport
from console.errors import WalmedicError
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import action_ids, spec_of
from console.recovery.model import (
    ActionSpec,
    Availability,
    FirstStep,
    Outcome,
    Plan,
    Progress,
    Refusal,
    RowsLost,
    RunResult,
)
from console.recovery.next_steps.way import Recovered, Standing, Walked, Way, way_of
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome
from console.recovery.store.journal import Entry
from tests.ui import captured, samples
from tests.ui.captured import DONE_ENTRY, ENTRY, REHEARSAL_PROGRESS, REHEARSED, UNDO, UNDONE

SPECS = tuple(spec_of(action) for action in action_ids())
PLAN = captured.RESTORE_PLAN
BACK = f"{PLAN.rows_back:,} rows"  # that become visible again
DONE = replace(
    captured.RESTORE_RESULT, next_step=f"the sequencer is whole again: start-server applies the {BACK} that wait"
)
FREEZE = FirstStep("freeze-writer", None, "the writer keeps retrying against it; the feeds and Redis keep new data")
RESTORE = FirstStep(PLAN.action, PLAN.table, "txn_seq from a copy")
THEN = FirstStep("start-server", None, f"it applies the {BACK} that wait, while every WAL is held")
ALIVE = Refusal(
    RefusalCode.SERVER_ALIVE, "QuestDB is running on this data root (pid 4711)", "stop-server", action="stop-server"
)


NOT_NEEDED = Refusal(RefusalCode.NOT_NEEDED, "not needed", "nothing")
DOWN = Refusal(RefusalCode.SERVER_DOWN, "QuestDB at 127.0.0.1:8812 does not answer", "start-server")
NO_SEQUENCER = Refusal(
    RefusalCode.NO_SEQUENCER, "the server does not list market_orderbook: it has no sequencer to resume",
    "restore-sequencer", action="restore-sequencer",
)  # fmt: skip
NOT_READY = Refusal(
    RefusalCode.TABLE_NOT_READY, "market_orderbook cannot take rows yet", "repair it first: walmedic check says how"
)
WAITS = Refusal(
    RefusalCode.NO_SEQUENCER, "market_orderbook: txn_seq is gone", "restore-sequencer for market_orderbook first",
    action="restore-sequencer", table="market_orderbook",
)  # fmt: skip


def _against(spec: ActionSpec, *, alive: bool) -> tuple[Refusal, ...]:
    """Return what the real engine has against an action in the incident, the writer frozen, the server up or stopped.

    `tests/real/incident` holds the real answers to this.
    """
    if spec.offline:
        return (ALIVE,) if alive else ()
    refusals = {
        "freeze-writer": NOT_NEEDED,
        "stop-server": None if alive else NOT_NEEDED,
        "start-server": NOT_NEEDED if alive else WAITS,
        "resume-wal": NO_SEQUENCER if alive else DOWN,
        "resume-all": NOT_NEEDED if alive else DOWN,
        "copy-table": None if alive else DOWN,
        "thaw-writer": NOT_READY if alive else DOWN,
    }
    refusal = refusals.get(spec.id)
    return () if refusal is None else (refusal,)


class ScriptedRun:
    """Tells a stage at each call, then the result."""

    def __init__(self, plan: Plan, result: RunResult, hold_after: int | None, asks: str = "") -> None:
        self._asks = asks
        self._hold_after = hold_after
        self._progress = [
            [
                Progress(result.entry, stage.id, stage.title, "begins"),
                Progress(result.entry, stage.id, stage.title, "done"),
            ]
            for stage in plan.stages
        ]
        self._result = result

    def poll(self) -> Sequence[Progress]:
        """Return what the next stage tells."""
        if self._hold_after == 0:
            return []
        if self._hold_after is not None:
            self._hold_after -= 1
            first, second = self._progress[0], self._progress[1]
            asked = replace(second[0], state="your turn", message=self._asks)
            return [*first, second[0], *([asked] if self._asks else [])]
        return self._progress.pop(0) if self._progress else []

    def result(self) -> RunResult | None:
        """Return the result once all is told."""
        return None if self._progress else self._result


class ScriptedRehearsal:
    """Tells its stages, then how it ended."""

    def __init__(self, progress: Sequence[Progress], ended: Rehearsal | None) -> None:
        self._progress = list(progress)
        self._ended = ended
        self.cancelled = False

    def poll(self) -> Sequence[Progress]:
        """Return what was told since the last call."""
        progress, self._progress = self._progress, []
        return progress

    def result(self) -> Rehearsal | None:
        """Return how it ended, None while it works."""
        if self.cancelled:
            refused = RehearsalOutcome.REFUSED
            return replace(REHEARSED, id="", outcome=refused, message="it was cancelled", verification=())
        return self._ended

    def cancel(self) -> None:
        """End it."""
        self.cancelled = True


@dataclass
class ScriptedAttached:
    """An action that runs already."""

    running: ScriptedRun
    plan: Plan
    entry: Entry


class ScriptedEngine:
    """Answers from values; notes what was launched."""

    def __init__(self, *, plan: Plan = PLAN, alive: bool = False, result: RunResult = DONE) -> None:
        self.made = plan
        self.alive = alive
        self.outcome = result
        self.launched: list[tuple[Plan, str]] = []
        self.undone: list[str] = []
        self.planned: list[tuple[str, str | None]] = []
        self.judged: list[str | None] = []  # the tables that it was asked for what is possible
        self.error = ""
        self.hold_after: int | None = None  # a run stands still after so many stages
        self.asks = ""  # what the operator is asked to do there
        self.answer = threading.Event()  # what is possible is answered once this is set
        self.answer.set()
        self.looks = threading.Event()  # and what comes next once this is set
        self.looks.set()
        self.first: FirstStep | None = FREEZE  # by the dashboard's report
        self.then: FirstStep | None = RESTORE  # by what the disk says
        self.after: FirstStep | None = THEN  # and says once the plan is done
        self.recommends = True
        self.standing = Standing()  # what was done on the way
        self.recovered: Recovered | None = Recovered(PLAN.rows_back, RowsLost.exact(0), 0)
        self.ended: Rehearsal | None = REHEARSED  # how a rehearsal ends, None while it goes on
        self.rehearsals: list[Plan] = []
        self.running: ScriptedRehearsal | None = None
        self.attached: ScriptedAttached | None = None
        self.cut_off: tuple[Entry, ...] = ()

    def availability(self, table: str | None) -> Sequence[Availability]:
        """Return all actions; those that need the server down are refused while it is alive."""
        first = "stop-server" if self.alive else PLAN.action
        self.judged.append(table)
        assert self.answer.wait(60)
        if self.error:
            raise WalmedicError(self.error)
        return tuple(
            Availability(
                spec,
                table if spec.needs_table else None,
                _against(spec, alive=self.alive),
                spec.id == first and self.recommends,
            )
            for spec in SPECS
        )

    def way(self, report: DatabaseReport | None = None) -> Way:
        """Return the way to the step that was set; none where nothing is wrong."""
        if report is None:
            assert self.looks.wait(60)
        first = self.then if report is None else None if report.healthy else self.first
        if first is None:
            ended = self.standing.walked[-1].at if self.standing.walked else None
            return replace(way_of(samples.HEALTHY, None, self.standing), ended_at=ended, recovered=self.recovered)
        return way_of(report or samples.INCIDENT, first, self.standing)

    def plan(self, action: str, table: str | None = None) -> Plan:
        """Return the plan, for whatever action and table."""
        self.planned.append((action, table))
        assert self.answer.wait(60)
        if self.error:
            raise WalmedicError(self.error)
        made = replace(self.made, rehearsed=self.made.rehearsed or self._passed())
        return replace(made, refused=(ALIVE,)) if self.alive else made

    def plan_undo(self, entry: str) -> Plan:
        """Return the way back of the plan."""
        self.planned.append(("undo", entry))
        return replace(UNDO, refused=(ALIVE,)) if self.alive else UNDO

    def launch(self, plan: Plan, phrase: str, undoes: str = "") -> ScriptedRun:
        """Note it and tell the stages."""
        if undoes:
            self.undone.append(undoes)
        elif self.outcome.outcome is Outcome.DONE:
            self.then = self.after
            done = ("freeze-writer", "stop-server", "capture-evidence")
            walked = [Walked(action, None, samples.NOW) for action in done]
            self.standing = Standing(True, True, (*walked, Walked(plan.action, plan.table, samples.NOW)))
        self.launched.append((plan, phrase))
        return ScriptedRun(plan, UNDONE if undoes else self.outcome, self.hold_after, self.asks)

    def busy(self) -> bool:
        """Return whether another console's action runs."""
        return self.attached is not None

    def attach(self) -> ScriptedAttached | None:
        """Return what runs already."""
        return self.attached

    def unfinished(self) -> Sequence[Entry]:
        """Return what was cut off."""
        return self.cut_off

    def entry(self, entry: str) -> Entry:
        """Return an entry of the journal."""
        return next((each for each in (ENTRY, DONE_ENTRY) if each.id == entry), DONE_ENTRY)

    def entry_plan(self, entry: str) -> Plan:
        """Return the plan of an entry."""
        return self.made

    def rehearse(self, plan: Plan) -> ScriptedRehearsal:
        """Note it and tell the stages."""
        self.rehearsals.append(plan)
        progress = REHEARSAL_PROGRESS if self.ended is not None else REHEARSAL_PROGRESS[:10]
        self.running = ScriptedRehearsal(progress, self.ended)
        return self.running

    def rehearsal(self, plan: Plan) -> ScriptedRehearsal | None:
        """Return the rehearsal that was begun."""
        return self.running

    def _passed(self) -> bool:
        ended = self.running.result() if self.running is not None else None
        return ended is not None and ended.outcome is RehearsalOutcome.PASSED
