"""Steps that hold the purge by the server's own setting while its tables are proven, and let it go afterwards."""

from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Stage
from console.recovery.server.purge_guard import (
    INTERVAL_MS,
    LONG,
    VARIABLE,
    Guard,
    hold_by_configuration,
    let_go_by_configuration,
)
from console.recovery.server.sql import Server
from console.recovery.server.verification import purge_interval
from console.recovery.steps.services import START_SECONDS, await_server_gone, control, units_named
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError


class HoldPurge(Step):
    """Put the setting in place. Reversed: take it away, so that the next start purges as it always did."""

    name = "hold-purge"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Put it in place, for each unit; done twice it is there once."""
        if Guard(stage.parameters["guard"]) is Guard.CONFIGURATION:
            hold_by_configuration(run.database.root)
            return
        for unit in units_named(run, stage):
            control(run).set_environment(unit.name, {VARIABLE: str(INTERVAL_MS)})

    def reverse(self, stage: Stage, run: RunContext) -> None:
        _let_go(stage, run)


class ProveHeld(CheckStep):
    """Ask the server for its purge interval: another setting may have won, and then it is stopped before a sweep."""

    name = "prove-held"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        if run.recall(_LIFTED):
            return
        interval = purge_interval(Server(run.settings.questdb))
        held = interval >= LONG
        run.claims.append(
            Claim(ClaimKey.WAL_KEPT, "the purge is held by its interval", "a year", f"{interval:,.0f} s", ok=held)
        )
        if not held:
            raise StepError(
                f"the server's purge interval is {interval:,.0f} s although it was set to a year: something else sets "
                f"{VARIABLE}; take it out of the unit's EnvironmentFile, then plan again"
            )


class LetPurgeGo(Step):
    """Take the setting away and start the server again: from now on it purges as it always did."""

    name = "let-purge-go"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Stop, take away, start; done twice, the server has been started twice."""
        services, units = control(run), units_named(run, stage)
        for unit in units:
            run.progress(f"stopping {unit.name}, to start it with its own purge interval")
            services.stop(unit.name)
        await_server_gone(run)
        _let_go(stage, run)
        run.remember(_LIFTED, True)
        for unit in units:
            services.start(unit.name, START_SECONDS)
        Server(run.settings.questdb).wait_until_up(run.database.db, START_SECONDS)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Nothing: the start that came first is reversed, and stops the server."""


_LIFTED = "purge let go"


def _let_go(stage: Stage, run: RunContext) -> None:
    if Guard(stage.parameters["guard"]) is Guard.CONFIGURATION:
        let_go_by_configuration(run.database.root)
        return
    for unit in units_named(run, stage):
        control(run).clear_environment(unit.name)


STEPS: tuple[Step, ...] = (HoldPurge(), ProveHeld(), LetPurgeGo())
