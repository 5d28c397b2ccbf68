"""The way back of a journal entry: byte-identical while no server has started on the result, else from evidence."""

from dataclasses import replace

from console.digests import digest_of
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.execution import Ended, Executor, OnProgress, write_end
from console.recovery.gate.finishing import EVIDENCE, moved_on, table_of, world_stamps
from console.recovery.gate.policy import Policy
from console.recovery.gate.registry import PlanContext, action_module, spec_of
from console.recovery.model import ActionSpec, Change, Danger, Outcome, Plan, Refusal, RunResult, Stage, sentence
from console.recovery.plans import with_refusals
from console.recovery.steps.steps import RunContext
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.journal import Entry, Journal, new_entry_id
from console.recovery.store.places import RootKey, root_key
from console.recovery.undo import by_evidence
from console.text import clean_line, plural


def plan_undo(context: PlanContext, entry: Entry, *, lock_held: bool) -> Plan:
    """Return the way back as a plan; refused where the entry has none or the world has moved on."""
    if entry.action == "undo":
        raise WalmedicError(
            f"entry {entry.id} is itself an undo; run {entry.intent.get('undone_action')} again instead"
        )
    plan = read_entry_plan(context.state, entry.id)
    spec = spec_of(entry.action)
    table = table_of(context, plan)
    refusals = [
        r
        for r in Policy(context, spec, table, lock_held=lock_held, own_entry=entry.id).refusals(None)
        if r.code not in EVIDENCE
    ]
    own = _own_refusals(context, entry, plan)
    # One by evidence that was cut off goes on so, however much of it is in place again by now.
    begun = context.journal.begun_undo(entry)
    goes_on = begun is not None and bool(begun.intent.get("evidence"))
    if table is not None and spec.offline and (goes_on or any(r.code == "moved-on" for r in own)):
        from_evidence = _by_evidence(context, entry, plan, table, lock_held=lock_held)
        if from_evidence is not None:
            return from_evidence
        earlier = by_evidence.earlier_refusal(context, entry, table.directory)
        own = [earlier if r.code == "moved-on" and earlier is not None else r for r in own]
    refusals += own
    stages = tuple(
        Stage(stage.id, f"undo: {stage.title}", stage.step, stage.parameters, _backwards(stage.changes))
        for stage in reversed(plan.stages)
    )
    hidden = f"{plural(plan.rows_back, 'recovered row')} will be unavailable again; their files are kept"
    target = (
        f"{plan.table} lose 0" if spec.danger is Danger.DATA and plan.table else f"undo {plan.table or plan.station}"
    )
    return replace(
        plan,
        plan_id=digest_of("undo", entry.id, plan.plan_id)[:16],
        action="undo",
        confirmation=target,
        why=f"takes entry {entry.id} back: {spec.undo}",
        rows_lost=replace(plan.rows_lost, kind="exact", value=0),
        rows_back=0,
        rows_maybe_twice=0,
        refused=tuple(refusals),
        requirements=(),
        stages=stages,
        warnings=(hidden,) if plan.rows_back and entry.outcome is not None else (),
        undo=f"run {entry.action} again",
        attachments={},
        disk_needed=0,
        rehearsed=False,
    )


def _by_evidence(
    context: PlanContext, entry: Entry, plan: Plan, table: TableDirectory, *, lock_held: bool
) -> Plan | None:
    """Return the way back through the evidence with what stands against it; None where no evidence is one."""
    if entry.outcome is None:
        return None  # half done and started on: what it would become is not known
    made = by_evidence.plan_from_evidence(context, entry, plan)
    if made is None:
        return None
    policy = Policy(context, spec_of(entry.action), table, lock_held=lock_held, own_entry=entry.id)
    passed = (
        *EVIDENCE,
        "lose-unknown-without-rehearsal",
        "lose-unknown-without-whole-evidence",
    )
    return with_refusals(made, tuple(r for r in policy.refusals(made) if r.code not in passed))


