"""start-server: start QuestDB with the WAL locked against its purge until every table is proven, or stop it again."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from console.digests import digest_of
from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.server_version import Version
from console.questdb.txn_log import read_log
from console.questdb.version_behaviour import behaviour_of
from console.records import to_json
from console.recovery.actions.start_server import purge_guard
from console.recovery.evidence.index import content_stamp
from console.recovery.gate.registry import TABLE_REPAIRS, PlanContext, action_ids, spec_of
from console.recovery.gate.start_checks import first_row_refusals, start_refusals, unheld_refusals
from console.recovery.model import ActionSpec, Change, Claim, Danger, Fact, Outcome, Plan, Requirement, Stage
from console.recovery.plans import make_plan, with_refusals
from console.recovery.server.binary import version_to_start
from console.recovery.server.expectation import Expectation, ExpectationError, expectation_of
from console.recovery.server.purge_guard import CONFIGURATION, INTERVAL_MS, SETTING, VARIABLE, Guard, guard_of
from console.recovery.steps import services
from console.recovery.steps.services import up_claims
from console.recovery.steps.steps import RunContext
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.places import root_key
from console.recovery.table_repair.planning import partitions_of
from console.services.model import UnitState
from console.settings import Role
from console.text import plural

SPEC = ActionSpec(
    id="start-server",
    title="Start the server",
    danger=Danger.SERVICE,
    needs_table=False,
    summary="Starts QuestDB while every WAL is locked against its purge, proves each table, then lets the locks go.",
    undo="stop-server.",
    opposite="stop-server",
)
STEPS = (*services.STEPS, *purge_guard.STEPS)


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty where the server is up. What each table must hold is predicted here, from disk."""
    del table
    units = [unit for unit in context.settings.services.units if unit.role is Role.DATABASE]
    names = [unit.name for unit in units]
    samples = context.services.states(units) if context.services is not None else ()
    up = bool(samples) and all(s.state is UnitState.UP for s in samples) and context.server_down is False
    stated = ", ".join(f"{s.name} is {s.state}" for s in samples)
    if up:
        return _made(context, (), (), Requirement("the server is down", False, stated), (), ())
    version, origin = version_to_start(context.settings, context.database, context.state)
    locks_hold = behaviour_of(version).file_locks_hold_wal
    guard = None if locks_hold else guard_of(context.services, context.database.root)
    refusals = start_refusals(context)
    fragile = () if refusals else first_row_refusals(context)
    if not _frozen(context):
        refusals, fragile = (*refusals, *fragile), ()
    if guard is None and not locks_hold:
        refusals = (*refusals, *unheld_refusals(context, version))
    repaired = repaired_partitions(context)
    tables = [each for each in context.database.tables() if each.wal is not False]
    expected, left_out = _expected(tables, repaired, keeps=behaviour_of(version).keeps_suspension)
    stages = tuple(_stages(context, names, expected, guard if expected else None, repaired, version))
    requirement = Requirement("the server is down", context.server_down is True, stated)
    made = _made(context, stages, tuple(map(_fact, tables)), requirement, tuple(left_out), tuple(expected))
    which = f"QuestDB {version} is started, by {origin}." if version else "Which QuestDB is started is not known."
    warnings = (*(f"{each.reason}: write nothing before" for each in fragile),
                *_warnings(version, guard, locks_hold, expected))  # fmt: skip
    return with_refusals(replace(made, why=f"{made.why} {which}", warnings=warnings), refusals)


def _expected(
    tables: Sequence[TableDirectory], repaired: Mapping[str, frozenset[str] | None], *, keeps: bool
) -> tuple[list[Expectation], list[str]]:
    """Return what is to be proven of tables that have unapplied rows or were repaired, and what cannot be proven.

    `keeps`: the version that starts keeps a suspension that is on disk.
    """
    expected, left_out = [], []
    for each in tables:
        try:
            found = expectation_of(each)
        except ExpectationError as error:
            left_out.append(f"not proven afterwards: {error}")
            continue
        if each.directory in repaired or found.logged_txn > found.applied_txn:
            sequencer = read_sequencer_metadata(each.sequencer)
            suspended = keeps and not isinstance(sequencer, Problem) and sequencer.suspended
            expected.append(replace(found, suspended=suspended))
    return expected, left_out


def _frozen(context: PlanContext) -> bool:
    """Return whether every writer is known to be down. Without a unit of a writer nobody knows who writes."""
    units = [unit for unit in context.settings.services.units if unit.role is Role.WRITER]
    samples = context.services.states(units) if context.services is not None else ()
    return bool(units) and len(samples) == len(units) and all(sample.stopped for sample in samples)


