"""Undoing an entry on whose result a server has started: which evidence is its way back, and going it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from console.errors import WalmedicError
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import Capture, table_stamp
from console.recovery.evidence.verification import OnBytes
from console.recovery.execution import Ended, Executor, OnProgress, write_end
from console.recovery.gate.registry import PlanContext, action_ids, spec_of
from console.recovery.model import Danger, Outcome, Plan, Refusal, RunResult, sentence
from console.recovery.steps.steps import RunContext
from console.recovery.store.entries import read_entry_plan, write_entry
from console.recovery.store.journal import Entry, new_entry_id
from console.recovery.store.places import root_key
from console.recovery.undo.restoring import damaged_evidence, plan_restoring
from console.recovery.undo.steps import STEPS

_FIRST_STEP = "fetch-evidence"


def goes_by_evidence(plan: Plan) -> bool:
    """Return whether a plan of an undo puts evidence back, and does not reverse the entry's own stages."""
    return any(stage.step == _FIRST_STEP for stage in plan.stages)


def plan_from_evidence(context: PlanContext, entry: Entry, plan: Plan) -> Plan | None:
    """Return the way back of `entry` (whose plan was `plan`) by evidence; one that was cut off as it was confirmed.

    None where no evidence shows the table as it was just before the entry.
    """
    begun = context.journal.begun_undo(entry)
    if begun is not None and begun.intent.get("evidence"):
        return read_entry_plan(context.state, begun.id)
    capture = _capture_before(context, entry, plan.directory or "")
    if capture is None:
        return None
    directory = plan.directory or ""
    then = _promise(context, entry, directory)
    made = plan_restoring(context.database, spec_of(entry.action), entry.id, plan, capture, then)
    also = [each.id for each in _later(context, entry, directory)]
    also_undone = (f"undone with it: {', '.join(also)}, done on the table since",) if also else ()
    return replace(made, action="undo", warnings=(*also_undone, *made.warnings), undo=f"run {entry.action} again")


def damage(context: PlanContext, plan: Plan, on_bytes: OnBytes) -> Refusal | None:
    """Return why the evidence that `plan` puts back cannot be relied on; all of it is read. None if it can."""
    name = str(plan.stages[0].parameters["capture"])
    capture = next((each for each in context.evidence.captures() if each.id == name), None)
    if capture is None:
        raise WalmedicError(f"the evidence {name} is gone; leave the result of the action as it is")
    problem = capture.damage(plan.directory or "", on_bytes)
    return damaged_evidence(capture, problem) if problem else None


def earlier_refusal(context: PlanContext, entry: Entry, directory: str) -> Refusal | None:
    """Return where the evidence is of before an earlier entry: that one is the way back of both."""
    captures = [(c, _equal_stamps(context, c, directory)) for c in _captures(context, directory)]
    for other in context.journal.entries():
        if other.id == entry.id:
            return None
        stamp = other.intent.get("stamps", {}).get(directory)
        if other.root == entry.root and other.action != "undo" and any(stamp in stamps for _, stamps in captures):
            return Refusal(
                RefusalCode.MOVED_ON,
                f"a server has written to the table since entry {entry.id}, and the evidence is of before {other.id}",
                f"walmedic undo {other.id}, which takes both back",
            )
    return None


def _captures(context: PlanContext, directory: str) -> list[Capture]:
    return [c for c in reversed(context.evidence.captures()) if directory in c.stamps and not c.live]


def _capture_before(context: PlanContext, entry: Entry, directory: str) -> Capture | None:
    stamp = entry.intent.get("stamps", {}).get(directory)
    return next((c for c in _captures(context, directory) if stamp in _equal_stamps(context, c, directory)), None)


def _equal_stamps(context: PlanContext, capture: Capture, directory: str) -> set[str]:
    """Return the stamps that the table had while it was as the capture has it: also after what was done was undone."""
    equal = {capture.stamps[directory]}
    before: dict[str, str] = {}
    for entry in context.journal.entries():
        outcome = entry.outcome or {}
        before[entry.id] = str(entry.intent.get("stamps", {}).get(directory))
        undone = (
            entry.action == "undo"
            and entry.result is Outcome.DONE
            and before.get(str(entry.intent.get("undoes"))) in equal
        )
        rolled_back = entry.result is Outcome.ROLLED_BACK and before[entry.id] in equal
        if (undone or rolled_back) and directory in outcome.get("stamps_after", {}):
            equal.add(str(outcome["stamps_after"][directory]))
    return equal


def _later(context: PlanContext, entry: Entry, directory: str) -> Iterator[Entry]:
    passed = False
    for each in context.journal.entries():
        if each.id == entry.id:
            passed = True
        elif passed and each.root == entry.root and each.intent.get("directory") == directory:
            done = each.result is Outcome.DONE
            if done and each.action in action_ids() and spec_of(each.action).danger is Danger.DATA:
                yield each


def _promise(context: PlanContext, entry: Entry, directory: str) -> Mapping[str, Any] | None:
    """Return what the table was to hold after `entry`, and after what was done on it before a server started."""
    found: Mapping[str, Any] | None = (entry.outcome or {}).get("promise")
    stamp = (entry.outcome or {}).get("stamps_after", {}).get(directory)
    for later in _later(context, entry, directory):
        outcome = later.outcome or {}
        if outcome.get("stamps_before", {}).get(directory) == stamp:
            found, stamp = outcome.get("promise"), outcome.get("stamps_after", {}).get(directory)
    return found


def begin_restoring(context: PlanContext, entry: Entry, plan: Plan, phrase: str) -> str:
    """Journal the undo, or find the one that was cut off; return its id."""
    begun = context.journal.begun_undo(entry)
    if begun is not None:
        context.journal.resume(begun.id)
        return begun.id
    name, directory = new_entry_id(), plan.directory or ""
    write_entry(context.state, name, plan)
    capture = str(plan.stages[0].parameters["capture"])
    context.journal.begin(
        name,
        {
            "action": "undo", "undoes": entry.id, "undone_action": entry.action, "table": plan.table,
            "directory": directory, "station": plan.station,
            **root_key(context.database.db).record(), "plan": plan.plan_id, "confirmation": phrase,
            "stamps": {directory: table_stamp(context.database.db / directory)}, "evidence": capture,
            "also": [each.id for each in _later(context, entry, directory)],
        },
    )  # fmt: skip
    return name


def restore(context: PlanContext, run: RunContext, on_progress: OnProgress | None) -> RunResult:
    """Carry the undo `run.entry` out, or on; where a stage fails all is taken back. The caller holds the locks."""
    journal, directory = context.journal, run.plan.directory or ""
    entry = journal.entry(run.entry)
    executor = Executor(journal, run, STEPS, on_progress)
    message, outcome = f"{run.plan.table} is as the evidence has it", Outcome.DONE
    with run.keep:
        try:
            executor.perform(entry.stages_done)
        except (WalmedicError, OSError) as error:
            message, outcome = sentence(error), Outcome.ROLLED_BACK
            try:
                executor.reverse()
            except (WalmedicError, OSError) as another:
                message, outcome = f"{message}; taking it back failed too: {sentence(another)}", Outcome.FAILED
    captured = next((c for c in context.evidence.captures() if c.id == entry.intent.get("evidence")), None)
    restored = {directory: captured.stamps[directory]} if outcome is Outcome.DONE and captured is not None else {}
    return write_end(
        journal,
        run.entry,
        Ended(outcome, message, tuple(run.claims)),
        before={},
        after={directory: table_stamp(run.database.db / directory)},
        restored=restored,
    )
