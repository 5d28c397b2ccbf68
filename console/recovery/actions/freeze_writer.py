"""freeze-writer: stop what writes to the database; the feeds run on, so that the queue keeps the market data."""

from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Requirement, Stage
from console.recovery.plans import make_plan
from console.recovery.registry import PlanContext
from console.recovery.service_steps import down_claims
from console.recovery.steps import RunContext
from console.settings import Role

SPEC = ActionSpec(
    id="freeze-writer",
    title="Freeze the writer",
    danger=Danger.SERVICE,
    needs_table=False,
    summary="Stops the batch writer only; the feeds go on filling the queue, which keeps what no exchange sends twice.",
    undo="thaw-writer starts it again and watches the backlog drain.",
    opposite="thaw-writer",
)


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan to stop the writers; empty where they are down already."""
    del table
    units = [unit for unit in context.settings.services.units if unit.role is Role.WRITER]
    samples = context.services.states(units) if context.services is not None else ()
    running = [s.name for s in samples if not s.stopped]
    feeds = ", ".join(context.settings.services.named(Role.FEED))
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
        station=context.settings.station_name,
        table=None,
        why=f"A writer that retries against a broken table only adds load; {feeds or 'the feeds'} keep running.",
        stages=stages if running else (),
        facts=(),
        requirements=(
            Requirement(
                "a unit with the role writer is configured",
                bool(units),
                ", ".join(f"{s.name} is {s.state}" for s in samples) or "none",
            ),
        ),
        warnings=("the queue grows until thaw-writer: watch its memory",) if running else (),
    )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The writers are down."""
    return down_claims(run, [name for stage in plan.stages for name in stage.parameters["units"]])