def _made(
    context: PlanContext,
    stages: tuple[Stage, ...],
    facts: tuple[Fact, ...],
    requirement: Requirement,
    left_out: tuple[str, ...],
    expected: tuple[Expectation, ...],
) -> Plan:
    back = sum(each.rows for each in expected)
    return make_plan(
        SPEC,
        context.target(),
        why=(
            f"{plural(len(expected), 'table')} to prove, {back:,} rows in all. The WAL is held until QuestDB shows "
            "what the files promise. If it does not, it is stopped again."
            if expected
            else "No table has anything unapplied or repaired; the server is started and asked."
        ),
        stages=stages,
        facts=facts,
        requirements=(requirement,),
        left_out=left_out,
    )


def _warnings(
    version: Version | None, guard: Guard | None, locks_hold: bool, expected: list[Expectation]
) -> Iterator[str]:
    if version is None:
        yield "the QuestDB version is unknown, so the start is judged by the version that destroys most"
    if locks_hold or not expected:
        return
    if guard is None:
        yield "the purge cannot be held here: neither the unit's environment nor server.conf can be changed"
    else:
        yield (
            "this QuestDB ignores WAL lock files, so its purge is held by its interval. QuestDB is started a "
            "second time once its tables are proven"
        )


def _stages(
    context: PlanContext,
    names: list[str],
    expected: list[Expectation],
    guard: Guard | None,
    repaired: Mapping[str, frozenset[str] | None],
    version: Version | None,
) -> Iterator[Stage]:
    directories = [each.directory for each in expected]
    services = context.services
    guarded = {"units": names, "guard": guard.value} if guard is not None else {}
    if guard is not None:
        place = VARIABLE if guard is Guard.ENVIRONMENT else f"{CONFIGURATION}: {SETTING}"
        change = Change("overwrite", place, after=str(INTERVAL_MS))
        yield Stage("guard", "set the purge interval to a year for this start", "hold-purge", guarded, (change,))
    yield Stage(
        "hold",
        "lock every WAL and segment of these tables against the purge"
        if directories
        else "make sure that QuestDB is not running",
        "hold-wal",
        {"directories": directories, **_also(directories, repaired)},
        tuple(Change("lock", f"{directory}/wal*.lock and {directory}/wal*/*.lock") for directory in directories),
    )
    verbs = ("unmask", "start") if services is not None and services.can_mask else ("start",)
    lines = [services.command_line(verb, name) for name in names for verb in verbs if services is not None]
    commands = tuple(Change("command", line) for line in lines if line)
    planned = {"version": str(version)} if version is not None and expected else {}
    yield Stage(
        "start",
        f"start {', '.join(names)} and wait for its answer",
        "start-server-unit",
        {"units": names, **planned},
        commands,
    )
    documents = to_json(expected)
    if guard is not None:
        yield Stage("held", "ask the server whether its purge is held", "prove-held", guarded)
    if documents:
        yield Stage("verify", "wait until all is applied, and prove it", "verify-tables", {"expected": documents})
        if guard is not None:
            again = tuple(
                Change("command", services.command_line("restart", name)) for name in names if services is not None
            )
            yield Stage("let-go", "start the server again with its own interval", "let-purge-go", guarded, again)
        yield Stage("sweep", "wait for a purge sweep, then let the WAL go", "await-sweep", {"expected": documents})


def _also(directories: list[str], repaired: Mapping[str, frozenset[str] | None]) -> dict[str, Any]:
    """Return which partitions are read besides those that unapplied rows touch, where a repair replaced files."""
    names = {each: repaired[each] for each in directories if each in repaired}
    also = {each: None if parts is None else sorted(parts) for each, parts in names.items() if parts != frozenset()}
    return {"also": also} if also else {}


def _fact(table: TableDirectory) -> Fact:
    log = read_log(table.sequencer)
    header = None if log.header is None else [log.header.version, log.header.max_txn, log.file_size]
    return Fact(table.directory, digest_of(header, content_stamp(str(table.path / "_txn"))))


def repaired_partitions(context: PlanContext) -> dict[str, frozenset[str] | None]:
    """Return by directory of a table repaired since the last start the partitions whose files were replaced; None: all.

    Their values are read through the server after the start.
    """
    root = root_key(context.database.db)
    found: dict[str, frozenset[str] | None] = {}
    for entry in context.journal.entries():
        if entry.root != root or entry.result is not Outcome.DONE:
            continue
        if entry.action == SPEC.id:
            found.clear()
        elif entry.action in action_ids() and spec_of(entry.action).danger is Danger.DATA:
            directory = str(entry.intent.get("directory"))
            before = found.get(directory, frozenset())
            own: frozenset[str] | None = frozenset()
            if entry.action in TABLE_REPAIRS:
                with contextlib.suppress(WalmedicError):
                    own = partitions_of(read_entry_plan(context.state, entry.id))
            found[directory] = None if before is None or own is None else before | own
        elif entry.action == "undo":
            found.pop(str(entry.intent.get("directory")), None)
    return found


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The stages proved the tables; what is left is that the unit is up."""
    return up_claims(plan, run)
