"""Step that moves directories of a table out of it, beside it: nothing is removed, and a server does not look there."""

from collections.abc import Sequence

from console.questdb.aside import place_aside
from console.recovery.model import Change, Stage
from console.recovery.steps.files import refuse_vanished
from console.recovery.steps.steps import RunContext, Step
from console.text import clean_line, plural

STEP = "set-aside"


def set_aside(table_directory: str, mark: str, names: Sequence[str]) -> Stage:
    place = place_aside(table_directory, mark)
    changes = tuple(
        Change("rename", f"{table_directory}/{name}", f"{table_directory}/{name}", f"{place}/{name}") for name in names
    )
    title = f"move {plural(len(names), 'directory', 'directories')} out of the table, into {place}"
    return Stage(
        "set-aside", title, STEP, {"table": table_directory, "directory": place, "names": list(names)}, changes
    )


class SetAside(Step):
    """Move directories by rename. Done again it ends in the same state; reversed they are back."""

    name = "set-aside"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Make the place beside the table and rename each directory into it."""
        table, place = str(stage.parameters["table"]), str(stage.parameters["directory"])
        run.tree.make_directory(place, run.tree.owner_of_directory(table))
        for name in stage.parameters["names"]:
            run.progress(f"moving {clean_line(str(name))}")
            if run.tree.exists(f"{table}/{name}") and not run.tree.exists(f"{place}/{name}"):
                run.tree.rename(f"{table}/{name}", f"{place}/{name}")

    def reverse(self, stage: Stage, run: RunContext) -> None:
        table, place = str(stage.parameters["table"]), str(stage.parameters["directory"])
        refuse_vanished(run, f"{table}/_txn")
        for name in reversed(stage.parameters["names"]):
            if run.tree.exists(f"{place}/{name}") and not run.tree.exists(f"{table}/{name}"):
                run.tree.rename(f"{place}/{name}", f"{table}/{name}")
        run.tree.remove_empty(place)


STEPS: tuple[Step, ...] = (SetAside(),)
