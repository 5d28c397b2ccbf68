"""repair-symbols: the symbol maps of a table from what names them; a name that nothing has becomes a placeholder."""

from console.diagnosis.model import Code
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Claim, Danger, Plan
from console.recovery.steps import table_files
from console.recovery.steps.steps import RunContext
from console.recovery.table_repair.planning import repair_plan, whole_claims, written_claims
from console.recovery.table_repair.symbols import symbol_repair

SPEC = ActionSpec(
    id="repair-symbols",
    title="Repair symbol maps",
    danger=Danger.DATA,
    needs_table=True,
    summary="Rebuilds damaged symbol map files (.o, .c, .k, .v) from the names on disk, in WAL and in copies.",
    undo="The old files are put back, byte for byte, until a server has started on the result; then from evidence.",
    offline=True,
    needs_evidence=True,
)
STEPS = table_files.STEPS
_CODES = (Code.SYMBOL_MAP_MISSING, Code.SYMBOL_MAP_SHORT, Code.SYMBOL_MAP_INVALID)


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty if every symbol map is whole."""
    directory = context.database.table(table or "")
    return repair_plan(context, SPEC, directory, symbol_repair(directory, context.evidence))


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The files hold what was planned, and a check finds all symbol maps whole."""
    return (*written_claims(plan, run), *whole_claims(plan, run, _CODES))
