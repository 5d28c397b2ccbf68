"""Step that gives files of a table their owner and mode: no byte of them is changed.

Each is `{"name": PATH, "uid", "gid", "mode", "was": [uid, gid, mode]}`, the path relative to the db directory.
"""

from collections.abc import Iterator
from typing import Any

from console.recovery.model import Stage
from console.recovery.steps.files import refuse_vanished
from console.recovery.steps.steps import RunContext, Step
from console.text import clean_line

STEP = "set-owners"
OWNERS = "owners"


class SetOwners(Step):
    """Give owner and mode, file by file. Reversed each has again what it had."""

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
    yield from stage.parameters[OWNERS]


STEPS: tuple[Step, ...] = (SetOwners(),)
