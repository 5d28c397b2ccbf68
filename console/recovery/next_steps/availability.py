"""Which actions are open now, what stands against the others, and which one comes first: for palette and dashboard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from console.diagnosis.model import Code, DatabaseReport, NextStep, Severity
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.recovery.codes import RefusalCode
from console.recovery.gate.finishing import finish_refusals
from console.recovery.gate.policy import Policy
from console.recovery.gate.registry import PlanContext, action_ids, action_module, spec_of
from console.recovery.gate.rehearsed import Records
from console.recovery.model import ActionSpec, Availability, Danger, FirstStep, Plan, Refusal
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.journal import Entry
from console.recovery.store.places import root_key

_BEFORE_ALL = "freeze-writer"
_STOP = "stop-server"
_EVIDENCE = "capture-evidence"
_NOT_HELD = "QuestDB runs, or its service manager can start it at any moment"
_START = "start-server"
_BRING_UP = (_START, "thaw-writer")
_NOTHING = NextStep(None, "")
_REGISTRY = NextStep(
    "repair-registry", "the registry of tables is damaged: do not start QuestDB before it is made anew"
)
_IDS = NextStep("repair-registry", "new tables would get ids of tables that there are")
_REHEARSE = "rehearse it first (F3, or walmedic rehearse): how many rows it would lose is not known"
_ASIDE = NextStep(
    "set-table-aside", "no action can repair this table, and it keeps the others down; undo brings it back as it is"
)
_BY_HAND = (RefusalCode.NO_PYARROW, RefusalCode.CONVERSION_PENDING, RefusalCode.PERMISSION)
"""Refusals of a repair that a person can settle."""
_RETRIES = "the writer retries and fails; the feeds and Redis keep new data"


def availability(
    context: PlanContext, specs: Sequence[ActionSpec], table: TableDirectory | None, diagnosis: DatabaseReport
) -> tuple[Availability, ...]:
    """Return each action with what stands against it, for `table` or for the station, of which `diagnosis` tells.

    To one that needs nothing the station's step is recommended: no start while another table waits for a repair.
    """
    judge = _Judge(context, table)
    name = table.name if table is not None else None
    reports = [each for each in diagnosis.tables if table is not None and each.directory == table.directory]
    needed = reports[0].next_step if reports else _NOTHING
    first = _cut_off(context)
    if first is None:
        first = judge.towards(needed) if judge.needs(needed) else _first(context, diagnosis)
        if first is None and judge.cannot_be_helped(needed) and len(diagnosis.tables) > 1:
            first = judge.towards(_ASIDE)
    found = []
    for spec in specs:
        recommended = first is not None and first.action == spec.id and first.table in (None, name)
        on = first.table if first is not None and recommended else name if spec.needs_table else None
        found.append(Availability(spec, on, judge.against(spec.id), recommended))
    return tuple(found)


def first_step(context: PlanContext, report: DatabaseReport) -> FirstStep | None:
    """Return the one step to take now on the station of `report`; None where there is none that walmedic can take."""
    return _cut_off(context) or _first(context, report)


def not_needed(context: PlanContext, action: str) -> bool:
    return {refusal.code for refusal in _Judge(context, None).against(action)} == {RefusalCode.NOT_NEEDED}


def _cut_off(context: PlanContext) -> FirstStep | None:
    entry = next((entry for entry in context.unfinished() if entry.action in action_ids()), None)
    if entry is None:
        return None
    return FirstStep(entry.action, entry.table, f"entry {entry.id} was cut off: finish it or take it back")


def _first(context: PlanContext, report: DatabaseReport) -> FirstStep | None:
    """Return what the worst table needs, or what comes before it; where none needs a thing, what brings all back up."""
    waits = False
    if any(each.code is Code.REGISTRY_INVALID and each.severity is Severity.DAMAGE for each in report.findings):
        judge = _Judge(context, None)
        if judge.needs(_REGISTRY) and (step := judge.towards(_REGISTRY)) is not None:
            return step
        waits = True
    for each in report.worst_first():
        judge = _Judge(context, context.database.in_directory(each.directory))
        if judge.needs(each.next_step):
            step = judge.towards(each.next_step)
            if step is not None:
                return _for_all(report, step)
            waits = True  # a start is no way past a table that cannot be helped yet
    if waits or any(step.action == _START for each in report.tables for step in each.blocked_steps):
        return _aside(context, report)
    judge = _Judge(context, None)
    ids = any(each.code is Code.TABLE_IDS_LOW and each.severity is Severity.RISK for each in report.findings)
    return (judge.towards(_IDS) if ids and judge.needs(_IDS) else None) or judge.bring_up()


def _aside(context: PlanContext, report: DatabaseReport) -> FirstStep | None:
    """Return the step that sets a table aside that no action can repair, so that it does not keep the others down."""
    for each in report.worst_first() if len(report.tables) > 1 else ():
        judge = _Judge(context, context.database.in_directory(each.directory))
        if judge.cannot_be_helped(each.next_step) and (step := judge.towards(_ASIDE)) is not None:
            return step
    return None


def _for_all(report: DatabaseReport, step: FirstStep) -> FirstStep:
    """Return `step` for all tables at once, if several need it and there is an action that does it."""
    several = sum(each.next_step.action == step.action for each in report.tables) > 1
    for_all = spec_of(step.action).for_all
    return FirstStep(for_all, None, step.reason) if several and for_all else step


@dataclass(slots=True)
class _Judge:
    """Judges actions for one table, each once and only where it is asked."""

    context: PlanContext
    table: TableDirectory | None
    _known: dict[str, tuple[Refusal, ...]] = field(default_factory=dict)

    def against(self, action: str) -> tuple[Refusal, ...]:
        spec = spec_of(action)
        known = self._known if spec.needs_table or spec.danger is Danger.DATA else self.context.judged
        if action not in known:
            known[action] = self._judged(spec)
        return known[action]

    def needs(self, needed: NextStep) -> bool:
        """Return whether there is an action that does what the diagnosis asks for, and it finds something to do.

        It reads more than the diagnosis: a torn transaction that a repair left out is named by no record, and none may.
        """
        if needed.action is None or needed.action not in action_ids():
            return needed.evidence
        return {refusal.code for refusal in self.against(needed.action)} != {RefusalCode.NOT_NEEDED}

    def cannot_be_helped(self, needed: NextStep) -> bool:
        """Return whether the action that the diagnosis asks for may be taken, and its plan says that it cannot be."""
        action = needed.action
        if action is None or action not in action_ids() or self.table is None:
            return False
        allowed = not Policy(self.context, spec_of(action), self.table, lock_held=False).refusals(None)
        against = self.against(action)
        first = [each.action for each in against if each.action in action_ids()]
        helped = any(each.code in (*_BY_HAND, RefusalCode.NOT_NEEDED) for each in against)
        return allowed and not helped and not any(map(self._may_come, (action, *first)))

    def _may_come(self, action: str) -> bool:
        """Return whether nothing stands against an action but that its loss is not known yet."""
        return {each.code for each in self.against(action)} <= {RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL}

    def towards(self, needed: NextStep) -> FirstStep | None:
        """Return what the table needs, or what comes before it. Before a person's own work comes evidence, no more."""
        wanted = needed.action or _EVIDENCE
        against = self.against(wanted)
        for action, table, reason in self._before(wanted, against):
            if action in action_ids() and not self.against(action):
                return replace(self._step(action, reason), table=table) if table else self._step(action, reason)
        if {refusal.code for refusal in against} == {RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL}:
            return self._step(wanted, _REHEARSE)
        if against or (wanted == _EVIDENCE and not self._counts()):
            return None
        return self._step(wanted, needed.reason)

    def _before(self, wanted: str, against: tuple[Refusal, ...]) -> Iterator[tuple[str, str | None, str]]:
        """Yield what may come before `wanted`, on which table if that is told, and why, in order.

        A writer that goes on retrying is stopped first, whatever else stands in the way. A server that its manager can
        start at any moment is stopped before evidence is captured: the next start would make the copy worthless.
        """
        offline = wanted == _EVIDENCE or spec_of(wanted).offline
        if against or wanted == _EVIDENCE:
            yield _BEFORE_ALL, None, _RETRIES
        if offline and not self.against(_STOP):
            yield _STOP, None, _NOT_HELD
        for refusal in against:
            # An action on another table is not the step of this one.
            ours = refusal.table is None or (self.table is not None and refusal.table == self.table.name)
            if refusal.action is not None and ours and (refusal.action != _EVIDENCE or self._counts()):
                named = refusal.table if refusal.code is RefusalCode.EVIDENCE_INCOMPLETE else None
                yield refusal.action, named, refusal.reason

    def _counts(self) -> bool:
        """Return whether evidence captured now is of use: what was copied beside a server that lives is no base."""
        if self.context.server_down is None and self.table is not None:
            return self.context.evidence.of_table(self.table.directory) is None
        return bool(self.context.server_down)

    def bring_up(self) -> FirstStep | None:
        action = next((action for action in _BRING_UP if not self.against(action)), None)
        return None if action is None else self._step(action, spec_of(action).summary)

    def _judged(self, spec: ActionSpec) -> tuple[Refusal, ...]:
        """Return what stands against an action: the policy first, since a plan may cost more to make."""
        context, table = self.context, self.table
        if spec.needs_table and table is None:
            return (Refusal(RefusalCode.NO_TABLE, "it works on one table", "choose a table first"),)
        own = self._own(spec)
        policy = Policy(context, spec, table, lock_held=False)
        refusals = policy.refusals(None) if own is None else ()
        if refusals:
            return refusals
        try:
            if own is not None:
                return finish_refusals(context, own, read_entry_plan(context.state, own.id), lock_held=False)
            plan = action_module(spec.id).plan(context, table.directory if table and spec.needs_table else None)
        except WalmedicError as error:
            return (Refusal(RefusalCode.CANNOT_BE_PLANNED, str(error), "walmedic check says what is there"),)
        if plan.refused or plan.needed:
            return plan.refused or self._against_loss(plan, policy)
        return (Refusal(RefusalCode.NOT_NEEDED, "not needed", "nothing"),)

    def _against_loss(self, plan: Plan, policy: Policy) -> tuple[Refusal, ...]:
        """Return what stands against a plan whose loss is not known; the loss itself is looked at here only."""
        if plan.rows_lost.kind != "unknown":
            return ()
        records = Records(self.context.state, root_key(self.context.database.db))
        return policy.loss_refusals(replace(plan, rehearsed=records.passed(plan) is not None))

    def _own(self, spec: ActionSpec) -> Entry | None:
        """Return the entry of this very action and target that was cut off: running it again finishes it."""
        name = self.table.name if self.table is not None and spec.needs_table else None
        found = self.context.unfinished()
        return next((entry for entry in found if (entry.action, entry.table) == (spec.id, name)), None)

    def _step(self, action: str, reason: str) -> FirstStep:
        name = self.table.name if self.table is not None and spec_of(action).needs_table else None
        return FirstStep(action, name, reason)
