"""Step that replaces several files of a table, one after another, each by rename; the old bytes are kept and put back.

A file is given as in `files`, with `name` (its path relative to the db directory), `new` (the name beside it) and
`existed`. A piece may also come `{"from": {"old": true}}`: from what the file itself held before the action.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from console.durable import make_directories, sync_directory
from console.recovery.model import Change, Stage
from console.recovery.steps.files import (
    check_digest,
    kept_place,
    new_name,
    pieces_of,
    refuse_vanished,
    write_back,
)
from console.recovery.steps.steps import RunContext, Step, StepError
from console.recovery.store.copying import copy_out
from console.recovery.tree.pieces import Owner, Piece
from console.text import clean_line

STEP = "replace-files"


def replace_files(
    number: int,
    table_directory: str,
    mark: str,
    files: Sequence[Mapping[str, Any]],
    title: str,
    changes: Sequence[Change],
) -> Stage:
    """Return the stage that writes `files` anew (specs with `name` and `existed`), durably and each by a rename.

    A file may have other hard links, as symbol maps have in WAL directories: these keep what they hold.
    """
    named = [{**spec, "new": new_name(str(spec["name"]), mark)} for spec in files]
    parameters = {"table": table_directory, "files": named}
    return Stage(f"files-{number}", title, STEP, parameters, tuple(changes))


class ReplaceFiles(Step):
    """Replace files by rename. Done again it ends in the same state; reversed the old bytes are back."""

    name = "replace-files"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Keep the old bytes of each file, write the new beside, rename it over the old."""
        files = stage.parameters["files"]
        owner = run.tree.owner_of_table(str(stage.parameters["table"]))
        self._note(stage, run)
        for done, spec in enumerate(files):
            path = str(spec["name"])
            run.progress(f"writing {clean_line(path)}", done, len(files))
            _replace(run, path, spec, owner)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Write the old bytes with their owner and times, or remove a file where there was none."""
        was = run.recall(_key(stage), {})
        for spec in reversed(stage.parameters["files"]):
            path, new = str(spec["name"]), str(spec["new"])
            refuse_vanished(run, path)
            run.tree.remove_file(new)
            kept = kept_place(run, path)
            if spec["existed"]:
                if kept.exists():
                    write_back(run, path, new, kept, was.get(path))
            elif run.tree.exists(path):
                run.tree.remove_file(path)

    def _note(self, stage: Stage, run: RunContext) -> None:
        """Note whose the files are and of when, once, before the first is changed."""
        if run.recall(_key(stage)) is not None:
            return
        noted: dict[str, dict[str, int]] = {}
        for spec in stage.parameters["files"]:
            if not spec["existed"]:
                continue
            path = str(spec["name"])
            status = run.tree.status(path)
            if status is None:
                raise StepError(f"{clean_line(path)} has gone since the plan was made; make the plan again")
            noted[path] = {
                "uid": status.st_uid, "gid": status.st_gid, "mode": status.st_mode & 0o7777,
                "mtime_ns": status.st_mtime_ns,
            }  # fmt: skip
        run.remember(_key(stage), noted)


def _key(stage: Stage) -> str:
    return f"kept of {stage.id}"


def _replace(run: RunContext, path: str, spec: Mapping[str, Any], owner: Owner) -> None:
    new = str(spec["new"])
    run.tree.refuse_unsafe_target(path, shared=True)
    kept = kept_place(run, path)
    if spec["existed"] and not kept.exists():
        _keep(run.database.db / path, kept, path)
    run.tree.write_new(new, int(spec["size"]), _pieces(spec, run, kept), owner)
    check_digest(run, new, spec.get("sha256"))
    run.tree.replace(new, path, shared=True)


def _keep(source: Path, kept: Path, path: str) -> None:
    """Copy what the file holds, durably: under its name it is whole."""
    make_directories(kept.parent)
    beside = kept.with_name(f".{kept.name}.tmp")
    copy_out(source, beside, path)
    beside.replace(kept)
    sync_directory(kept.parent)


def _pieces(spec: Mapping[str, Any], run: RunContext, kept: Path) -> list[Piece]:
    """Return where the bytes come from; what is the file's own old content is read from where it is kept."""
    own = [item for item in spec["pieces"] if item["from"].get("old")]
    others = [item for item in spec["pieces"] if not item["from"].get("old")]
    pieces = [Piece(int(i["at"]), kept, int(i.get("from_at", 0)), int(i["length"])) for i in own]
    return [*pieces, *pieces_of({"pieces": others}, run)]


STEPS: tuple[Step, ...] = (ReplaceFiles(),)
