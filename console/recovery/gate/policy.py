"""The policy: whether an action may be taken now, and if not, why not and what first. No flag turns it off."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from console import paths
from console.diagnosis.next_step import NOT_MOUNTED
from console.diagnosis.server.liveness import Liveness, liveness
from console.diagnosis.server.open_files import users_of
from console.errors import WalmedicError
from console.questdb.known_formats import NEWEST_KNOWN, newer_than_known, unknown_formats
from console.questdb.layout import TableDirectory
from console.questdb.server_version import read_versions
from console.questdb.soft_links import is_followed, is_partition, leads_nowhere, links_in
from console.questdb.version_behaviour import behaviour_of
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import Capture, table_stamp
from console.recovery.gate.registry import PlanContext
from console.recovery.gate.result_gate import result_refusals
from console.recovery.model import ActionSpec, Danger, Plan, Refusal, Stage
from console.recovery.steps.table_files import STEP as _REPLACES
from console.recovery.store.journal import JournalError
from console.recovery.store.locks import SERVER_LOCK_NAME, HolderKind, holder_of
from console.recovery.store.places import existing, free_space
from console.recovery.tree.tree import Tree, UnsafePathError
from console.text import clean_line, plural

_RESERVE_SHARE, _RESERVE_MOST = 0.10, 5 << 30


@dataclass(frozen=True, slots=True)
class Policy:
    """What the policy judges by, for one action and one table."""

    context: PlanContext
    spec: ActionSpec
    table: TableDirectory | None
    lock_held: bool  # our own run holds the server's lock already
    own_entry: str = ""  # the entry that is being finished or undone
    notes: list[str] = field(default_factory=list)  # what could not be looked at, for the plan's warnings

    def refusals(self, plan: Plan | None) -> tuple[Refusal, ...]:
        """Return all that stands against the action; with a plan also what its result would do."""
        found = [*self._station(), *self._services(), *self._server()]
        if self.spec.danger is Danger.DATA:
            found += self._about_table([*self._formats(), *self._files(plan), *self._evidence(plan)])
        if plan is not None:
            found += [*self._space(plan), *self.loss_refusals(plan)]
            if self.spec.offline and self.table is not None:
                found += self._about_table(result_refusals(plan, self.table))
        return tuple(found)

    def _about_table(self, refusals: Iterable[Refusal]) -> list[Refusal]:
        name = self.table.name if self.table is not None else None
        return [refusal.about(name) for refusal in refusals]

    def _station(self) -> Iterator[Refusal]:
        try:
            self.context.state.made(self.context.state.journal.parent)
            if self.context.state.journal.exists() and not os.access(self.context.state.journal, os.W_OK):
                raise WalmedicError(f"the journal {self.context.state.journal} cannot be written")
        except WalmedicError as error:
            yield Refusal(
                RefusalCode.JOURNAL_UNWRITABLE,
                str(error),
                "make the state directory yours, or name another: --state-dir",
            )
        yield from self._journal()
        for entry in self.context.unfinished():
            if not self.own_entry or self.own_entry not in (entry.id, entry.intent.get("undoes")):
                target = f" {entry.table}" if entry.table else ""
                undone = entry.intent.get("undoes")
                if undone:
                    reason = f"taking entry {undone} back was cut off: what it left half done comes first"
                    yield Refusal(RefusalCode.UNFINISHED_ENTRY, reason, f"walmedic undo {undone}")
                    continue
                yield Refusal(
                    RefusalCode.UNFINISHED_ENTRY,
                    f"{entry.action}{target} was cut off (entry {entry.id}): what it left half done comes first",
                    f"finish it by running {entry.action}{target} again, or take it back: walmedic undo {entry.id}",
                    action=entry.action,
                    table=entry.table,
                )

    def _journal(self) -> Iterator[Refusal]:
        journal = self.context.journal
        try:
            damage = journal.damage()
        except JournalError as error:
            yield Refusal(
                RefusalCode.JOURNAL_BROKEN, str(error), "make the journal readable; without it nothing is done"
            )
            return
        if damage is not None:
            where = f"the journal {clean_line(str(journal.path))} is damaged at line {damage.line}"
            instead = (
                f"put the journal back from a copy; or move it and {journal.path.stem}.head out of the way: walmedic "
                "then cannot finish or undo earlier actions"
            )
            yield Refusal(RefusalCode.JOURNAL_BROKEN, f"{where}: {clean_line(damage.what)}", instead)

    def _services(self) -> Iterator[Refusal]:
        if self.spec.danger is not Danger.SERVICE:
            return
        if self.context.settings.bare:
            yield Refusal(
                RefusalCode.NO_STATION,
                "this directory belongs to no configured station, so there are no services to command",
                "start and stop the server yourself; the actions on files work here",
            )
        elif self.context.services is None:
            yield Refusal(
                RefusalCode.NO_SERVICES,
                "no service backend is configured (services.backend is none)",
                "name backend and units in the settings file (walmedic init writes one)",
            )

    def _server(self) -> Iterator[Refusal]:
        if not self.spec.offline or self.lock_held or self.context.server_down:
            return
        lock = self.context.database.lock
        if self.context.server_down is None:
            found = self._liveness()
            doubt = found.doubt.value if found.doubt else "tables.d.lock cannot be locked"
            yield Refusal(
                RefusalCode.SERVER_UNKNOWN,
                f"{clean_line(str(lock.parent))}: it cannot be known whether QuestDB is running on it: {doubt}",
                found.instead or "run as the database's owner",
            )
        elif (holder := holder_of(lock)).kind is HolderKind.WALMEDIC:
            yield Refusal(RefusalCode.LOCK_HELD, f"{holder}: it holds {SERVER_LOCK_NAME}", "wait until it has ended")
        else:
            bare = self.context.settings.bare
            shown = f"{holder}: it holds {SERVER_LOCK_NAME}"
            if not holder.pids:
                shown = f"{clean_line(str(lock.parent))}: {self._liveness().sentence}"
            yield Refusal(
                RefusalCode.SERVER_ALIVE,
                shown,
                "stop the server that uses this directory" if bare else "stop-server",
                action=None if bare else "stop-server",
            )

    def _liveness(self) -> Liveness:
        return liveness(self.context.database.db, self.context.settings.questdb)

    def _formats(self) -> Iterator[Refusal]:
        """Judge a QuestDB newer than the known ones: its files may be changed only if their formats are known."""
        versions = read_versions(self.context.database.db)
        if versions.last is not None and behaviour_of(versions.last).drops_rows_by_rebase:
            self.notes.append(f"never use REBASE WAL of QuestDB {versions.last}: it gives up all unapplied rows")
        newer = newer_than_known(versions)
        if not newer or self.table is None or not self.spec.offline:
            return
        known = ".".join(map(str, NEWEST_KNOWN))
        unknown = tuple(unknown_formats(versions, self.table))
        if not unknown:
            self.notes.append(f"QuestDB {newer} is newer than {known}, the newest known; the files have known formats")
            return
        yield Refusal(
            RefusalCode.VERSION_NOT_KNOWN,
            f"QuestDB {newer} wrote here; walmedic knows up to {known}, and not these formats: {'; '.join(unknown)}",
            "a walmedic that knows this version; reading, evidence and salvage work",
        )

    def _files(self, plan: Plan | None) -> Iterator[Refusal]:
        if self.table is None or not self.spec.offline:
            return  # what works through the server writes no file itself
        database, directory = self.context.database, self.table.directory
        try:
            with Tree(database.db) as tree:
                # While an undo by evidence is cut off, _txn may be on its way: the directory tells as well.
                here = tree.exists(f"{directory}/_txn") or not self.own_entry
                owner = tree.owner_of_table(directory) if here else tree.owner_of_directory(directory)
                for path, shared in _paths(plan) if plan is not None else ():
                    tree.refuse_unsafe_target(path, shared=shared)
        except UnsafePathError as error:
            yield Refusal(
                RefusalCode.UNSAFE_PATH,
                str(error),
                "put the real file in its place, or move the link out of the table's directory; then plan again",
            )
            return
        except OSError as error:
            yield Refusal(
                RefusalCode.TABLE_UNREADABLE,
                f"{clean_line(str(error.filename or directory))} cannot be used: {error.strerror}",
                "run walmedic as the owner of the database, or make the file readable",
            )
            return
        yield from self._not_mounted()
        euid = os.geteuid()
        if euid not in (0, owner.uid):
            yield Refusal(
                RefusalCode.NOT_OWNER,
                f"{self.table.name} belongs to user id {owner.uid} and walmedic runs as {euid}",
                "run walmedic as the owner of the database (or as root: new files get the table's owner)",
            )
        elif paths.mounted_read_only(self.table.path):
            reason = f"the file system of {self.table.name} is mounted read-only, as the kernel does after disk errors"
            yield Refusal(RefusalCode.PERMISSION, reason, "look at dmesg, then mount -o remount,rw; then plan again")
        elif not os.access(self.table.path, os.W_OK | os.X_OK):
            yield Refusal(
                RefusalCode.PERMISSION,
                f"{self.table.name}'s directory cannot be written",
                "give its owner the right to write",
            )
        users = users_of(self.table.path)
        if users.unreadable:
            pids = ", ".join(map(str, users.unreadable[:5])) + (", …" if len(users.unreadable) > 5 else "")
            many = plural(len(users.unreadable), "process", "processes")
            self.notes.append(f"the open files of {many} could not be seen (pid {pids})")
        for user in users.processes:
            yield Refusal(
                RefusalCode.FILES_OPEN,
                f"{user.name} (pid {user.pid}) has files of {self.table.name} {user.how}",
                "end that process; a server would write behind walmedic's back",
            )

    def _not_mounted(self) -> Iterator[Refusal]:
        """Refuse to repair a table while partitions of it are on a disk that is not there; one can be named as lost."""
        if self.table is None or not self.spec.needs_evidence or self.context.settings.partition.partition:
            return
        for link in filter(is_partition, links_in(self.table.path)):
            name = f"partition {clean_line(link.name)} is a soft link"
            if leads_nowhere(link):
                yield Refusal(RefusalCode.SOFT_LINK_BROKEN, f"{name} to what is not there", NOT_MOUNTED)
            elif not is_followed(link):
                instead = "give the directory that it leads to the owner of the table's own directory"
                yield Refusal(RefusalCode.SOFT_LINK_BROKEN, f"{name} to what another user owns", instead)

    def _evidence(self, plan: Plan | None) -> Iterator[Refusal]:
        if not self.spec.needs_evidence or self.table is None:
            return
        evidence, directory = self.context.evidence, self.table.directory
        stamp = table_stamp(self.table.path)
        capture = evidence.fresh(directory, stamp)
        if capture is not None:
            yield from _not_held(capture, plan, self.table) if plan is not None else ()
            return
        damaged = evidence.damaged(directory, stamp)
        if damaged is not None:
            yield evidence_refusal(*damaged)
            return
        earlier = evidence.of_table(directory)
        if earlier is None:
            reason = f"no evidence of {self.table.name} has been captured"
        elif earlier.live:
            reason = f"the evidence of {self.table.name} was captured while a server lived ({earlier.at})"
        else:
            reason = f"{self.table.name} has changed since its evidence was captured ({earlier.at})"
        yield Refusal(RefusalCode.NO_EVIDENCE, reason, "capture-evidence", action="capture-evidence")

    def _space(self, plan: Plan) -> Iterator[Refusal]:
        if all(stage.step == "stop-units" for stage in plan.stages):
            return  # needs no room, and a disk that fills is one more reason to stop what writes
        state = self.context.state.root
        target = self.context.database.db if self.spec.danger is Danger.DATA else existing(state)
        places = {target: plan.disk_needed}
        places.setdefault(existing(state), 1 << 20)
        for place, needed in places.items():
            free, reserve = free_space(place)
            if free - needed < reserve:
                yield Refusal(
                    RefusalCode.DISK_SPACE,
                    f"{place} has {free:,} bytes free; {needed:,} are needed and {reserve:,} stay free",
                    "make room, or name a state directory on another disk (--state-dir)",
                )

    def loss_refusals(self, plan: Plan) -> tuple[Refusal, ...]:
        """Return what stands against a loss that is not known: no rehearsal, or evidence that is not whole."""
        return tuple(self._about_table(self._rows(plan)))

    def _rows(self, plan: Plan) -> Iterator[Refusal]:
        if plan.rows_lost.kind != "unknown":
            return
        if not plan.rehearsed:
            yield Refusal(
                RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL,
                "how many rows this would lose is not known",
                "an action with a known loss; or rehearse this one, then capture-evidence, which copies all of it",
            )
        elif self.table is not None:
            stamp = table_stamp(self.table.path)
            if self.context.evidence.fresh(self.table.directory, stamp, whole=True) is None:
                yield Refusal(
                    RefusalCode.LOSE_UNKNOWN_WITHOUT_WHOLE_EVIDENCE,
                    f"how many rows this would lose is not known, and the evidence of {self.table.name} is not whole",
                    "capture-evidence, which copies the whole table now that this was rehearsed",
                    action="capture-evidence",
                )


def evidence_refusal(capture: Capture, problem: str) -> Refusal:
    return Refusal(
        RefusalCode.EVIDENCE_DAMAGED,
        f"the evidence {clean_line(str(capture.folder))} is not as it was captured: {problem}",
        "capture-evidence",
        action="capture-evidence",
    )


def _not_held(capture: Capture, plan: Plan, table: TableDirectory) -> Iterator[Refusal]:
    """Yield that evidence lacks files that a plan replaces: after a start it is the only way back to them."""
    replaced = [str(spec["name"]) for stage in plan.stages if stage.step == _REPLACES for spec in _specs(stage)]
    held = {str(item["path"]) for item in capture.manifest["files"]} if replaced else set()
    lacking = [name for name in replaced if f"db/{name}" not in held]
    if lacking:
        yield Refusal(
            RefusalCode.EVIDENCE_INCOMPLETE,
            f"the evidence of {table.name} does not hold {plural(len(lacking), 'file')} that this replaces, first "
            f"{clean_line(lacking[0])}",
            f"capture-evidence {table.name}",
            action="capture-evidence",
            table=table.name,
        )


def _specs(stage: Stage) -> list[dict[str, Any]]:
    return [spec for spec in stage.parameters["files"] if spec["existed"]]


def _paths(plan: Plan) -> Iterator[tuple[str, bool]]:
    """Yield the paths that a plan writes, and whether the file there may have other hard links."""
    for stage in plan.stages:
        for key in ("path", "new", "old", "directory"):
            if isinstance(stage.parameters.get(key), str):
                yield str(stage.parameters[key]), False
        if stage.step == _REPLACES:
            yield from ((str(spec["name"]), True) for spec in stage.parameters["files"])
