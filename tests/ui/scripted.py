"""An engine that answers from values: what the screens do with an answer is tested here, the engine elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

from console.errors import WalmedicError
from console.recovery.journal import Entry
from console.recovery.model import Availability, Plan, Progress, Refusal, RunResult
from console.recovery.registry import action_ids, spec_of
from tests.ui import captured

SPECS = tuple(spec_of(action) for action in action_ids())
PLAN = captured.RESTORE_PLAN
DONE = replace(
    captured.RESTORE_RESULT, next_step="the sequencer is whole again: start-server applies the 6,359 rows that wait"
)
ALIVE = Refusal("server-alive", "a QuestDB server lives on this database (pid 4711)", "stop-server")


class ScriptedRun:
    """Tells a stage at each call, then the result."""

    def __init__(self, plan: Plan, result: RunResult, hold_after: int | None) -> None:
        self._hold_after = hold_after
        self._told = [
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
            first, second = self._told[0], self._told[1]
            return [*first, second[0]]
        return self._told.pop(0) if self._told else []

    def result(self) -> RunResult | None:
        """Return the result once all is told."""
        return None if self._told else self._result


class ScriptedEngine:
    """Answers from values; notes what was launched."""

    def __init__(self, *, plan: Plan = PLAN, alive: bool = False, result: RunResult = DONE) -> None:
        self.made = plan
        self.alive = alive
        self.outcome = result
        self.launched: list[tuple[Plan, str]] = []
        self.planned: list[tuple[str, str | None]] = []
        self.error = ""
        self.hold_after: int | None = None  # a run stands still after so many stages

    def availability(self, table: str | None) -> Sequence[Availability]:
        """Return all actions; those that need the server down are refused while it is alive."""
        if self.error:
            raise WalmedicError(self.error)
        return tuple(
            Availability(spec, table, (ALIVE,) if spec.offline and self.alive else (), spec.id == PLAN.action)
            for spec in SPECS
        )

    def plan(self, action: str, table: str | None = None) -> Plan:
        """Return the plan, for whatever action and table."""
        self.planned.append((action, table))
        if self.error:
            raise WalmedicError(self.error)
        return replace(self.made, refused=(ALIVE,)) if self.alive else self.made

    def launch(self, plan: Plan, phrase: str) -> ScriptedRun:
        """Note it and tell the stages."""
        self.launched.append((plan, phrase))
        return ScriptedRun(plan, self.outcome, self.hold_after)

    def unfinished(self) -> Sequence[Entry]:
        """Nothing was cut off."""
        return ()
