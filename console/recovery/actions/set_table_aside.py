"""set-table-aside: a table whose damage keeps the server down is moved out of its sight, whole, so that others start.

Measured on 8.1.4, 9.1.0 and 9.3.4: a server starts without the directory, and keeps the table's entry in the registry
or reads its name from `_name`; once the directory is back and it has started again, the table is back.
"""

from console.questdb.aside import place_aside
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.view_state import views_on
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.registry import PlanContext
from console.recovery.gate.start_checks import table_refusals
from console.recovery.model import ActionSpec, Change, Claim, Danger, Fact, Plan, Refusal, Requirement, Stage
from console.recovery.plans import make_plan, mark_of
from console.recovery.steps.steps import RunContext, Step, StepError
from console.recovery.store.journal import Entry
from console.text import clean_line

SPEC = ActionSpec(
    id="set-table-aside",
    title="Set a table aside",
    danger=Danger.DATA,
    needs_table=True,
    summary="Moves a table that must not be started out of QuestDB's sight, whole, so that the others can start.",
    undo="The table's directory is moved back, also after a start, unless its name was given to another table.",
    offline=True,
    hides=True,
)


class MoveTable(Step):
    """Move a table's directory by one rename. Done again it ends in the same state; reversed it is back."""

    name = "move-table"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Make the place beside the table, and rename the table's directory into it."""
        table, place, new = (str(stage.parameters[key]) for key in ("path", "directory", "new"))
        if run.tree.exists(new) and not run.tree.exists(table):
            return
        run.tree.make_directory(place, run.tree.owner_of_directory(table))
        run.tree.rename(table, new)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Rename the directory back, and remove the empty place."""
        table, place, new = (str(stage.parameters[key]) for key in ("path", "directory", "new"))
        if run.tree.exists(new):
            run.tree.rename(new, table)
        elif not run.tree.exists(table):
            where = clean_line(new)
            raise StepError(f"{where} is not there any more; move the table's directory back to where it was by hand")
        run.tree.remove_empty(place)


STEPS: tuple[Step, ...] = (MoveTable(),)


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty for a table to which a start does no harm."""
    directory = context.database.table(table or "")
    facts = (Fact(directory.directory, table_stamp(directory.path)),)
    harms = table_refusals(context, (directory,))
    report = context.report(directory.directory)
    first = report.next_step.action if report is not None else None
    if not harms:
        why = f"Nothing to do: a start does {directory.name} no harm."
        return make_plan(SPEC, context.target(directory), why=why, facts=facts)
    others = [each for each in context.database.tables() if each.directory != directory.directory and not each.system]
    return make_plan(
        SPEC,
        context.target(directory),
        why=f"A start would harm this table: {harms[0].reason}",
        stages=(_stage(directory, place_aside(directory.directory, mark_of(facts))),),
        facts=facts,
        requirements=(
            Requirement("a start would harm the table", holds=True, evidence=harms[0].reason),
            Requirement("other tables can start without it", bool(others), f"{len(others):,} others"),
        ),
        warnings=_warnings(context.database, directory, first),
    )


def _stage(table: TableDirectory, place: str) -> Stage:
    new = f"{place}/{table.directory}"
    parameters = {"path": table.directory, "directory": place, "new": new}
    change = Change("rename", table.directory, table.directory, new)
    return Stage("move", f"move the table out of QuestDB's sight, into {place}", "move-table", parameters, (change,))


def _warnings(database: DatabaseRoot, table: TableDirectory, first: str | None) -> tuple[str, ...]:
    name = table.name
    told = [
        f"until this is undone QuestDB has no table {name}: its rows stay on disk, and no query sees them",
        f"a writer that still runs makes a new, empty table {name}: stop it, or give it another table",
    ]
    views = [view.name for view in views_on(database, table)]
    if views:
        told.append(f"views of it become invalid, and need a full refresh once it is back: {', '.join(views)}")
    if first is not None and first != SPEC.id:
        told.append(f"this repairs nothing: if {first} is possible, it is the better step")
    return tuple(told)


def undo_refusals(context: PlanContext, entry: Entry, plan: Plan) -> tuple[Refusal, ...]:
    """Return why the table cannot come back: another one has its directory or its name by now."""
    del entry
    aside = str(plan.stages[0].parameters["new"])
    for each in context.database.tables():
        if each.directory == plan.directory and (context.database.db / aside).exists():
            reason = f"there is a new directory {clean_line(each.directory)}, where the table was"
            return (Refusal(RefusalCode.NAME_NOT_FREE, reason, "rename or drop that table, then undo again"),)
        if each.name.lower() == (plan.table or "").lower() and each.directory != plan.directory:
            reason = f"a new table is called {each.name}, in {clean_line(each.directory)}"
            instead = "start QuestDB, rename that table (RENAME TABLE), stop QuestDB, then undo again"
            return (Refusal(RefusalCode.NAME_NOT_FREE, reason, instead),)
    return ()


def world(database: DatabaseRoot, plan: Plan) -> str:
    """Return what only others change: nothing that the way back rests on, since no byte of a file is changed."""
    del database, plan
    return ""


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return that the table's directory lies aside, and not where QuestDB looks for tables."""
    gone = not (run.database.db / (plan.directory or "")).exists()
    there = (run.database.db / str(plan.stages[0].parameters["new"])).is_dir()
    claim = f"{plan.table}: its directory is out of QuestDB's sight, whole"
    return (Claim(ClaimKey.OLD_DIRECTORY, claim, "moved", "moved" if gone and there else "not moved", gone and there),)
