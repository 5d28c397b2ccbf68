"""What stands against finishing an entry that was cut off, and the stamps that show what others changed since."""

from dataclasses import replace
from pathlib import Path

from console.digests import digest_of
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.codes import RefusalCode
from console.recovery.gate.policy import Policy
from console.recovery.gate.registry import PlanContext, action_module, spec_of
from console.recovery.model import Plan, Refusal
from console.recovery.plans import with_refusals
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.journal import Entry
from console.text import plural

_WORLD = ("_txn", "_meta", "_cv")

EVIDENCE = (RefusalCode.NO_EVIDENCE, RefusalCode.EVIDENCE_DAMAGED)
"""Refusals that do not stand against a way back, nor against finishing what was begun with evidence."""


def world_stamps(database: DatabaseRoot, plan: Plan) -> str:
    """Return a stamp of what no repair of a sequencer touches: unchanged means that no server has written since.

    An action whose own stages do change that says itself what only others change (`world`).
    """
    own = getattr(action_module(plan.action), "world", None) if plan.stages else None
    if own is not None:
        return str(own(database, plan))
    if plan.directory is None:
        return ""
    return world_of(database.db / plan.directory)


def world_of(table: Path) -> str:
    return digest_of([_stamp(table / name) for name in _WORLD], sorted(p.name for p in table.glob("wal*[0-9]")))


def _stamp(path: Path) -> list[int]:
    try:
        status = path.lstat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def moved_on(entry: str) -> Refusal:
    """Return the refusal for a table that a server has written since the entry."""
    return Refusal(
        RefusalCode.MOVED_ON,
        f"QuestDB has changed the table since entry {entry}; the old files can no longer just be put back",
        "the evidence captured before it holds every file as it was; plan the next repair from what is there now",
    )


def plan_finish(context: PlanContext, entry: Entry) -> Plan:
    """Return the plan of an entry that was cut off, as it was confirmed, with what stands against finishing it now."""
    plan = read_entry_plan(context.state, entry.id)
    done = f"{len(entry.stages_done)} of {plural(len(plan.stages), 'stage')} done"
    warning = f"entry {entry.id} was cut off with {done}: to confirm this plan finishes it"
    refused = finish_refusals(context, entry, plan, lock_held=False)
    return replace(with_refusals(plan, refused), warnings=(warning, *plan.warnings))


def table_of(context: PlanContext, plan: Plan) -> TableDirectory | None:
    """Return the plan's table, by its directory where there is one: an action may have given its name to another.

    None for the station, and for a table that the action itself moved out of sight.
    """
    if spec_of(plan.action).hides and not (context.database.db / (plan.directory or "")).exists():
        return None
    return context.database.table(plan.directory or plan.table) if plan.table is not None else None


def finish_refusals(context: PlanContext, entry: Entry, plan: Plan, *, lock_held: bool) -> tuple[Refusal, ...]:
    spec = spec_of(plan.action)
    table = table_of(context, plan)
    policy = Policy(context, spec, table, lock_held=lock_held, own_entry=entry.id)
    # Evidence was fresh when it began; what changed since are its own stages, which `world` does not cover.
    refusals = [r for r in policy.refusals(None) if r.code not in EVIDENCE]
    if context.journal.begun_undo(entry) is not None:  # stages that it has half taken back count as done
        reason = f"taking entry {entry.id} back was cut off: what it left half done comes first"
        refusals.append(Refusal(RefusalCode.UNFINISHED_ENTRY, reason, f"walmedic undo {entry.id}"))
    if spec.offline and world_stamps(context.database, plan) != entry.intent.get("world"):
        refusals.append(moved_on(entry.id))
    return tuple(refusals)
