"""A rehearsal in a process of its own: watched through files named after the plan, so that any console finds it again.

`rehearsals/plan-ID/` in the state directory has the document of `rehearse --json` in `stdout`, its progress in `stderr`
and the process in `pid`; a new rehearsal of the same plan replaces it.
"""

import contextlib
import os
import shutil
import signal

from console.errors import WalmedicError
from console.recovery import plans
from console.recovery.engine import Engine
from console.recovery.model import Plan, Progress, claims_of
from console.recovery.process.child_process import Child, ProgressFile, document_in, place_of, words_in
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome
from console.recovery.store.living import process_stamp, runs_walmedic
from console.recovery.store.state import write_private
from console.text import clean_line


class RunningRehearsal:
    """A rehearsal of one plan, at work or over. `poll` and `result` never block."""

    def __init__(self, engine: Engine, plan: Plan, child: Child | None = None) -> None:
        self.plan = plan
        self._folder = engine.state.root / "rehearsals" / f"plan-{plan.plan_id}"
        self._child = child
        self._progress = ProgressFile()

    @property
    def known(self) -> bool:
        return (self._folder / "pid").exists()

    @property
    def alive(self) -> bool:
        return self._child.alive if self._child is not None else runs_walmedic(*self._process())

    def poll(self) -> list[Progress]:
        """Return what was reported since the last call, oldest first."""
        return self._progress.read(self._folder / "stderr")

    def result(self) -> Rehearsal | None:
        """Return how it ended, None while it goes on. What kept it from being done at all is a refusal's message."""
        if self.alive:
            return None
        if (self._folder / "cancelled").exists():
            return self._not_done("it was cancelled; its server is stopped and the clone is gone")
        document = document_in(self._folder)
        try:
            return Rehearsal(
                str(document["rehearsal"]),
                plans.from_json(document["plan"]),
                RehearsalOutcome(document["outcome"]),
                clean_line(str(document["message"])),
                claims_of(document["verification"]),
                float(document["seconds"]),
                None,
                tuple(document["left_out"]),
            )
        except (KeyError, ValueError, TypeError):
            return self._not_done(words_in(self._folder))

    def cancel(self) -> None:
        """Ask it to end: it stops its server and removes its clone by itself."""
        if self.alive:
            write_private(self._folder / "cancelled", b"")
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process()[0], signal.SIGTERM)

    def _not_done(self, message: str) -> Rehearsal:
        return Rehearsal("", self.plan, RehearsalOutcome.REFUSED, message, (), 0.0, None)

    def _process(self) -> tuple[int, str]:
        """Return its process id, and the stamp that tells it from a later process of that id."""
        try:
            pid, _, stamp = (self._folder / "pid").read_text().partition(" ")
            return int(pid), stamp
        except (OSError, ValueError):
            return 0, ""


def launch_rehearsal(engine: Engine, plan: Plan) -> RunningRehearsal:
    """Begin to rehearse `plan`; one that works already is watched instead. Raises WalmedicError where it cannot be."""
    found = RunningRehearsal(engine, plan)
    if found.alive:
        return found
    if plan.table is None:
        raise WalmedicError(f"{plan.action} works on no table, so there is nothing to rehearse")
    folder = engine.state.root / "rehearsals" / f"plan-{plan.plan_id}"
    shutil.rmtree(folder, ignore_errors=True)
    engine.state.made(folder)
    questdb = engine.settings.questdb
    named = (("--jar", questdb.jar), ("--java", questdb.java), ("--maven", questdb.maven))
    binary = [word for flag, value in named if value for word in (flag, value)]
    child = Child.start(folder, ["rehearse", plan.action, plan.table, "--json", *binary, *place_of(engine)])
    write_private(folder / "pid", f"{child.pid} {process_stamp(child.pid)}".encode())
    return RunningRehearsal(engine, plan, child)


def rehearsal_of(engine: Engine, plan: Plan) -> RunningRehearsal | None:
    """Return the rehearsal of exactly this plan, at work or over; None where there was none."""
    found = RunningRehearsal(engine, plan)
    return found if found.known else None
