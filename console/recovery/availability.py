"""Which actions are open now, what stands against the others, and which one comes first: what the palette shows."""

from collections.abc import Sequence

from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.recovery.model import ActionSpec, Availability, Refusal
from console.recovery.policy import Door
from console.recovery.registry import PlanContext, action_module


def availability(
    context: PlanContext, specs: Sequence[ActionSpec], table: TableDirectory | None
) -> tuple[Availability, ...]:
    """Return each action with what stands against it, for `table` or for the station."""
    report = context.report(table.raw_name) if table is not None else None
    against = {spec.id: _against(context, spec, table) for spec in specs}
    first = _first_step(report.next_step.action if report is not None else None, against)
    name = table.name if table is not None else None
    return tuple(Availability(spec, name, against[spec.id], recommended=spec.id == first) for spec in specs)


def _against(context: PlanContext, spec: ActionSpec, table: TableDirectory | None) -> tuple[Refusal, ...]:
    """Return what stands against an action: the policy first, since a plan may cost more to make."""
    if spec.needs_table and table is None:
        return (Refusal("no-table", "it works on one table", "choose a table first"),)
    refusals = Door(context, spec, table, lock_held=False).refusals(None)
    if refusals:
        return refusals
    try:
        plan = action_module(spec.id).plan(context, table.raw_name if table is not None and spec.needs_table else None)
    except WalmedicError as error:
        return (Refusal("cannot-be-planned", str(error), "walmedic check says what is there"),)
    if plan.refused or plan.needed:
        return plan.refused
    return (Refusal("not-needed", "there is nothing for it to do", "nothing"),)


def _first_step(wanted: str | None, against: dict[str, tuple[Refusal, ...]]) -> str | None:
    """Return the action to take first: what the table needs or what comes before it, else what brings all back up."""
    if wanted in against:
        if not against[wanted]:
            return wanted
        # A writer that goes on retrying is stopped first, whatever else stands in the way.
        before = ("freeze-writer", *(refusal.instead for refusal in against[wanted]))
        return next((action for action in before if action in against and not against[action]), None)
    return next((action for action in ("start-server", "thaw-writer") if not against[action]), None)
