"""stop-server: stop the database's unit, keep it down, and win its lock as the proof that it is gone."""

from console.recovery.codes import ClaimKey
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Requirement, Stage
from console.recovery.plans import make_plan
from console.recovery.steps import services
from console.recovery.steps.services import down_claims
from console.recovery.steps.steps import RunContext
from console.recovery.store.locks import LockedError, ServerLock
from console.settings import Role, Unit

SPEC = ActionSpec(
    id="stop-server",
    title="Stop the server",
    danger=Danger.SERVICE,
    needs_table=False,
    summary="Stops QuestDB, keeps it from being started again, and proves by its lock that it is not running.",
    undo="start-server, which looks at every table before it starts anything.",
    opposite="start-server",
)
STEPS = services.STEPS


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan to stop and hold the server; empty if it is down and held already."""
    del table
    units = [unit for unit in context.settings.services.units if unit.role is Role.DATABASE]
    samples = context.services.states(units) if context.services is not None else ()
    # Not on what the unit is at this moment: in a crash loop that changes between plan and confirmation.
    held = bool(samples) and all(sample.held for sample in samples)
    stages = () if held and context.server_down else (_stage(context, units),)
    stated = ", ".join(f"{s.name} is {s.state}{' (held)' if s.held else ''}" for s in samples)
    return make_plan(
        SPEC,
        context.target(),
        why="Files may be repaired only while QuestDB is stopped; a crash loop changes the evidence.",
        stages=stages,
        requirements=(Requirement("a unit with the role database is configured", bool(units), stated or "none"),),
        warnings=("reads stop too, until start-server",) if stages else (),
    )


def _stage(context: PlanContext, units: list[Unit]) -> Stage:
    names = [unit.name for unit in units]
    services = context.services
    verbs = ("mask", "stop") if services is not None and services.can_mask else ("stop",)
    commands = [services.command_line(verb, name) for name in names for verb in verbs if services is not None]
    changes = [Change("command", command) for command in commands if command]
    return Stage(
        "stop",
        f"stop {', '.join(names)} and keep it down",
        "stop-units",
        {"units": names, "hold": True},
        tuple(changes),
    )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The unit is down and the server's lock can be won."""
    names = [name for stage in plan.stages for name in stage.parameters["units"]]
    lock = ServerLock(run.database.db, run.settings.questdb)
    try:
        lock.acquire()
    except LockedError as error:
        won = Claim(ClaimKey.SERVER_GONE, "QuestDB is not running: its lock is free", "free", str(error), ok=False)
    else:
        lock.release()
        won = Claim(ClaimKey.SERVER_GONE, "QuestDB is not running: its lock is free", "free", "free", ok=True)
    return (*down_claims(run, names), won)
