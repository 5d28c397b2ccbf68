"""rebuild-sequencer: the sequencer made again from the WAL segments' own event files; no backup is needed."""

from console.recovery.actions.sequencer_repair import checking, planning
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Danger, Plan
from console.text import plural

SPEC = ActionSpec(
    id="rebuild-sequencer",
    title="Rebuild the sequencer from the WAL segments",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Rebuilds the sequencer from the WAL segments, so that committed rows that were not yet applied are recovered; "
        "it needs no backup."
    ),
    undo="The sequencer as it was is put back by rename, byte for byte, until a server has started on the result.",
    offline=True,
    needs_evidence=True,
)
STEPS = checking.STEPS
verify = checking.verify


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; refused where it is not known what is applied, empty where the sequencer in place is whole."""
    case = planning.open_case(context, SPEC, table or "")
    if isinstance(case, Plan):
        return case
    target = case.target(None)
    logs = sum(source.usable and source.verdict.own for source in case.sources)
    why = (
        f"Every record is made from the segments; {plural(logs, 'log')} that can be read only showed what is applied."
        if logs
        else "No log of the table is left: every record is made from the segments."
    )
    return planning.make(case, target, why=why)
