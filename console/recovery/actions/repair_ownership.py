"""repair-ownership: the files of a table belong to its owner again, who may write them; listed file by file."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.digests import digest_of
from console.errors import run_as_owner
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Fact, Plan, Refusal, Requirement, Stage
from console.recovery.plans import make_plan
from console.recovery.steps.files import refuse_vanished
from console.recovery.steps.steps import RunContext, Step
from console.text import clean_line, plural

_STEP = "set-owners"
_OWNERS = "owners"
_FILE, _DIRECTORY = stat.S_IRUSR | stat.S_IWUSR, stat.S_IRWXU


class SetOwners(Step):
    """Give owner and mode, file by file; no byte is changed. Reversed each has again what it had.

    Each is `{"name": PATH, "uid", "gid", "mode", "was": [uid, gid, mode]}`, the path relative to the db directory.
    """

    name = "set-owners"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Give each what the plan says; done again it changes nothing."""
        files = list(_files(stage))
        for done, each in enumerate(files):
            run.progress(f"owner of {clean_line(str(each['name']))}", done, len(files))
            run.tree.set_owner(str(each["name"]), int(each["uid"]), int(each["gid"]), int(each["mode"]))

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Give each what it had, the last first: a directory comes before what is in it."""
        for each in reversed(list(_files(stage))):
            refuse_vanished(run, str(each["name"]).split("/", 1)[0] + "/_txn")
            if run.tree.exists(str(each["name"])):  # a server makes files anew, whose owner is its own
                run.tree.set_owner(str(each["name"]), *map(int, each["was"]))


def _files(stage: Stage) -> Iterator[dict[str, Any]]:
    yield from stage.parameters[_OWNERS]


@dataclass(frozen=True, slots=True)
class OwnerOf:
    """Owner and mode of one file, `path` relative to the db directory: what it has, and what it must have."""

    path: str
    was: tuple[int, int, int]
    wanted: tuple[int, int, int]

    @property
    def given_away(self) -> bool:
        """Return whether owner or group change, which only root may do."""
        return self.was[:2] != self.wanted[:2]


def in_words(owner: tuple[int, int, int]) -> str:
    """Return e.g. `1000:1000 mode 0644`."""
    uid, gid, mode = owner
    return f"{uid}:{gid} mode {mode:04o}"


def owner_to_have(table: TableDirectory) -> tuple[int, int]:
    """Return the owner and group of the table: those of `_txn`.

    If `_txn` itself was changed, its directory and the db directory agree on another: then these. Raises OSError.
    """
    folder, db = table.path.lstat(), table.path.parent.lstat()
    around = (folder.st_uid, folder.st_gid)
    try:
        txn = (table.path / "_txn").lstat()
    except FileNotFoundError:
        return around
    return around if around == (db.st_uid, db.st_gid) else (txn.st_uid, txn.st_gid)


def wrong_owners(table: TableDirectory) -> Iterator[OwnerOf]:
    """Yield what must change, a directory before what is in it. Copies of the sequencer are left as they are.

    Raises OSError for a directory that cannot be listed.
    """
    uid, gid = owner_to_have(table)
    left = {path.name for path in table.sequencer_backups()}
    for path, status in _walk(table.path, left):
        mode = stat.S_IMODE(status.st_mode)
        wanted = (uid, gid, mode | (_DIRECTORY if stat.S_ISDIR(status.st_mode) else _FILE))
        was = (status.st_uid, status.st_gid, mode)
        if was != wanted:
            yield OwnerOf(str(path.relative_to(table.path.parent)), was, wanted)


def _walk(path: Path, left: set[str]) -> Iterator[tuple[Path, os.stat_result]]:
    status = path.lstat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return
    yield path, status
    if stat.S_ISDIR(status.st_mode):
        for name in sorted(os.listdir(path)):  # noqa: PTH208 - names only
            if name not in left and ".walmedic-" not in name:
                yield from _walk(path / name, set())


SPEC = ActionSpec(
    id="repair-ownership",
    title="Repair file ownership",
    danger=Danger.DATA,
    needs_table=True,
    summary="Gives files of a table back to the table's owner, who may then write them; no byte is changed.",
    undo="Each file that is still there gets back its owner and mode.",
    offline=True,
    needs_evidence=True,
)
STEPS = (SetOwners(),)


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty if every file belongs to the table's owner, refused without the right to change it."""
    directory = context.database.table(table or "")
    refused: list[Refusal] = []
    wrong: tuple[OwnerOf, ...] = ()
    try:
        wrong = tuple(wrong_owners(directory))
        uid, gid = owner_to_have(directory)
    except OSError as error:
        uid = gid = -1
        reason = f"{clean_line(str(error.filename or directory.directory))} cannot be listed: {error.strerror}"
        refused.append(Refusal(RefusalCode.PERMISSION, reason, run_as_owner()))
    refused += _without_right(wrong)
    count = plural(len(wrong), "file or directory", "files and directories")
    parameters = {
        _OWNERS: [
            {"name": each.path, "uid": each.wanted[0], "gid": each.wanted[1], "mode": each.wanted[2], "was": each.was}
            for each in wrong
        ]
    }
    changes = tuple(Change("owner", each.path, in_words(each.was), in_words(each.wanted)) for each in wrong)
    stages = (Stage("owners", f"set owner and mode of {count}", _STEP, parameters, changes),)
    return make_plan(
        SPEC,
        context.target(directory),
        why=f"{count} of the table do not belong to {uid}:{gid}, or their owner may not write them."
        if wrong
        else "Every file belongs to the owner of the table.",
        stages=stages if wrong and not refused else (),
        facts=(
            Fact(directory.directory, table_stamp(directory.path)),
            Fact("owners", digest_of([[each.path, list(each.was), list(each.wanted)] for each in wrong])),
        ),
        refused=refused,
        requirements=(Requirement("files have another owner, or are closed to it", bool(wrong), count),),
    )


def _without_right(wrong: tuple[OwnerOf, ...]) -> Iterator[Refusal]:
    user = os.geteuid()
    given = [each for each in wrong if each.given_away]
    if user and given:
        reason = f"only root may change the owner of {clean_line(given[0].path)}, and walmedic runs as user id {user}"
        yield Refusal(RefusalCode.PERMISSION, reason, "run walmedic as root")
    others = [each for each in wrong if user and not each.given_away and each.was[0] != user]
    if others:
        reason = f"{clean_line(others[0].path)} belongs to user id {others[0].was[0]}, and walmedic runs as {user}"
        yield Refusal(RefusalCode.PERMISSION, reason, "run walmedic as that user, or as root")


def world(database: DatabaseRoot, plan: Plan) -> str:
    """Return what only others change: nothing that the way back rests on, since no byte of a file is changed."""
    del database, plan
    return ""


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    table = run.database.in_directory(plan.directory or "")
    left = [clean_line(each.path) for each in wrong_owners(table)]
    claim = f"{table.name}: every file belongs to the owner of the table"
    return (Claim(ClaimKey.OWNER, claim, "none of another owner", ", ".join(left[:3]) or "none", not left),)
