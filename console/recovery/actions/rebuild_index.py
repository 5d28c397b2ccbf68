"""rebuild-index: the bitmap indexes of a table's partitions from its symbol columns, without a server."""

from console.diagnosis.model import Code
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Claim, Danger, Plan
from console.recovery.steps import table_files
from console.recovery.steps.steps import RunContext
from console.recovery.table_repair.indexes import index_repair
from console.recovery.table_repair.planning import repair_plan, whole_claims, written_claims

SPEC = ActionSpec(
    id="rebuild-index",
    title="Rebuild indexes",
    danger=Danger.DATA,
    needs_table=True,
    summary="Rebuilds damaged indexes of symbol columns, and a torn symbol column from its whole index.",
    undo="The old files are put back, byte for byte, until a server has started on the result; then from evidence.",
    offline=True,
    needs_evidence=True,
)
STEPS = table_files.STEPS
_CODES = (Code.INDEX_FILE_MISSING, Code.INDEX_FILE_INVALID)


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty if every index agrees with its column."""
    directory = context.database.table(table or "")
    return repair_plan(context, SPEC, directory, index_repair(directory))


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The files hold what was planned, and a check finds all indexes whole."""
    return (*written_claims(plan, run), *whole_claims(plan, run, _CODES))