def _backwards(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return what taking `changes` back does, last first, as far as it is the same for every file."""
    back = []
    for change in reversed(changes):
        if change.kind == "create":
            back.append(Change("remove", change.target, "made by this entry", "gone"))
        elif change.kind == "rename":
            back.append(Change("rename", change.after, change.after, change.before))
        elif change.kind == "overwrite":
            back.append(Change("overwrite", change.target, change.after, change.before, change.size))
    return tuple(back)


def _own_refusals(context: PlanContext, entry: Entry, plan: Plan) -> list[Refusal]:
    """Return what of the entry itself stands against taking it back, and whether the table has moved on since."""
    if entry.root != root_key(context.database.db):
        return [_of_other_database(context, entry)]
    if entry.id in context.journal.undone():
        return [Refusal(RefusalCode.ALREADY_UNDONE, f"entry {entry.id} was undone before", "nothing is left to do")]
    # An undo of this very entry that was cut off, or failed on its way, may go on: what it changed is its own.
    begun = [o for o in context.journal.entries() if o.action == "undo" and o.intent.get("undoes") == entry.id]
    half = any(other.outcome is None for other in begun)
    if _rolled_back(entry):
        reason = f"entry {entry.id} was rolled back when it failed"
        return [] if half else [Refusal(RefusalCode.ALREADY_UNDONE, reason, "nothing is left to do")]
    spec = spec_of(entry.action)
    if entry.outcome is not None and (refusal := _has_no_undo(spec)) is not None:
        return [refusal]
    if spec.danger is not Danger.DATA:
        return []
    judge = getattr(action_module(entry.action), "undo_refusals", None)
    if judge is not None:  # what works through the server knows better than stamps of files that the server writes
        return list(judge(context, entry, plan))
    same = world_stamps(context.database, plan) == entry.intent.get("world")
    if entry.outcome is None:
        return [] if same else [moved_on(entry.id)]
    if plan.directory is None or (half and same):
        return []
    now = table_stamp(context.database.db / plan.directory)
    left = (entry.outcome, *(other.outcome for other in begun if other.outcome is not None and _stuck(other)))
    as_left = now in {ended.get("stamps_after", {}).get(plan.directory) for ended in left}
    return [] if as_left else [moved_on(entry.id)]


def _of_other_database(context: PlanContext, entry: Entry) -> Refusal:
    made, instead = clean_line(str(entry.intent.get("db"))), "name that database with --db-root"
    reason = f"entry {entry.id} belongs to the database at {made}"
    if made == clean_line(str(context.database.db)):
        reason = f"entry {entry.id} was made on another directory at {made}: this one was put in its place since"
        instead = "put that directory back, or take the files that you need from the evidence by hand"
    return Refusal(RefusalCode.OTHER_DATABASE, reason, instead)


def _has_no_undo(spec: ActionSpec) -> Refusal | None:
    """Return why an action that has ended is not taken back by its own steps; None where it is."""
    if spec.opposite:
        reason = f"the undo of {spec.id} needs its own checks"
        return Refusal(RefusalCode.USE_OPPOSITE, reason, spec.opposite, action=spec.opposite)
    if spec.final:
        return Refusal(RefusalCode.NO_WAY_BACK, spec.final, spec.undo)
    if spec.danger is Danger.SAFE:
        reason = f"{spec.id} changed nothing under the database"
        return Refusal(RefusalCode.NOTHING_TO_UNDO, reason, "remove its folder yourself")
    return None


def _stuck(entry: Entry) -> bool:
    """Whether an undo failed among the stages of what it undoes: one by evidence has others, and is planned anew."""
    return entry.result is Outcome.FAILED and not entry.intent.get("evidence")


def _rolled_back(entry: Entry) -> bool:
    return entry.result is Outcome.ROLLED_BACK


def undo(
    journal: Journal, entry: Entry, run: RunContext, root: RootKey, phrase: str, on_progress: OnProgress | None
) -> RunResult:
    """Reverse the stages of `entry`, journalled as an entry of its own. The caller holds the locks."""
    begun = journal.begun_undo(entry)
    name = begun.id if begun is not None else new_entry_id()
    directory = run.plan.directory
    stamps = {directory: table_stamp(run.database.db / directory)} if directory is not None else {}
    intent = {
        "action": "undo", "undoes": entry.id, "undone_action": entry.action, "table": run.plan.table,
        "directory": directory, "station": run.plan.station, **root.record(),
        "plan": run.plan.plan_id, "confirmation": phrase, "stamps": stamps,
    }  # fmt: skip
    if begun is None:
        journal.begin(name, intent)
    else:
        journal.resume(name)
        stamps = dict(begun.intent.get("stamps", {}))
    message, outcome = f"entry {entry.id} is undone", Outcome.DONE
    with run.keep:
        try:
            if not _rolled_back(entry):  # else it was cut off between its last two lines in the journal
                Executor(journal, run, action_module(run.plan.action).STEPS, on_progress).reverse()
        except (WalmedicError, OSError) as error:
            message, outcome = sentence(error), Outcome.FAILED
    after = {directory: table_stamp(run.database.db / directory)} if directory is not None else {}
    done = outcome is Outcome.DONE
    if entry.outcome is None and done:
        write_end(journal, entry.id, Ended(Outcome.ROLLED_BACK, message), before={}, after={})
    return write_end(
        journal,
        name,
        Ended(outcome, message),
        before=stamps,
        after=after,
        # The table is what it was before the entry: its evidence counts again.
        restored=dict(entry.intent.get("stamps", {})) if done else None,
    )
