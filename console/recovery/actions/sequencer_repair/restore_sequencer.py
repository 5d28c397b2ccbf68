"""restore-sequencer: the best backup of the sequencer back in place, its tail repaired from the segments on the way."""

from console.recovery.actions.sequencer_repair import checking, planning
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Danger, Plan, Refusal
from console.recovery.sequencer.candidates import best_of
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="restore-sequencer",
    title="Restore the sequencer from its best backup",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Puts the best of the sequencer's backups back, with the records that it lacks rebuilt from the WAL segments; "
        "without these the first purge sweep would destroy what no record names."
    ),
    undo="The sequencer as it was is put back by rename, byte for byte, until a server has started on the result.",
    offline=True,
    needs_evidence=True,
)
STEPS = checking.STEPS
verify = checking.verify


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; refused where no backup can serve, empty where the sequencer in place is whole."""
    case = planning.open_case(context, SPEC, table or "")
    if isinstance(case, Plan):
        return case
    best, descriptions = best_of(case.table, case.copies)
    if best is None:
        seen = f" ({'; '.join(descriptions)})" if descriptions else ""
        refusal = Refusal(
            RefusalCode.NO_BACKUP,
            f"{case.table.directory.name} has no backup of its sequencer that can be used{seen}",
            "rebuild-sequencer: it needs no backup",
            action="rebuild-sequencer",
        )
        return planning.refused(context, SPEC, case.table.directory, refusal)
    target = case.target(best.source)
    proven = sum(source.verdict.own for source in case.copies)
    why = (
        f"{clean_line(best.source.name)} is the best of {plural(proven, 'backup')}: {'. '.join(descriptions)}. What "
        "its records lack comes from the WAL segments."
    )
    return planning.make(case, target, why=why)
