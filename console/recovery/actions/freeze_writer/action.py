"""freeze-writer: stop what writes to the database; the feeds run on, so that the queue keeps the market data."""

from collections.abc import Iterator

from console.recovery.actions.freeze_writer.headroom import Headroom, headroom_of
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Requirement, Stage
from console.recovery.plans import make_plan
from console.recovery.steps import services
from console.recovery.steps.services import down_claims
from console.recovery.steps.steps import RunContext
from console.settings import Role

SPEC = ActionSpec(
    id="freeze-writer",
    title="Freeze the writer",
    danger=Danger.SERVICE,
    needs_table=False,
    summary="Stops only the batch writer. The feeds keep running, and Redis buffers what exchanges do not resend.",
    undo="thaw-writer starts it again and watches the backlog drain.",
    opposite="thaw-writer",
)
STEPS = services.STEPS


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan to stop the writers; empty where they are down already."""
    del table
    units = [unit for unit in context.settings.services.units if unit.role is Role.WRITER]
    samples = context.services.states(units) if context.services is not None else ()
    running = [s.name for s in samples if not s.stopped]
    feeds = ", ".join(context.settings.services.named(Role.FEED))
    room = headroom_of(context.settings.redis) if running else Headroom(None, "the writer is down already")
    services = context.services
    stages = (
        Stage(
            "freeze",
            f"stop {', '.join(running)}",
            "stop-units",
            {"units": running, "hold": False},
            tuple(Change("command", services.command_line("stop", name)) for name in running if services is not None),
        ),
    )
    return make_plan(
        SPEC,
        context.target(),
        why=(
            "Stops only the batch writer. Exchanges do not resend missed data, so "
            f"{feeds or 'the feeds'} keep running and Redis buffers: {room.description}."
        ),
        stages=stages if running else (),
        requirements=(
            Requirement(
                "a unit with the role writer is configured",
                bool(units),
                ", ".join(f"{s.name} is {s.state}" for s in samples) or "none",
            ),
            Requirement("Redis has room for at least ten minutes", not room.short, room.room or room.description),
        ),
        warnings=tuple(_warnings(room, feeds)) if running else (),
    )


def _warnings(room: Headroom, feeds: str) -> Iterator[str]:
    yield "Redis fills until thaw-writer: watch its memory, and do not lower MAXLEN"
    if room.short:
        yield f"{room.room}: raise {room.raises or 'maxmemory'} first, by hand; then freeze the writer"
        yield f"do not stop {feeds or 'the feeds'}: what they miss is lost for good"


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    return down_claims(run, [name for stage in plan.stages for name in stage.parameters["units"]])
