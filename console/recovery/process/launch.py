"""Running an action in a process of its own that outlives the console and the operator's session.

Its output goes to files of the state directory, its progress to the entry's folder; a console that is started later
finds it by the journal and by the station's lock, which says who works.
"""

import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, Progress, RunResult, claims_of
from console.recovery.process.child_process import Child, ProgressFile, place_of
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.journal import Entry
from console.recovery.store.living import runs_walmedic
from console.recovery.store.locks import StationLock


class RunningAction:
    """An action in its own process, watched through files. `poll` and `result` never block.

    `undoes` is the entry that is taken back: an undo tells its progress in that entry's folder, since `since` (epoch
    seconds). `stamp` tells its process from a later one of that id.
    """

    def __init__(
        self, engine: Engine, pid: int, *, plan_id: str = "", entry: str = "", undoes: str = "", since: float = 0.0,
        child: Child | None = None, stamp: str = "",
    ) -> None:  # fmt: skip
        self._engine = engine
        self._plan_id = plan_id
        self.pid = pid
        self.entry = entry
        self._undoes = undoes
        self._since = since
        self._child = child
        self._stamp = stamp
        self._progress = ProgressFile()

    def poll(self) -> list[Progress]:
        """Return what was reported since the last call, oldest first."""
        entry = self._undoes or self._found()
        if entry is None:
            return []
        progress = self._progress.read(self._engine.state.entry(entry) / "progress.jsonl")
        return [each for each in progress if each.at is None or each.at >= self._since]

    def result(self) -> RunResult | None:
        """Return how it ended, None while it goes on. A process that died leaves its entry unfinished."""
        if self.alive:
            return None
        ended = _result_of(self._child.document()) if self._child is not None else None
        if ended is not None:
            return ended
        entry = self._found()
        found = next((e for e in self._engine.journal.entries() if e.id == entry), None)
        if found is not None and found.outcome is not None:
            return _result_of({**found.outcome, "entry": found.id})
        if found is not None:
            then = "run it again to finish it, or undo it"
            return RunResult(found.id, Outcome.UNFINISHED, "its process ended before it did", (), then)
        return RunResult("", Outcome.REFUSED, self._child.words() if self._child is not None else "it left no word")

    @property
    def alive(self) -> bool:
        return self._child.alive if self._child is not None else runs_walmedic(self.pid, self._stamp)

    def _found(self) -> str | None:
        if not self.entry:
            for entry in self._engine.journal.entries():
                same = entry.intent.get("undoes") == self._undoes if self._undoes else entry.intent.get("plan") == (
                    self._plan_id
                )  # fmt: skip
                if same and entry.worker.data.get("pid") == self.pid:
                    self.entry = entry.id
        return self.entry or None


@dataclass(frozen=True, slots=True)
class Attached:
    """An action that runs already: what it does, its journal entry, and the way to watch it."""

    running: RunningAction
    plan: Plan
    entry: Entry


def launch(engine: Engine, plan: Plan, phrase: str, *, undoes: str = "") -> RunningAction:
    """Start `plan` (or the undo of entry `undoes`) in a session of its own. Raises WalmedicError where it cannot be."""
    folder = engine.state.made(engine.state.root / "launches" / secrets.token_hex(6))
    target = [plan.table] if plan.table else []
    what = ["undo", undoes] if undoes else ["run", plan.action, *target, "--plan", plan.plan_id]
    cut_off = [e for e in engine.unfinished() if not undoes and (e.action, e.table) == (plan.action, plan.table)]
    since = time.time()
    child = Child.start(folder, [*what, "--confirm", phrase, "--json", *place_of(engine)], prefix=_own_scope())
    return RunningAction(
        engine, child.pid, plan_id=plan.plan_id, entry=cut_off[0].id if cut_off else "", undoes=undoes,
        since=since if undoes else 0.0, child=child,
    )  # fmt: skip


def attach(engine: Engine) -> Attached | None:
    """Return the action that runs on this database, started by another console or a command line; None for none."""
    holder = StationLock(engine.state, engine.database.db).holder()
    if holder is None or not holder.alive:
        return None
    for entry in reversed(engine.unfinished()):
        worker = entry.worker.data
        if worker.get("pid") != holder.pid or worker.get("stamp", holder.stamp) != holder.stamp:
            continue
        undoes = str(entry.intent.get("undoes") or "")
        since = entry.worker.seconds if undoes else 0.0
        running = RunningAction(engine, holder.pid, entry=entry.id, undoes=undoes, since=since, stamp=holder.stamp)
        plan = engine.plan_undo(undoes) if undoes else read_entry_plan(engine.state, entry.id)
        return Attached(running, plan, entry)
    return None


def _own_scope() -> list[str]:
    """Return the prefix that keeps systemd from ending the process with the operator's session."""
    tool = shutil.which("systemd-run")
    if tool is None or not Path("/run/systemd/system").is_dir():
        return []
    user = [] if os.geteuid() == 0 else ["--user"]
    if user and not Path(f"/run/user/{os.geteuid()}/bus").exists():
        return []
    return [tool, *user, "--scope", "--quiet", "--collect"]


def _result_of(ended: dict[str, Any]) -> RunResult | None:
    """Return the result in a document of `run --json` or an outcome of the journal, None where there is none in it."""
    try:
        return RunResult(
            str(ended["entry"] or ""),
            Outcome(ended["outcome"]),
            str(ended["message"]),
            claims_of(ended.get("verification")),
            str(ended.get("next_step") or ""),
        )
    except (KeyError, ValueError, TypeError):
        return None
