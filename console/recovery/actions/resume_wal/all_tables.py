"""resume-all: every suspended table resumed by one plan, each with its cost. What needs another action first stays."""

from collections.abc import Sequence
from dataclasses import replace

from console.diagnosis.server.cause import Cause, cause_of
from console.digests import digest_of
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.actions.resume_wal import action as one_table
from console.recovery.codes import RefusalCode
from console.recovery.gate.finishing import world_of
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Danger, Plan, Refusal, Requirement, RowsLost, Stage
from console.recovery.plans import make_plan, refused_plan
from console.recovery.server.sql import Server, SqlError
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="resume-all",
    title="Resume all suspended tables",
    danger=Danger.DATA,
    needs_table=False,
    summary=(
        "Lets QuestDB apply what waits in every suspended table, in one plan that lists what each of them loses. "
        "Tables that need another action first stay suspended."
    ),
    undo=one_table.SPEC.undo,
    final=one_table.SPEC.final,
)
STEPS = one_table.STEPS
verify = one_table.verify

_ALONE = "resume-wal, which plans this table alone"


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan for all suspended tables; refused if there are some and none can be resumed.

    Raises WalmedicError if a table is named.
    """
    if table is not None:
        name = context.database.table(table).name
        raise WalmedicError(f"{SPEC.id} works on all suspended tables; for {name} alone use resume-wal")
    server = Server(context.settings.questdb)
    try:
        server.prove_ours(context.database.db)
        rows = server.suspended_tables()
    except SqlError as error:
        down = Refusal(RefusalCode.SERVER_DOWN, str(error), "start-server", action="start-server")
        return refused_plan(SPEC, context.target(), down)
    made, stay = [], []
    for row in rows:
        found = _of_table(context, str(row["name"]), clean_line(str(row.get("errorMessage") or "")))
        if isinstance(found, Refusal):
            stay.append(found)
        elif found.needed:
            made.append(found)
    return _together(context, made, stay)


def world(database: DatabaseRoot, plan: Plan) -> str:
    return digest_of([world_of(database.db / str(name)) for name in dict.fromkeys(map(_table_of, plan.stages))])


def _table_of(stage: Stage) -> str:
    return str(stage.parameters["among"])


def _of_table(context: PlanContext, name: str, error: str) -> Plan | Refusal:
    shown = clean_line(name)
    try:
        found = one_table.plan(context, name)
    except WalmedicError as problem:
        return Refusal(RefusalCode.CANNOT_BE_PLANNED, str(problem), _ALONE, table=shown)
    if found.refused:
        return found.refused[0].about(shown)
    if found.directory is not None and cause_of(error, found.directory) is Cause.OWN_FILES:
        reason = f"a file of {shown} itself stopped QuestDB ({error})"
        return Refusal(RefusalCode.OWN_FILES_DAMAGED, reason, f"make sure of that file, then {_ALONE}", table=shown)
    if found.rows_lost.kind == "unknown":
        reason = f"how many rows {shown} would lose is not known"
        return Refusal(RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL, reason, f"rehearse {_ALONE}", table=shown)
    return found


def _together(context: PlanContext, made: Sequence[Plan], stay: Sequence[Refusal]) -> Plan:
    why = "No table is suspended: there is nothing to do."
    if made:
        back = sum(each.rows_back for each in made)
        why = f"{plural(len(made), 'suspended table')} can be resumed, and {plural(back, 'row')} will appear."
    elif stay:
        why = "No suspended table can be resumed now."
    # What a skip loses is kept of all tables before the first is resumed; no table waits for the proof of another.
    order = [step.name for step in STEPS]
    stages = [_among(each, stage) for each in made for stage in each.stages]
    return make_plan(
        SPEC,
        context.target(),
        why=why,
        stages=sorted(stages, key=lambda stage: order.index(stage.step)),
        facts=[fact for each in made for fact in each.facts],
        rows_lost=RowsLost.total(each.rows_lost for each in made),
        rows_back=sum(each.rows_back for each in made),
        refused=() if made else stay,
        requirements=[_cost(each) for each in made],
        left_out=[f"{refusal.table}: {refusal.reason}; instead: {refusal.instead}" for refusal in stay],
        warnings=[f"{each.table}: {warning}" for each in made for warning in each.warnings],
        disk_needed=sum(each.disk_needed for each in made),
    )


def _among(plan: Plan, stage: Stage) -> Stage:
    parameters = {**stage.parameters, "among": plan.directory}
    return replace(
        stage, id=f"{stage.id} {plan.directory}", title=f"{plan.table}: {stage.title}", parameters=parameters
    )


def _cost(plan: Plan) -> Requirement:
    most = "at most " if plan.rows_lost.kind == "bound" else ""
    lost = plural(plan.rows_lost.value or 0, "row")
    return Requirement(
        f"{plan.table} is suspended", True, f"loses {most}{lost}; {plural(plan.rows_back, 'row')} appear"
    )
