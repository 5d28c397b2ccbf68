"""Steps on services: stop units, start the server under the WAL locks, prove its tables, wait for a purge sweep."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

from console.questdb.server_version import Version, version_of_build
from console.questdb.version_behaviour import behaviour_of
from console.records import of_json, to_json
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Plan, Stage, failed_in_words
from console.recovery.server.binary import note_running
from console.recovery.server.expectation import Expectation
from console.recovery.server.sql import Server, SqlError
from console.recovery.server.value_claims import noted_value_claims, sums_before
from console.recovery.server.verification import purge_interval, table_claims, wait_until_applied
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError
from console.recovery.store.locks import LockedError, ServerLock
from console.recovery.tree.wal_locks import WalLocks
from console.services.model import ServiceControl, ServiceError, UnitState
from console.settings import Unit
from console.text import clean_line, plural
from console.waiting import looks

_VALUES: Final = "values"
START_SECONDS = 180.0  # seconds that a server gets to answer: it may have a lot to map


def control(run: RunContext) -> ServiceControl:
    """Return the service control. Raises StepError where the station has none."""
    if run.services is None:
        raise StepError("no service backend is configured, so no service can be commanded")
    return run.services


def units_named(run: RunContext, stage: Stage) -> list[Unit]:
    wanted = list(stage.parameters["units"])
    return [unit for unit in run.settings.services.units if unit.name in wanted]


class StopUnits(Step):
    """Stop units; where `hold` is set, also keep them from being started by anything else. Reversed: let go only."""

    name = "stop-units"
    repeat = True  # after a power loss the service manager has started them, and a hold until boot is gone

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Hold first, then stop: in between nothing may start it again."""
        services = control(run)
        if stage.parameters["hold"]:
            note_running(run.database, run.state)  # a rehearsal starts the same binary
        for unit in units_named(run, stage):
            run.progress(f"stopping {unit.name}")
            if stage.parameters["hold"]:
                services.mask_runtime(unit.name)
            services.stop(unit.name)
        if stage.parameters["hold"]:
            await_server_gone(run)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Let the units be started again; starting them is an action of its own, with its own checks."""
        if stage.parameters["hold"]:
            for unit in units_named(run, stage):
                control(run).unmask(unit.name)


def await_server_gone(run: RunContext, timeout: float = 30.0) -> None:
    """Return once the server's lock can be won. Raises LockedError where that takes longer than `timeout` seconds."""
    lock = ServerLock(run.database.db, run.settings.questdb)
    acquire_within(lock, timeout)
    lock.release()


def acquire_within(lock: ServerLock, seconds: float) -> None:
    """Win the lock of a server that is about to end. Raises LockedError where that takes longer than `seconds`."""
    for late in looks(seconds, 0.1):
        try:
            lock.acquire()
            return
        except LockedError:
            if late:
                raise


class HoldWal(Step):
    """Win the server's lock where no server lives yet, and lock the WAL of the stage's tables against the purge."""

    name = "hold-wal"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Take the locks; they end with the run. Note what is in the partitions that will be touched."""
        if run.server_lock is not None and not run.recall("server started"):
            run.server_lock.acquire()
        if run.recall(_VALUES) is None and not run.recall("server started"):
            also = stage.parameters.get("also", {})
            values = {each: self._values(each, also.get(each, ()), run) for each in stage.parameters["directories"]}
            run.remember(_VALUES, values)
        locks = run.keep.enter_context(WalLocks(run.database.db))
        for directory in stage.parameters["directories"]:
            locks.hold(run.database.in_directory(str(directory)), skip_busy=bool(run.recall("server started")))
        run.progress(f"holding {plural(len(locks.held), 'lock')} of WAL directories and segments")

    def _values(self, directory: str, also: Sequence[str] | None, run: RunContext) -> Any:
        run.progress(f"reading what the partitions of {directory} will hold")
        found = sums_before(run.database.in_directory(directory), also=None if also is None else frozenset(also))
        return to_json(found)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Nothing: the locks end with the run, after the server was stopped."""


