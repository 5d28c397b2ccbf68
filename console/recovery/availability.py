"""Which actions are open now, what stands against the others, and which one comes first: for palette and dashboard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from console.diagnosis.database import diagnose
from console.diagnosis.model import DatabaseReport, NextStep
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.recovery.codes import RefusalCode
from console.recovery.gate.policy import Policy
from console.recovery.gate.registry import PlanContext, action_ids, action_module, spec_of
from console.recovery.model import ActionSpec, Availability, FirstStep, Refusal
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.journal import Entry
from console.recovery.undo.undoing import finish_refusals

_BEFORE_ALL = "freeze-writer"
_STOP = "stop-server"
_EVIDENCE = "capture-evidence"
_NOT_HELD = "QuestDB runs, or its service manager can start it at any moment"
_BRING_UP = ("start-server", "thaw-writer")
_NOTHING = NextStep(None, "")
_RETRIES = "the writer goes on retrying against it; the feeds and the queue keep what comes in"


def availability(
    context: PlanContext, specs: Sequence[ActionSpec], table: TableDirectory | None
) -> tuple[Availability, ...]:
    """Return each action with what stands against it, for `table` or for the station.

    To one that needs nothing the station's step is recommended: no start while another table waits for a repair.
    """
    judge = _Judge(context, table)
    name = table.name if table is not None else None
    report = context.report(table.raw_name) if table is not None else None
    needed = report.next_step if report is not None else _NOTHING
    first = _cut_off(context)
    if first is None:
        first = judge.towards(needed) if judge.needs(needed) else _first(context, diagnose(context.database))
    recommended = first.action if first is not None and first.table in (None, name) else ""
    return tuple(Availability(spec, name, judge.against(spec.id), spec.id == recommended) for spec in specs)


def first_step(context: PlanContext, report: DatabaseReport) -> FirstStep | None:
    """Return the one step to take now on the station of `report`; None where there is none that walmedic can take."""
    return _cut_off(context) or _first(context, report)


def _cut_off(context: PlanContext) -> FirstStep | None:
    entry = next((entry for entry in context.unfinished() if entry.action in action_ids()), None)
    if entry is None:
        return None
    return FirstStep(entry.action, entry.table, f"entry {entry.id} was cut off: finish it or take it back")


def _first(context: PlanContext, report: DatabaseReport) -> FirstStep | None:
    """Return what the worst table needs, or what comes before it; where none needs a thing, what brings all back up."""
    for each in report.worst_first():
        if each.next_step.action in action_ids():
            judge = _Judge(context, context.database.table(each.directory))
            if judge.needs(each.next_step):
                return judge.towards(each.next_step)
    return _Judge(context, None).bring_up()


@dataclass(slots=True)
class _Judge:
    """Judges actions for one table, each once and only where it is asked."""

    context: PlanContext
    table: TableDirectory | None
    _known: dict[str, tuple[Refusal, ...]] = field(default_factory=dict)

    def against(self, action: str) -> tuple[Refusal, ...]:
        """Return what stands against an action."""
        if action not in self._known:
            self._known[action] = self._judged(spec_of(action))
        return self._known[action]

    def needs(self, needed: NextStep) -> bool:
        """Return whether there is an action that does what the diagnosis asks for, and it finds something to do.

        It reads more than the diagnosis: a torn transaction that a repair left out is named by no record, and none may.
        """
        if needed.action is None or needed.action not in action_ids():
            return False
        return {refusal.code for refusal in self.against(needed.action)} != {RefusalCode.NOT_NEEDED}

    def towards(self, needed: NextStep) -> FirstStep | None:
        """Return what the table needs, or what comes before it."""
        wanted = needed.action or ""
        against = self.against(wanted)
        before = tuple(self._before(wanted, against))
        if not against and not before:
            return self._step(wanted, needed.own or needed.reason)
        return next(
            (self._step(action, why) for action, why in before if action in action_ids() and not self.against(action)),
            None,
        )

    def _before(self, wanted: str, against: tuple[Refusal, ...]) -> Iterator[tuple[str, str]]:
        """Yield what may come before `wanted`, and why, in order.

        A writer that goes on retrying is stopped first, whatever else stands in the way. A server that its manager can
        start at any moment is stopped before evidence is captured: the next start would make the copy worthless.
        """
        if against:
            yield _BEFORE_ALL, _RETRIES
        if wanted in action_ids() and spec_of(wanted).offline and not self.against(_STOP):
            yield _STOP, _NOT_HELD
        for refusal in against:
            # An action on another table is not the step of this one.
            ours = refusal.table is None or (self.table is not None and refusal.table == self.table.name)
            if (
                refusal.action is not None
                and ours
                and (refusal.action != _EVIDENCE or self.context.server_down is not False)
            ):
                yield refusal.action, refusal.reason

    def bring_up(self) -> FirstStep | None:
        """Return what brings all back up."""
        action = next((action for action in _BRING_UP if not self.against(action)), None)
        return None if action is None else self._step(action, spec_of(action).summary)

    def _judged(self, spec: ActionSpec) -> tuple[Refusal, ...]:
        """Return what stands against an action: the policy first, since a plan may cost more to make."""
        context, table = self.context, self.table
        if spec.needs_table and table is None:
            return (Refusal(RefusalCode.NO_TABLE, "it works on one table", "choose a table first"),)
        own = self._own(spec)
        refusals = Policy(context, spec, table, lock_held=False).refusals(None) if own is None else ()
        if refusals:
            return refusals
        try:
            if own is not None:
                return finish_refusals(context, own, read_entry_plan(context.state, own.id), lock_held=False)
            plan = action_module(spec.id).plan(context, table.raw_name if table and spec.needs_table else None)
        except WalmedicError as error:
            return (Refusal(RefusalCode.CANNOT_BE_PLANNED, str(error), "walmedic check says what is there"),)
        if plan.refused or plan.needed:
            return plan.refused
        return (Refusal(RefusalCode.NOT_NEEDED, "there is nothing for it to do", "nothing"),)

    def _own(self, spec: ActionSpec) -> Entry | None:
        """Return the entry of this very action and target that was cut off: running it again finishes it."""
        name = self.table.name if self.table is not None and spec.needs_table else None
        found = self.context.unfinished()
        return next((entry for entry in found if (entry.action, entry.table) == (spec.id, name)), None)

    def _step(self, action: str, reason: str) -> FirstStep:
        name = self.table.name if self.table is not None and spec_of(action).needs_table else None
        return FirstStep(action, name, reason)
