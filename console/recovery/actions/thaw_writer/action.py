"""thaw-writer: start the batch writer, see its first batch applied in each table, watch the backlog drain."""

import contextlib
from collections.abc import Iterator

from console.errors import WalmedicError
from console.questdb.aside import tables_aside
from console.records import to_json
from console.recovery.actions.thaw_writer import steps
from console.recovery.actions.thaw_writer.duplicates import Doubles, doubles_of
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.gate.start_checks import write_refusals
from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Refusal, Requirement, Stage
from console.recovery.plans import make_plan
from console.recovery.server.sql import Server, SqlError
from console.recovery.steps.services import up_claims
from console.recovery.steps.steps import RunContext
from console.redis_queue.reader import Queue
from console.services.model import UnitState
from console.settings import Role, Stream
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="thaw-writer",
    title="Thaw the writer",
    danger=Danger.SERVICE,
    needs_table=False,
    summary=(
        "Starts the batch writer, proves that its first batch is applied and watches the backlog drain; "
        "stops it at the first error."
    ),
    undo="freeze-writer.",
    opposite="freeze-writer",
)
STEPS = steps.STEPS


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; refused while the server does not answer or a table of a stream cannot take rows."""
    del table
    units = [unit for unit in context.settings.services.units if unit.role is Role.WRITER]
    samples = context.services.states(units) if context.services is not None else ()
    down = [s.name for s in samples if s.state is not UnitState.UP]
    streams = context.settings.redis.streams
    services = context.services
    doubles, unknown = _doubles(context) if down else ((), "")
    stages = (
        Stage(
            "thaw",
            f"start {', '.join(down)}",
            "start-writer",
            {"units": down},
            tuple(Change("command", services.command_line("start", name)) for name in down if services is not None),
        ),
        Stage("drain", "see the first batch applied, watch the backlog drain", "watch-backlog", {"units": down}),
        *((_counting(doubles),) if doubles else ()),
    )
    return make_plan(
        SPEC,
        context.target(),
        why="The queue holds what was not written meanwhile; the writer sends it, and is stopped at the first error.",
        stages=stages if down else (),
        refused=tuple(_refusals(context)) if down else (),
        requirements=(
            Requirement(
                "the writer is down", bool(down), ", ".join(f"{s.name} is {s.state}" for s in samples) or "none"
            ),
            Requirement(
                "streams are configured", bool(streams), ", ".join(clean_line(s.name) for s in streams) or "none"
            ),
        ),
        rows_maybe_twice=sum(each.most for each in doubles),
        duplicates_known=not unknown,
        warnings=(*_warnings(streams, doubles, unknown), *_aside(context)),
    )


def _counting(doubles: tuple[Doubles, ...]) -> Stage:
    documents = {"doubles": to_json(doubles)}
    return Stage("doubles", "count the rows that came twice", "count-doubles", documents)


def _warnings(streams: tuple[Stream, ...], doubles: tuple[Doubles, ...], unknown: str) -> Iterator[str]:
    if not streams:
        yield "no streams are configured: only the start of the writer can be watched"
    if unknown:
        yield f"the number of possible duplicates is not known: {unknown}"
    for each in doubles:
        if each.most:
            yield f"up to {plural(each.most, 'possible duplicate')}: {each.description}"
    if any(each.most for each in doubles):
        yield (
            "a pending entry is sent again whether or not its row is there: what came twice is counted at the end, and "
            "no row is removed"
        )


def _aside(context: PlanContext) -> Iterator[str]:
    for aside in tables_aside(context.database.db):
        yield f"{aside.name} is set aside: a writer that writes to it makes a new, empty table of that name"


def _doubles(context: PlanContext) -> tuple[tuple[Doubles, ...], str]:
    """Return what may come twice, and if that is not known, why."""
    streams = context.settings.redis.streams
    if not streams or context.settings.bare:
        return (), ""
    try:
        with contextlib.closing(Queue(context.settings.redis)) as queue:
            return tuple(doubles_of(context, queue, streams)), ""
    except WalmedicError as error:
        return (), str(error)


def _refusals(context: PlanContext) -> list[Refusal]:
    if context.settings.bare or context.services is None:
        return []  # the policy says why already
    server = Server(context.settings.questdb)
    try:
        server.prove_ours(context.database.db)
        wrong = []
        for name in sorted({stream.table for stream in context.settings.redis.streams if stream.table}):
            row = server.wal_table(name)
            if row is None or row["suspended"] or int(row["sequencerTxn"]) < int(row["writerTxn"]):
                wrong.append(clean_line(name))
    except SqlError as error:
        return [Refusal(RefusalCode.SERVER_DOWN, str(error), "start-server", action="start-server")]
    except WalmedicError as error:
        return [Refusal(RefusalCode.SERVER_UNKNOWN, str(error), "start-server", action="start-server")]
    streamed = {clean_line(stream.table) for stream in context.settings.redis.streams if stream.table}
    damaged = [each for each in write_refusals(context) if not streamed or each.table in streamed]
    if damaged:
        return damaged
    if wrong:
        reason = f"{', '.join(wrong)} cannot take rows yet (suspended, unlisted, or its log below what is applied)"
        return [Refusal(RefusalCode.TABLE_NOT_READY, reason, "repair it first: walmedic check says how")]
    return []


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The stages proved the drain; what is left is that the writer still runs."""
    return up_claims(plan, run)
