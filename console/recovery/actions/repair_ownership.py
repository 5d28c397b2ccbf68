"""repair-ownership: the files of a table belong to its owner again, who may write them; listed file by file."""

import os
from collections.abc import Iterator

from console.digests import digest_of
from console.errors import run_as_owner
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Fact, Plan, Refusal, Requirement, Stage
from console.recovery.plans import make_plan
from console.recovery.steps import ownership
from console.recovery.steps.ownership import OWNERS, STEP
from console.recovery.steps.steps import RunContext
from console.recovery.table_repair.owners import OwnerOf, in_words, owner_to_have, wrong_owners
from console.text import clean_line, plural

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
STEPS = ownership.STEPS


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
        OWNERS: [
            {"name": each.path, "uid": each.wanted[0], "gid": each.wanted[1], "mode": each.wanted[2], "was": each.was}
            for each in wrong
        ]
    }
    changes = tuple(Change("owner", each.path, in_words(each.was), in_words(each.wanted)) for each in wrong)
    stages = (Stage("owners", f"set owner and mode of {count}", STEP, parameters, changes),)
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
    """No file of the table has another owner, or is closed to it."""
    table = run.database.table(plan.directory or "")
    left = [clean_line(each.path) for each in wrong_owners(table)]
    claim = f"{table.name}: every file belongs to the owner of the table"
    return (Claim(ClaimKey.OWNER, claim, "none of another owner", ", ".join(left[:3]) or "none", not left),)
