"""Steps of salvage-wal. Taking one back removes an unfinished salvage only: rows that were saved are never deleted."""

import shutil
from pathlib import Path

from console.durable import make_directories, sync_directory
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Stage
from console.recovery.salvage.selection import Selection, select_directory, select_rows
from console.recovery.salvage.statements import statements_in
from console.recovery.salvage.writing import (
    Target,
    damaged_files,
    finish,
    read_manifest,
    summary_of,
    write_segments,
)
from console.recovery.steps.steps import RunContext, Step
from console.recovery.store.places import MANIFEST, salvage_folder
from console.text import clean_line


def remove_unfinished(folder: Path) -> None:
    if folder.is_dir() and not (folder / MANIFEST).exists():
        shutil.rmtree(folder)
        sync_directory(folder.parent)


class SalvageRows(Step):
    """Choose rows, write them segment by segment, read each file back, and write the manifest."""

    name = "salvage-rows"

    def perform(self, stage: Stage, run: RunContext) -> None:
        target = _target(stage, run)
        if (target.folder / MANIFEST).exists():
            return
        selection = target.chosen(lambda: _select(stage, run))
        write_segments(target, selection, run.progress)
        about = {
            "entry": run.entry,
            "station": run.plan.station,
            "table": run.plan.table or str(stage.parameters["name"]),
            "wal_of": str(target.wals),
            "chosen": str(stage.parameters["rows"]),
            "statements": statements_in(target.wals),
        }
        manifest = finish(target, selection, about)
        run.progress(summary_of(manifest))

    def reverse(self, stage: Stage, run: RunContext) -> None:
        remove_unfinished(salvage_folder(stage.parameters, run.entry))


def _target(stage: Stage, run: RunContext) -> Target:
    given = stage.parameters
    directory = str(given["directory"])
    table = run.database.db / directory if directory else None
    wals = Path(str(given["source"])) if given["source"] else run.database.db / directory
    make_place(Path(str(given["to"])), run)
    return Target(salvage_folder(stage.parameters, run.entry), run.folder, str(given["format"]), wals, table)


def make_place(to: Path, run: RunContext) -> None:
    if run.state.root in to.parents:
        run.state.made(to)
    else:
        make_directories(to)


def _select(stage: Stage, run: RunContext) -> Selection:
    given = stage.parameters
    if given["source"]:
        return select_directory(Path(str(given["source"])))
    return select_rows(run.database.in_directory(str(given["directory"])), str(given["rows"]), run.settings)


def salvage_claims(stage: Stage, run: RunContext, *, whole: bool) -> tuple[Claim, ...]:
    """Return what is claimed of the files of a stage, hashed once more, and what its manifest says of the rows.

    `whole`: the table will not have these rows any more, so that no segment may be left out of the files as a whole.
    """
    folder = salvage_folder(stage.parameters, run.entry)
    manifest = read_manifest(folder)
    name, files = clean_line(str(stage.parameters["name"])), manifest["files"]
    bad = damaged_files(folder, manifest)
    found = f"{len(files) - len(bad)} of {len(files)}" + (f"; {', '.join(bad[:3])} differ" if bad else "")
    where, due = clean_line(str(folder)), f"{len(files)} of {len(files)}"
    rows, left = int(manifest["rows"]), int(manifest["rows_left_out"])
    result = f"{rows:,} written and read back" + (f", {left:,} skipped (the manifest says why)" if left else "")
    gone = left - sum(int(given["rows_left_out"]) for given in files)
    missing = Claim.same(
        ClaimKey.SALVAGE_LEFT_OUT, f"{name}: rows of segments that could not be written", 0, gone, name
    )
    return (
        Claim.note(ClaimKey.SALVAGED, f"{name}: rows salvaged", f"{result}, in {where}", table=name),
        Claim(ClaimKey.SALVAGE_FILES, f"{name}: files as hashed in {where}", due, found, not bad, table=name),
        *((missing,) if whole else ()),
    )


STEPS: tuple[Step, ...] = (SalvageRows(),)
