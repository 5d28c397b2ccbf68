"""A plan rehearsed: clone the table, carry the same action out there by the same engine, prove it on a real server.

The original is opened for reading only. On the clone nothing is eased: evidence is captured, the policy judges, the
executor journals, all in a state directory of the clone's own.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.gate.registry import spec_of
from console.recovery.gate.rehearsed import Records
from console.recovery.model import Claim, Danger, Outcome, Plan, Refusal, RowsLost, sentence, values_lost_in_words
from console.recovery.rehearsal.cloning import Space, make_clone, shares_blocks, space_in
from console.recovery.rehearsal.folder import RehearsalFolder, remove_leftovers
from console.recovery.rehearsal.further import further_claim, further_plans
from console.recovery.rehearsal.model import CloneFacts, Rehearsal, RehearsalOutcome
from console.recovery.rehearsal.progress import OnProgress, Reporter
from console.recovery.rehearsal.proof import Before, Proof, Rehearsed, heap_bytes, log_tail
from console.recovery.rehearsal.same_plan import essence, outside_copies
from console.recovery.rehearsal.selection import CloneSelection, find_table, select
from console.recovery.rehearsal.server_on_clone import BY_SQL, answering
from console.recovery.server.binary import server_binary
from console.recovery.server.jvm import ServerBinary
from console.recovery.store.locks import LockedError, ServerLock, StationLock
from console.recovery.store.places import root_key
from console.recovery.store.state import write_private
from console.settings import QuestDBSettings, Settings
from console.text import clean_line, plural

_EVIDENCE = "capture-evidence"
# Refusals about the state of the station, not about the plan: a rehearsal touches nothing there.
_CIRCUMSTANCES = frozenset(
    {
        "no-evidence", "evidence-damaged", "server-alive", "server-unknown", "files-open", "disk-space", "not-owner",
        "permission",
        "lose-unknown-without-rehearsal", "lose-unknown-without-whole-evidence",
    }
)  # fmt: skip
_SERVER_FILES = 256 << 20
"""Bytes that a server on the clone may write besides rows: its own tables, logs, append pages."""


def rehearse(
    engine: Engine,
    action: str,
    table: str,
    *,
    to: Path | None = None,
    keep: bool = False,
    on_progress: OnProgress | None = None,
) -> Rehearsal:
    """Rehearse `action` on a clone of `table` below `to` (the state directory by default).

    Raises WalmedicError where that cannot be done at all; a plan that is refused or fails is an outcome.
    """
    began = time.monotonic()
    _check_action(action)
    found = find_table(engine.database, table)
    remove_leftovers(engine.state)
    for entry in engine.unfinished():
        if entry.table == found.name:
            raise WalmedicError(f"entry {entry.id} on {found.name} was cut off; finish or undo it before you rehearse")
    plan = engine.plan(action, found.raw_name)
    against = [refusal for refusal in plan.refused if refusal.code not in _CIRCUMSTANCES]
    if against:
        return _refused(plan, against, began)
    if not plan.needed:
        message = "there is nothing to do, so there is nothing to rehearse"
        return Rehearsal("", plan, RehearsalOutcome.NOT_NEEDED, message, (), time.monotonic() - began, None)
    heap_bytes(psutil.virtual_memory().available)
    binary, _ = server_binary(engine.settings, engine.database, engine.state)
    if to is not None and _inside(to, engine.database.db):
        raise WalmedicError(f"{clean_line(str(to))} is under the database root; name another directory with --to")
    with RehearsalFolder(engine.state, to) as folder:
        try:
            return _Rehearsing(engine, found, plan, folder, Reporter(folder.id, on_progress), began).run(binary)
        except OSError as error:
            raise WalmedicError(f"the rehearsal could not continue: {sentence(error)}") from error
        finally:
            folder.kept = keep


def _costed(plan: Plan) -> str:
    """Return a step that the table also needs, with what it loses."""
    lost = f"{plan.rows_lost.words} rows lost{values_lost_in_words(plan.values_lost)}"
    return plan.action if plan.rows_lost == RowsLost.exact(0) and not plan.values_lost else f"{plan.action} ({lost})"


def _check_action(action: str) -> None:
    spec = spec_of(action)
    if spec.danger is not Danger.DATA or not spec.needs_table or spec.hides:
        raise WalmedicError(f"{action} changes no table's files, so there is nothing to rehearse; run it directly")
    if not spec.offline and action not in BY_SQL:
        raise WalmedicError(f"{action} works through a running server, so it is not rehearsed; plan it instead")


def _inside(folder: Path, db: Path) -> bool:
    resolved = folder.resolve()
    return resolved == db or db in resolved.parents


def _refused(plan: Plan, refusals: list[Refusal] | tuple[Refusal, ...], began: float) -> Rehearsal:
    message = f"{refusals[0].reason}; instead: {refusals[0].instead}"
    return Rehearsal("", plan, RehearsalOutcome.REFUSED, message, (), time.monotonic() - began, None)


@dataclass(slots=True)
class _Rehearsing:
    """One rehearsal on its way."""

    engine: Engine
    table: TableDirectory
    plan: Plan
    folder: RehearsalFolder
    reporter: Reporter
    began: float
    claims: list[Claim] = field(default_factory=list)
    further: list[Plan] = field(default_factory=list)

    def run(self, binary: ServerBinary) -> Rehearsal:
        """Clone, plan, carry out, prove; note in the state directory that it passed."""
        facts = self._clone()
        clone = Engine(self._clone_settings(binary))
        table = clone.database.in_directory(self.table.directory)
        before = Before.of(table, self.plan)
        self._allow_unknown_loss(clone)
        self._capture(clone)
        records = Records(self.engine.state, root_key(self.engine.database.db))
        plans_ = Rehearsed(self.plan, self.further)
        proof = Proof(clone.database, plans_, before, f"walmedic-{self.folder.id}", self.reporter)
        try:
            refused = self._on_clone(clone) if spec_of(self.plan.action).offline else self._by_sql(clone, binary)
            if refused:
                return replace(_refused(self.plan, refused, self.began), id=self.folder.id, clone=facts)
            proof.run(binary)
        except WalmedicError as error:
            records.drop(self.plan)
            message = str(error) + self._keep_log()
            return self._end(RehearsalOutcome.FAILED, message, proof, facts)
        rows = next((c.found for c in reversed(proof.claims) if c.key is ClaimKey.ROWS), "")
        message = f"passed on a clone: {rows} rows, 3 purge sweeps seen" + (
            "" if table.is_view else ", a marked row read back, a column added"
        )
        if self.further:
            message += f"; with {', '.join(map(_costed, self.further))}, which the table also needs"
        records.add(self.plan, self.folder.id, message)
        return self._end(RehearsalOutcome.PASSED, message, proof, facts)

    def _on_clone(self, clone: Engine) -> tuple[Refusal, ...]:
        """Make the plan on the clone and carry it out; return what stands against it there."""
        plan = clone.plan(self.plan.action, self.table.raw_name)
        if plan.refused:
            return plan.refused
        if not plan.needed and self.plan.rows_lost == RowsLost.exact(0) and not spec_of(self.plan.action).offline:
            # What a server is asked for without loss it does by itself when it starts.
            nothing_left = "nothing is left to do once it has started"
            self.claims.append(
                Claim.note(ClaimKey.START_DOES_IT, "a start of the server does what the plan asks for", nothing_left)
            )
            return ()
        self._same_plan(plan)
        self._carry_out(clone, plan)
        for further in further_plans(clone, plan) if spec_of(plan.action).offline else ():
            self._carry_out(clone, further)
            self.further.append(further)
            self.claims.append(further_claim(further))
        return ()

    def _by_sql(self, quiet: Engine, binary: ServerBinary) -> tuple[Refusal, ...]:
        with answering(quiet.database, self.folder.root, binary, self.table.raw_name) as port:
            return self._on_clone(Engine(self._clone_settings(binary, port)))

    def _end(self, outcome: RehearsalOutcome, message: str, proof: Proof, facts: CloneFacts) -> Rehearsal:
        left_out = [*self.plan.left_out]
        if self.table.is_view:
            left_out.append(f"{self.table.name} is a view: no row is written to it, and its base table is not cloned")
        return Rehearsal(
            self.folder.id,
            replace(self.plan, rehearsed=outcome is RehearsalOutcome.PASSED),
            outcome,
            message,
            (*self.claims, *proof.claims),
            time.monotonic() - self.began,
            replace(facts, server=proof.build),
            tuple(left_out),
        )

    # ---- the clone -------------------------------------------------------------------------------------------------

    def _clone(self) -> CloneFacts:
        database = self.engine.database
        with self._undisturbed() as live:
            selection = select(database, self.table)
            share = shares_blocks(self.engine.database.db / selection.files[0].path, self.folder.place)
            space = space_in(self.folder.place, self._needed(selection, share=share))
            self._report_size(selection, space, share=share)
            done = 0

            def on_bytes(path: str, count: int) -> None:
                nonlocal done
                done += count
                self.reporter.goes_on("clone", path, done, selection.size)

            make_clone(database, selection, self.folder.db, share=share, on_bytes=on_bytes)
            again = self.engine.plan(self.plan.action, self.table.raw_name)
        if again.plan_id != self.plan.plan_id:
            raise WalmedicError(
                f"{self.table.name} changed while it was cloned; stop the server (stop-server) and rehearse again"
            )
        self.reporter.done("clone", plural(len(selection.files), "file"))
        return CloneFacts(
            folder=str(self.folder.root),
            tables=tuple(each.name for each in selection.tables),
            files=len(selection.files),
            size=selection.size,
            on_disk=0 if share else selection.on_disk,
            reflinked=share,
            live=live,
        )

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[bool]:
        """Keep other walmedics and, where none lives, servers away while the original is read; yield if one lives."""
        station = StationLock(self.engine.state, self.engine.database.db)
        station.acquire(f"cloning {self.table.name} for a rehearsal")
        server = ServerLock(self.engine.database.db, self.engine.settings.questdb)
        try:
            with contextlib.suppress(LockedError):
                server.acquire()
            yield not server.held
        finally:
            server.release()
            station.release()

    def _needed(self, selection: CloneSelection, *, share: bool) -> int:
        """Return the bytes that the rehearsal may take: clone, evidence of the clone, plan, and rows applied anew."""
        if self.plan.rows_lost.kind == "unknown":
            evidence = selection.on_disk  # all of the table is copied then
        else:
            evidence = self.engine.plan(_EVIDENCE, self.table.raw_name).disk_needed
        # What evidence copies is what unapplied rows may touch: the server on the clone writes that much once more.
        return (0 if share else selection.on_disk) + 2 * evidence + self.plan.disk_needed + _SERVER_FILES

    def _report_size(self, selection: CloneSelection, space: Space, *, share: bool) -> None:
        how = "blocks shared with the original" if share else f"a copy of {selection.on_disk:,} bytes"
        self.reporter.begins(
            "clone",
            f"clone {', '.join(each.name for each in selection.tables)}: {plural(len(selection.files), 'file')}, "
            f"{selection.size:,} bytes, {how}; up to {space.needed:,} bytes in all, {space.free:,} are free",
        )
        if not space.enough:
            raise WalmedicError(
                f"a rehearsal may take {space.needed:,} bytes in {self.folder.place.parent} where {space.free:,} are "
                f"free and {space.reserve:,} must stay free; name a directory on another disk with --to"
            )

    # ---- the plan on the clone -------------------------------------------------------------------------------------

    def _clone_settings(self, binary: ServerBinary, pg_port: int = 0) -> Settings:
        # Station name and server log are part of what a plan is made from; nothing here reaches the station. An action
        # that starts a server of its own takes the same one.
        settings = self.engine.settings
        copies = outside_copies(self.plan, self.engine.database.db)
        return Settings(
            station=settings.station_name,
            state_dir=str(self.folder.state),
            guard=replace(settings.guard, to=str(settings.guard_path.resolve())),
            questdb=QuestDBSettings(
                db_root=str(self.folder.root),
                log=settings.questdb.log,
                jar=str(binary.jar),
                java=str(binary.java),
                pg_port=pg_port or settings.questdb.pg_port,
            ),
            partition=replace(settings.partition, source=settings.partition.source or copies),
            bare=True,
        )

    def _capture(self, clone: Engine) -> None:
        self.reporter.begins("evidence", "capture evidence of the clone")
        plan = clone.plan(_EVIDENCE, self.table.raw_name)
        result = clone.run(plan, plan.confirmation)
        if result.outcome is not Outcome.DONE:
            raise WalmedicError(f"evidence of the clone could not be captured: {result.message}")
        self.reporter.done("evidence")

    def _allow_unknown_loss(self, clone: Engine) -> None:
        """Note for the clone alone, by its own device and inode, that this is the rehearsal which such a plan needs."""
        if self.plan.rows_lost.kind == "unknown":
            plan = clone.plan(self.plan.action, self.table.raw_name)
            Records(clone.state, root_key(clone.database.db)).add(plan, self.folder.id, "this is it")

    def _same_plan(self, on_clone: Plan) -> None:
        """What is carried out on the clone must be what would be done to the original, but for the marks in names."""
        db = self.engine.database.db
        ours, theirs = (essence(plan, self.folder.db, db) for plan in (self.plan, on_clone))
        claim = Claim(
            ClaimKey.SAME_PLAN,
            "plan made on the clone is identical",
            "identical",
            "identical" if ours == theirs else "different",
            ok=ours == theirs,
        )
        self.claims.append(claim)
        if not claim.ok:
            raise WalmedicError("on the clone another plan was made than on the original: they are not the same data")

    def _carry_out(self, clone: Engine, plan: Plan) -> None:
        result = clone.run(plan, plan.confirmation, self.reporter.forward)
        self.claims.extend(result.verification)
        done = result.outcome is Outcome.DONE
        self.claims.append(
            Claim(
                ClaimKey.CARRIED_OUT, "the plan is carried out", "done", f"{result.outcome}: {result.message}", ok=done
            )
        )
        if not done:
            raise WalmedicError(f"the plan could not be carried out on the clone: {result.message}")

    def _keep_log(self) -> str:
        tail = log_tail(self.folder.root)
        if not tail:
            return ""
        path = self.engine.state.root / "rehearsals" / f"{self.folder.id}.log"
        write_private(path, tail)
        return f"; the end of the server's log is {path}"
