"""Steps of capture-evidence. Taking one back removes an unfinished capture only: finished evidence is never deleted."""

import shutil
from typing import Final

from console.durable import sync_directory
from console.recovery.actions.capture_evidence.capture import Capturer
from console.recovery.model import Stage
from console.recovery.steps.steps import RunContext, Step

REPLACED: Final = "replaced"
"""Under which a capture of one table notes the entries of its directory that its repairs would replace."""


def _drop_unfinished(run: RunContext) -> None:
    folder = run.state.evidence / run.entry
    if folder.is_dir() and not (folder / "manifest.json").exists():
        shutil.rmtree(folder)
        sync_directory(folder.parent)


class CaptureTable(Step):
    """Copy one table."""

    name = "capture-table"
    repeat = True  # the lock that keeps a server from starting meanwhile ended with the process

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Copy what is not copied yet."""
        capturer = Capturer(run)
        capturer.begin()
        table = run.database.table(str(stage.parameters["directory"]))
        also = frozenset(map(str, (*stage.parameters.get("also", ()), *run.recall(REPLACED, ()))))
        capturer.table(table, whole=bool(stage.parameters.get("whole")), also=also)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Remove an unfinished capture."""
        _drop_unfinished(run)


class CaptureSurroundings(Step):
    """Copy what lies around the tables, then write the manifest."""

    name = "capture-surroundings"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Copy and finish."""
        capturer = Capturer(run)
        capturer.begin()
        capturer.surroundings()
        capturer.finish()

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Remove an unfinished capture."""
        _drop_unfinished(run)


STEPS: tuple[Step, ...] = (CaptureTable(), CaptureSurroundings())