class StartServer(Step):
    """Let the server's lock go, start the unit, and wait until it answers as ours. Reversed: stop and hold it."""

    name = "start-server-unit"

    def perform(self, stage: Stage, run: RunContext) -> None:
        services = control(run)
        run.remember("server started", True)
        run.release_server_lock()
        for unit in units_named(run, stage):
            services.unmask(unit.name)
            services.start(unit.name, START_SECONDS)
        run.progress("waiting for the server to answer")
        server = Server(run.settings.questdb)
        seconds = server.wait_until_up(run.database.db, START_SECONDS)
        run.progress(f"it answered after {seconds:.1f} s")
        self._compare(server, Version.parse(stage.parameters.get("version", "")), run)

    def _compare(self, server: Server, planned: Version | None, run: RunContext) -> None:
        """Claim that WAL locks hold the purge of the QuestDB that answers as they do of the `planned` one's."""
        with contextlib.suppress(SqlError, LookupError):
            found = version_of_build(str(server.rows("SELECT build() AS build")[0]["build"]))
            if found is None or planned is None or found == planned:
                return
            held = behaviour_of(found).file_locks_hold_wal or not behaviour_of(planned).file_locks_hold_wal
            wanted = f"{planned}, or one like it"
            run.claims.append(Claim(ClaimKey.VERSION, "QuestDB that was started", wanted, str(found), held))
            if not held:
                what = f"QuestDB {found} was started, and the plan is for {planned}, whose purge WAL locks hold"
                raise StepError(f"{what}: plan again")

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Stop it again and keep it down: what it would do next is what failed to be proven safe.

        A server that this run has not started is another's: it stays as it is.
        """
        if not run.recall("server started"):
            return
        services = control(run)
        for unit in units_named(run, stage):
            services.mask_runtime(unit.name)
            services.stop(unit.name)
        await_server_gone(run)
        run.remember("server started", False)


class VerifyTables(CheckStep):
    """Wait until each table has applied what was logged, and prove it against what the disk predicted."""

    name = "verify-tables"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Add the claims to the run. Raises StepError at the first that does not hold."""
        server = Server(run.settings.questdb)
        for document in stage.parameters["expected"]:
            expected = of_json(Expectation, document)

            def on_applied(done: int, total: int, name: str = expected.table) -> None:
                run.progress(f"{name}: transactions applied", done, total)

            row = wait_until_applied(server, expected, on_applied)
            self._add(table_claims(server, expected, row), run)
            run.progress(f"{expected.table}: reading every value of the partitions that were touched")
            table, document = (
                run.database.in_directory(expected.directory),
                run.recall(_VALUES, {}).get(expected.directory),
            )
            self._add(noted_value_claims(server, table, expected, document, row), run)

    def _add(self, claims: Sequence[Claim], run: RunContext) -> None:
        run.claims.extend(claims)
        if failed := failed_in_words(claims):
            raise StepError(f"not proven: {failed}")


class AwaitSweep(CheckStep):
    """Wait, with the WAL still locked, until a purge sweep must have passed; then nothing may have become worse."""

    name = "await-sweep"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Wait one interval and a margin, then look at the tables again."""
        server = Server(run.settings.questdb)
        interval = purge_interval(server)
        until = time.monotonic() + interval + min(5.0, max(1.0, interval / 10))
        while (left := until - time.monotonic()) > 0:
            run.progress(f"a purge sweep comes every {interval:.0f} s; {left:.0f} s to wait")
            time.sleep(min(0.5, left))
        for document in stage.parameters["expected"]:
            expected = of_json(Expectation, document)
            claim = sweep_claim(server, expected)
            run.claims.append(claim)
            if not claim.ok:
                raise StepError(f"{expected.table} is {claim.found} after the purge sweep")


def sweep_claim(server: Server, expected: Expectation) -> Claim:
    row = server.wal_table(expected.table)
    good = row is not None and not row["suspended"] and int(row["sequencerTxn"]) >= int(row["writerTxn"])
    found, name = "as before" if good else "suspended, unlisted or behind", clean_line(expected.table)
    return Claim(ClaimKey.SWEEP, f"{name}: after a purge sweep", "as before", found, good, table=name)


def up_claims(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return that the units that a plan starts are up."""
    names = [name for stage in plan.stages for name in stage.parameters.get("units", ())]
    if run.services is None:
        return ()
    samples = run.services.states([unit for unit in run.settings.services.units if unit.name in names])
    return tuple(
        Claim(ClaimKey.UNIT_UP, f"{s.name} is up", "up", s.state.value, s.state is UnitState.UP) for s in samples
    )


def down_claims(run: RunContext, names: list[str]) -> tuple[Claim, ...]:
    """Return the claim that units are down, as the service manager says."""
    try:
        samples = control(run).states([unit for unit in run.settings.services.units if unit.name in names])
    except ServiceError as error:
        return (Claim(ClaimKey.UNIT_DOWN, f"{', '.join(names)} stopped", "stopped", str(error), ok=False),)
    return tuple(
        Claim(ClaimKey.UNIT_DOWN, f"{s.name} is stopped", "stopped", s.state.value, s.stopped) for s in samples
    )


STEPS: tuple[Step, ...] = (StopUnits(), HoldWal(), StartServer(), VerifyTables(), AwaitSweep())
