"""The engine: what can be done, what it would cost, doing it, finishing it, taking it back.

Behind palette and command line alike. Everything here blocks: screens call it from a thread.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from console.diagnosis.database import diagnose
from console.diagnosis.model import DatabaseReport
from console.diagnosis.server.facts import read_server_facts
from console.diagnosis.server.liveness import Life, liveness
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.server_version import read_versions
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.evidence.verification import manifest_digest
from console.recovery.execution import Ended, OnProgress, carry_out, verification_progress, write_end
from console.recovery.gate import finishing
from console.recovery.gate.context import plan_context
from console.recovery.gate.history import Histories
from console.recovery.gate.policy import Policy, evidence_refusal
from console.recovery.gate.registry import PlanContext, action_ids, action_module, spec_of
from console.recovery.gate.rehearsed import Records
from console.recovery.model import ActionSpec, Availability, Danger, FirstStep, Outcome, Plan, Refusal, RunResult
from console.recovery.next_steps.availability import availability, first_step
from console.recovery.next_steps.station_plan import StationPlan, station_plan
from console.recovery.next_steps.way import Way, station_way
from console.recovery.plans import with_refusals
from console.recovery.steps.steps import RunContext
from console.recovery.store.entries import read_entry_plan, write_entry
from console.recovery.store.journal import Entry, Journal, new_entry_id
from console.recovery.store.locks import RunLocks, ServerLock, StationLock
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir
from console.recovery.tree.tree import Tree
from console.recovery.undo import by_evidence, undoing
from console.recovery.undo.restoring import promise_of
from console.services.control import control_for
from console.services.model import ServiceControl
from console.settings import Settings
from console.text import clean_line

_NO_SERVER = "the proof by a server: this directory belongs to no station, so the result is proven from disk alone"


class WrongPhraseError(WalmedicError):
    """The phrase typed is not the plan's."""


