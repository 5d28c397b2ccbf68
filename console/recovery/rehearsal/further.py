"""The other repairs that a table needs beside the rehearsed one: without them no server could prove the result.

A table is often damaged in several places. The rehearsal takes the further steps that a check of the clone names, each
once, as an operator would on the original; what they cost is noted.
"""

from collections.abc import Iterator

from console.diagnosis.database import diagnose_table
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.engine import Engine
from console.recovery.gate.registry import spec_of
from console.recovery.model import Claim, Danger, Outcome, Plan

_EVIDENCE = "capture-evidence"
_NO_EVIDENCE = (RefusalCode.NO_EVIDENCE, RefusalCode.EVIDENCE_INCOMPLETE)


def further_plans(clone: Engine, done: Plan) -> Iterator[Plan]:
    """Yield the plan of each further step, which is carried out before the next is asked for; none that is refused."""
    taken = {done.action}
    while True:
        table = clone.database.in_directory(done.directory or "")
        action = diagnose_table(clone.database, table).next_step.action
        if action is None or action in taken or not _changes_files(action):
            return
        plan = clone.plan(action, table.raw_name)
        if any(refusal.code in _NO_EVIDENCE for refusal in plan.refused):
            more = clone.plan(_EVIDENCE, table.raw_name)
            if clone.run(more, more.confirmation).outcome is not Outcome.DONE:
                return
            plan = clone.plan(action, table.raw_name)
        if plan.refused or not plan.needed:
            return
        taken.add(action)
        yield plan


def further_claim(plan: Plan) -> Claim:
    cost = [f"{plan.rows_lost.phrase} rows lost", *(lost.sentence for lost in plan.values_lost)]
    name = f"{plan.table}: also repaired on the clone, since QuestDB needs it"
    return Claim.note(ClaimKey.FURTHER_STEP, name, f"{plan.action}: {'; '.join(cost)}", table=plan.table or "")


def _changes_files(action: str) -> bool:
    spec = spec_of(action)
    return spec.offline and spec.needs_table and spec.danger is Danger.DATA
