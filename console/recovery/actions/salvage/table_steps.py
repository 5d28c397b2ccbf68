"""Step of salvage-table. Taking it back removes an unfinished salvage only: rows that were saved are never deleted."""

from pathlib import Path

from console.recovery.actions.salvage.steps import folder_of, make_place, remove_unfinished
from console.recovery.model import Stage
from console.recovery.salvage.folder import Folder
from console.recovery.salvage.table_picture import read_picture
from console.recovery.salvage.table_writing import finish_table, write_parts
from console.recovery.salvage.writing import MANIFEST, summary_of
from console.recovery.steps.steps import RunContext, Step

STEP = "salvage-table"


class SalvageTable(Step):
    """Write the rows of a table, read each file back, and write the manifest."""

    name = "salvage-table"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Go on where an earlier attempt stopped."""
        said = stage.parameters
        target = Folder(folder_of(stage, run), run.folder, str(said["format"]))
        if (target.folder / MANIFEST).exists():
            return
        make_place(Path(str(said["to"])), run)
        directory = run.database.table(str(said["directory"]))
        picture = read_picture(directory.path)
        names = write_parts(target, picture, run.progress)
        about = {
            "entry": run.entry, "station": run.plan.station, "table": directory.name, "directory": directory.directory,
        }  # fmt: skip
        run.progress(summary_of(finish_table(target, picture, names, about), "partition"))

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Remove an unfinished salvage."""
        remove_unfinished(folder_of(stage, run))


STEPS: tuple[Step, ...] = (SalvageTable(),)