class PlanChangedError(WalmedicError):
    """What the plan rested on has changed: its phrase is void, `plan` is the new one."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            "what the plan rested on has changed, so its confirmation is void and nothing was done; "
            f"look at the new plan {plan.plan_id}"
        )
        self.plan = plan


class Engine:
    """All recovery actions on one database. Raises WalmedicError where the database root is none."""

    def __init__(self, settings: Settings) -> None:
        if not settings.questdb.db_root:
            raise WalmedicError(
                "no database root is known; name it with --db-root, or write a settings file (walmedic init)"
            )
        self.settings = settings
        self.database = DatabaseRoot.locate(Path(settings.questdb.db_root)).guarded(settings.guard_path)
        self.state = StateDir(settings.state_path)
        self._keep_apart(Path(settings.questdb.db_root))
        self.journal = Journal(self.state)
        self._root = root_key(self.database.db)

    def _keep_apart(self, named: Path) -> None:
        """Raise WalmedicError where journal and evidence would lie in the database that they are evidence of."""
        ours = self.state.root.resolve()
        if any(ours.is_relative_to(place) for place in (named.resolve(), self.database.db.resolve())):
            raise WalmedicError(
                f"the state directory {clean_line(str(ours))} lies inside the database root: evidence is kept outside "
                "of what it is of; name another with --state-dir"
            )

    # ---- looking ---------------------------------------------------------------------------------------------------

    def specs(self) -> tuple[ActionSpec, ...]:
        """Return all actions, in the order in which an incident is worked through."""
        return tuple(spec_of(action) for action in action_ids())

    def availability(self, table: str | None) -> tuple[Availability, ...]:
        return availability(self._context(), self.specs(), self._table(table), self.diagnosis())

    def first_step(self, report: DatabaseReport | None = None) -> FirstStep | None:
        """Return the one step to take now, by `report` or by what the disk says; None for no step."""
        return first_step(self._context(), report or self.diagnosis())

    def way(self, report: DatabaseReport | None = None) -> Way:
        """Return all steps of the recovery with the one to take now, by `report` or by what the disk says."""
        return station_way(self._context(), report or self.diagnosis())

    def diagnosis(self) -> DatabaseReport:
        """Return what disk, server and journal say of all tables now."""
        history = Histories(self.database, self.state, self.journal).of_table
        bare = self.settings.bare
        asked = not bare or liveness(self.database.db, self.settings.questdb).life is Life.ALIVE
        facts = read_server_facts(self.settings.questdb.observing(), self.database) if asked else ""
        server = None if isinstance(facts, str) else facts
        return diagnose(self.database, (), server, history=history, station=not bare)

    def plan(self, action: str, table: str | None = None) -> Plan:
        """Return what would be done. An action that was cut off is shown as confirmed: running it finishes it."""
        spec_of(action)
        cut_off = [entry for entry in self.unfinished() if entry.action == action]
        for entry in cut_off:  # by the name it had: it may have none just now
            if table is not None and table in (entry.table, entry.intent.get("directory")):
                return finishing.plan_finish(self._context(), entry)
        found = self._table(table)
        for entry in cut_off:
            if entry.table == (found.name if found is not None else None):
                return finishing.plan_finish(self._context(), entry)
        return self._plan(action, table, self._context(), lock_held=False)

    def plan_station(self) -> StationPlan:
        """Return what every table needs, step by step, and what that loses together."""
        context = self._context()
        return station_plan(self.diagnosis(), lambda action, table: self._plan(action, table, context, lock_held=False))

    def unfinished(self) -> tuple[Entry, ...]:
        """Return the entries of this database that were cut off: an intent without an outcome."""
        return self.journal.unfinished(self._root)

    # ---- doing -----------------------------------------------------------------------------------------------------

    def run(self, plan: Plan, phrase: str, on_progress: OnProgress | None = None) -> RunResult:
        """Carry `plan` out. Raises WrongPhraseError, PlanChangedError, LockedError; a refusal is an outcome."""
        if plan.refused:
            return _refused(plan.refused)
        if not plan.needed:
            return RunResult("", Outcome.NOT_NEEDED, "there is nothing to do")
        _check_phrase(plan, phrase)
        spec = spec_of(plan.action)
        with self._locked(f"{plan.action} {plan.table or ''}".strip(), offline=spec.offline) as server_lock:
            for entry in self.unfinished():
                if entry.action == plan.action and entry.table == plan.table:
                    return self._finish(entry, server_lock, on_progress)
            context = self._context(server_lock)
            again = self._plan(plan.action, plan.directory or plan.table, context, lock_held=server_lock.held)
            if again.refused:
                return _refused(again.refused)
            if again.plan_id != plan.plan_id:
                raise PlanChangedError(again)
            damaged = self._evidence_refusal(again, context, on_progress)
            if damaged is not None:
                return _refused((damaged,))
            entry_id = new_entry_id()
            folder = write_entry(self.state, entry_id, again)
            before = self._stamps(again)
            self.journal.begin(
                entry_id,
                {
                    "action": again.action, "table": again.table, "directory": again.directory,
                    "station": again.station, **self._root.record(), "plan": again.plan_id,
                    "confirmation": phrase, "stamps": before, "world": finishing.world_stamps(self.database, again),
                },
            )  # fmt: skip
            return self._carry_out(again, entry_id, folder, server_lock, frozenset(), before, on_progress)

    def finish(self, entry: str, on_progress: OnProgress | None = None) -> RunResult:
        """Finish an entry that was cut off; it was confirmed when it began. Raises WalmedicError where it cannot be."""
        found = self.journal.entry(entry)
        if found.action == "undo":
            return self.undo(str(found.intent["undoes"]), str(found.intent["confirmation"]), on_progress)
        spec = spec_of(found.action)
        with self._locked(f"finishing {found.id}", offline=spec.offline) as server_lock:
            return self._finish(self.journal.entry(found.id), server_lock, on_progress)

    def plan_undo(self, entry: str) -> Plan:
        """Return the way back of an entry as a plan, with its refusals and its phrase."""
        return undoing.plan_undo(self._context(), self.journal.entry(entry), lock_held=False)

    def undo(self, entry: str, phrase: str, on_progress: OnProgress | None = None) -> RunResult:
        """Take an entry back. Raises WrongPhraseError, LockedError; a refusal is an outcome."""
        found = self.journal.entry(entry)
        plan = self.plan_undo(found.id)
        if plan.refused:
            return _refused(plan.refused)
        _check_phrase(plan, phrase)
        with self._locked(f"undo of {found.id}", offline=spec_of(found.action).offline) as server_lock:
            context = self._context(server_lock)
            again = undoing.plan_undo(context, self.journal.entry(found.id), lock_held=server_lock.held)
            if again.refused:
                return _refused(again.refused)
            if again.plan_id != plan.plan_id:
                raise PlanChangedError(again)
            if by_evidence.goes_by_evidence(again):
                damaged = by_evidence.damage(context, again, verification_progress(on_progress))
                if damaged is not None:
                    return _refused((damaged,))
                name = by_evidence.begin_restoring(context, found, again, phrase)
                with Tree(self.database.db) as tree:
                    run = self._run_context(again, name, self.state.entry(name), tree, server_lock)
                    return by_evidence.restore(context, run, on_progress)
            with Tree(self.database.db) as tree:
                undone = read_entry_plan(self.state, found.id)
                run = self._run_context(undone, found.id, self.state.entry(found.id), tree, server_lock)
                return undoing.undo(self.journal, found, run, self._root, phrase, on_progress)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _finish(self, entry: Entry, server_lock: ServerLock, on_progress: OnProgress | None) -> RunResult:
        if entry.outcome is not None:
            raise WalmedicError(f"entry {entry.id} has ended ({entry.result}); there is nothing to finish")
        plan = read_entry_plan(self.state, entry.id)
        context = self._context(server_lock)
        refusals = finishing.finish_refusals(context, entry, plan, lock_held=server_lock.held)
        if refusals:
            return _refused(refusals)
        self.journal.resume(entry.id)
        before = dict(entry.intent.get("stamps", {}))
        folder = self.state.entry(entry.id)
        return self._carry_out(plan, entry.id, folder, server_lock, entry.stages_done, before, on_progress)

    def _carry_out(
        self,
        plan: Plan,
        entry: str,
        folder: Path,
        server_lock: ServerLock,
        done: frozenset[str],
        before: dict[str, str],
        on_progress: OnProgress | None,
    ) -> RunResult:
        with Tree(self.database.db) as tree:
            run = self._run_context(plan, entry, folder, tree, server_lock)
            with run.keep:  # what is held is let go when the outcome is written
                return self._end(plan, entry, carry_out(self.journal, run, done, on_progress), before)

    def _end(self, plan: Plan, entry: str, ended: Ended, before: dict[str, str]) -> RunResult:
        done = ended.outcome is Outcome.DONE
        after, promise = self._stamps(plan), self._promise(plan, ended.outcome)
        manifest = manifest_digest(self.state.evidence / entry)
        result = write_end(self.journal, entry, ended, before=before, after=after, promise=promise, manifest=manifest)
        following = ""
        if plan.table is not None and done:
            report = self._context().report(plan.directory or "")
            following = report.next_step.reason if report is not None else ""
        return replace(result, next_step=following)

    def _evidence_refusal(self, plan: Plan, context: PlanContext, on_progress: OnProgress | None) -> Refusal | None:
        """Return why the evidence that a run rests on cannot be relied on; all of it is read. None if it can."""
        if not spec_of(plan.action).needs_evidence or plan.directory is None:
            return None
        stamp = table_stamp(self.database.db / plan.directory)
        capture = context.evidence.fresh(plan.directory, stamp, whole=plan.rows_lost.kind == "unknown")
        if capture is None:  # the policy has looked an instant ago
            reason = f"the evidence of {plan.table} has gone meanwhile"
            return Refusal(RefusalCode.NO_EVIDENCE, reason, "capture-evidence", action="capture-evidence")
        problem = capture.damage(plan.directory, verification_progress(on_progress))
        return evidence_refusal(capture, problem) if problem else None

    def _run_context(self, plan: Plan, entry: str, folder: Path, tree: Tree, server_lock: ServerLock) -> RunContext:
        run = RunContext(
            settings=self.settings,
            database=self.database,
            plan=plan,
            entry=entry,
            folder=folder,
            tree=tree,
            report=lambda message, done, total: None,
            state=self.state,
            journal=self.journal,
            server_lock=server_lock,
        )
        run.services = None if self.settings.bare else control_for(self.settings, run.ask)
        return run

    def _plan(self, action: str, table: str | None, context: PlanContext, *, lock_held: bool) -> Plan:
        found = self._table(table)
        module = action_module(action)
        if module.SPEC.needs_table and found is None:
            others = f", or use {module.SPEC.for_all} for all that need it" if module.SPEC.for_all else ""
            raise WalmedicError(f"{action} works on one table; name it{others}")
        plan = module.plan(context, found.directory if found is not None else None)
        last = read_versions(self.database.db).last
        plan = replace(plan, questdb=None if last is None else str(last))
        plan = replace(plan, rehearsed=Records(self.state, self._root).passed(plan) is not None)
        if self.settings.bare and module.SPEC.offline and not module.SPEC.proves:
            plan = replace(plan, left_out=(*plan.left_out, _NO_SERVER))
        policy = Policy(context, module.SPEC, found, lock_held=lock_held)
        plan = with_refusals(plan, policy.refusals(plan))
        return replace(plan, warnings=(*plan.warnings, *policy.notes))

    def _table(self, name: str | None) -> TableDirectory | None:
        return None if name is None else self.database.table(name)

    def _context(self, server_lock: ServerLock | None = None) -> PlanContext:
        held = server_lock is not None and server_lock.held
        services = self._services()
        return plan_context(self.settings, self.database, self.state, self.journal, services, lock_held=held)

    def _services(self) -> ServiceControl | None:
        return None if self.settings.bare else control_for(self.settings)

    def _stamps(self, plan: Plan) -> dict[str, str]:
        if spec_of(plan.action).danger is not Danger.DATA or plan.directory is None:
            return {}
        return {plan.directory: table_stamp(self.database.db / plan.directory)}

    def _promise(self, plan: Plan, outcome: Outcome) -> dict[str, Any] | None:
        """What the table holds once a server has applied all: what the rows accepted since are counted against."""
        spec = spec_of(plan.action)
        changes = spec.danger is Danger.DATA and spec.offline and not spec.hides
        if outcome is not Outcome.DONE or not changes or plan.directory is None:
            return None
        return promise_of(self.database.in_directory(plan.directory))

    def _locked(self, doing: str, *, offline: bool) -> RunLocks:
        server = ServerLock(self.database.db, self.settings.questdb)
        return RunLocks(StationLock(self.state, self.database.db), server, doing, offline)


def _check_phrase(plan: Plan, phrase: str) -> None:
    if phrase.split() != plan.confirmation.split():
        raise WrongPhraseError(f"the phrase is not the plan's; to do this, type exactly: {plan.confirmation}")


def _refused(refusals: tuple[Refusal, ...]) -> RunResult:
    first = refusals[0]
    return RunResult("", Outcome.REFUSED, f"{first.reason}; instead: {first.instead}")
