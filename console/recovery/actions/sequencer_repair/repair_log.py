"""repair-log: the sequencer's own log made whole: header, invalid records, and the tail that lost its records."""

from console.recovery.actions.sequencer_repair import checking, planning
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Danger, Plan, Refusal
from console.recovery.sequencer.candidates import judge

SPEC = ActionSpec(
    id="repair-log",
    title="Repair the sequencer's log",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Makes the log in place whole: the header says what records there are, and records that are zero, invalid or "
        "lost are rebuilt from the WAL segments; it never ends below what is applied."
    ),
    undo="The sequencer as it was is put back by rename, byte for byte, until a server has started on the result.",
    offline=True,
    needs_evidence=True,
)
STEPS = checking.STEPS
verify = checking.verify


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; refused where there is no log in place to repair, empty where it is whole."""
    case = planning.open_case(context, SPEC, table or "")
    if isinstance(case, Plan):
        return case
    live = case.live
    if live is not None and not live.verdict.own:
        reason = f"txn_seq {live.verdict.why}"
        refusal = Refusal(RefusalCode.LOG_FOREIGN, reason, "rebuild-sequencer", action="rebuild-sequencer")
        return planning.refused(context, SPEC, case.table.directory, refusal)
    judged = judge(case.table, live) if live is not None else None
    if live is None or judged is None or not judged.usable:
        instead = "restore-sequencer" if case.copies else "rebuild-sequencer"
        refusal = Refusal(
            RefusalCode.NO_LOG, f"{case.table.directory.name} has no log in place that can be read", instead
        )
        return planning.refused(context, SPEC, case.table.directory, refusal)
    target = case.target(live)
    return planning.make(case, target, why=f"The log in place is kept where it can be believed ({judged.description}).")
