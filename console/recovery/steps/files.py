"""Steps on files of a table: build a new directory beside, swap it in.

Parameters are JSON values; all paths are relative to the db directory. Files of a new directory are given as
`{"name", "size", "pieces": [{"at", "length", "from": {"attachment": NAME}, {"file": PATH} or {"outside": ABSOLUTE
PATH}, "from_at"}], "sha256"}`: zeros but for the pieces, so that a log of 400 MB needs no attachment of that size.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console.questdb.reading import DbFile
from console.recovery.model import Change, Stage
from console.recovery.steps.steps import RunContext, Step, StepError
from console.recovery.tree.pieces import Owner, Piece
from console.recovery.tree.tree import parts_of
from console.text import clean_line

_ZEROS = bytes(1 << 20)


def new_name(path: str, mark: str) -> str:
    """Return the name beside `path` under which a plan with `mark` builds what will stand there."""
    return f"{path}.walmedic-{mark}.new"


def old_name(path: str, mark: str) -> str:
    """Return the name beside `path` under which a plan with `mark` keeps what stood there."""
    return f"{path}.walmedic-{mark}.old"


def build_directory(
    directory: str, table_directory: str, files: list[dict[str, Any]], *, title: str, changes: tuple[Change, ...]
) -> Stage:
    """Return the stage that builds `directory` (a `new_name`) with `files` and the owner of the table's `_txn`."""
    parameters = {"directory": directory, "table": table_directory, "files": files}
    return Stage("build", title, "build-directory", parameters, changes)


def swap_directory(path: str, mark: str, *, existed: bool, title: str) -> Stage:
    """Return the stage that puts `new_name(path)` in place of `path`, keeping what was there as `old_name(path)`."""
    new, old = new_name(path, mark), old_name(path, mark)
    renames = (Change("rename", path, before=path, after=old),) if existed else ()
    parameters = {"path": path, "new": new, "old": old, "existed": existed}
    return Stage("swap", title, "swap-directory", parameters, (*renames, Change("rename", new, before=new, after=path)))


class BuildDirectory(Step):
    """Build a directory beside its place. Done again it starts over; reversed it is gone."""

    name = "build-directory"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Write all files, sync each, check what has a SHA-256, and sync the directory."""
        directory, table = str(stage.parameters["directory"]), str(stage.parameters["table"])
        owner = run.tree.owner_of_table(table)
        run.tree.remove_directory(directory)
        run.tree.make_directory(directory, owner)
        total = sum(int(p["length"]) for spec in stage.parameters["files"] for p in spec["pieces"])
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            run.progress(f"writing {clean_line(directory)}", done, total)

        for spec in stage.parameters["files"]:
            parts = parts_of(str(spec["name"]))
            if len(parts) == 2:
                run.tree.make_directory(f"{directory}/{parts[0]}", owner)
            elif len(parts) > 2:
                raise StepError(f"{clean_line(str(spec['name']))} lies deeper than a sequencer's files do")
            relative = f"{directory}/{spec['name']}"
            run.tree.write_new(relative, int(spec["size"]), pieces_of(spec, run), owner, on_bytes)
            check_digest(run, relative, spec.get("sha256"))

    def reverse(self, stage: Stage, run: RunContext) -> None:
        directory = str(stage.parameters["directory"])
        refuse_vanished(run, directory)
        run.tree.remove_directory(directory)


class SwapDirectory(Step):
    """Put a new directory in the place of another, which is kept beside. Two renames, each found done or not."""

    name = "swap-directory"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """`path` → `old` where it was there, then `new` → `path`."""
        path, new, old = (str(stage.parameters[key]) for key in ("path", "new", "old"))
        tree = run.tree
        if not tree.exists(new):
            if tree.exists(path) and (tree.exists(old) or not stage.parameters["existed"]):
                return
            raise StepError(f"{clean_line(new)} is not there to be put in place; undo the entry and plan again")
        if stage.parameters["existed"] and not tree.exists(old):
            tree.rename(path, old)
        tree.rename(new, path)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """`path` → `new` where it is ours, then `old` → `path`."""
        path, new, old = (str(stage.parameters[key]) for key in ("path", "new", "old"))
        tree = run.tree
        refuse_vanished(run, path)
        ours_in_place = not tree.exists(new) and tree.exists(path)
        if stage.parameters["existed"]:
            if not tree.exists(old):
                return  # never swapped, or swapped back already
            if ours_in_place:
                tree.rename(path, new)
            tree.rename(old, path)
        elif ours_in_place:
            tree.rename(path, new)


def kept_place(run: RunContext, path: str) -> Path:
    """Return where the old bytes of the file at `path` are kept, in the entry's folder."""
    return run.folder / "kept" / hashlib.sha256(path.encode()).hexdigest()[:16]


def pieces_of(spec: Mapping[str, Any], run: RunContext) -> list[Piece]:
    """Return where the bytes of a new file come from. Raises StepError for a malformed or unsafe source."""
    pieces = []
    for item in spec["pieces"]:
        source = item["from"]
        if "attachment" in source:
            path = run.attachment(str(source["attachment"]))
        elif "outside" in source:
            path = Path(str(source["outside"]))
        else:
            path = run.database.db.joinpath(*parts_of(str(source["file"])))
            with run.tree.directory(parts_of(str(source["file"]))[:-1]):
                pass  # refuses links on the way; the file itself is opened with O_NOFOLLOW
        pieces.append(Piece(int(item["at"]), path, int(item.get("from_at", 0)), int(item["length"])))
    return pieces


def digest_of_new(spec: Mapping[str, Any], attachments: Mapping[str, bytes], db: Path) -> str:
    """Return the SHA-256 that a new file will have. Raises OSError where a source cannot be read, or ends early."""
    digest, at = hashlib.sha256(), 0
    for piece in sorted(spec["pieces"], key=lambda each: int(each["at"])):
        _add_zeros(digest, int(piece["at"]) - at)
        at = int(piece["at"]) + int(piece["length"])
        source, start = piece["from"], int(piece.get("from_at", 0))
        end = start + int(piece["length"])
        if "attachment" in source:
            digest.update(attachments[str(source["attachment"])][start:end])
        else:
            inside = db / str(source.get("file") or spec["name"])
            _add_file(digest, Path(str(source["outside"])).resolve() if "outside" in source else inside, start, end)
    _add_zeros(digest, int(spec["size"]) - at)
    return digest.hexdigest()


def _add_zeros(digest: Any, count: int) -> None:
    while count > 0:
        digest.update(_ZEROS[:count])
        count -= len(_ZEROS)


def _add_file(digest: Any, path: Path, start: int, end: int) -> None:
    with DbFile(path) as file:
        while start < end:
            block = file.read(start, min(len(_ZEROS), end - start))
            if not block:
                raise OSError(f"{path} ends {end - start:,} bytes early")
            digest.update(block)
            start += len(block)


def check_digest(run: RunContext, relative: str, expected: object) -> None:
    """Read a new file again where the plan knows its SHA-256. Raises StepError where the disk holds something else."""
    if expected is None:
        return
    with run.database.db.joinpath(*parts_of(relative)).open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise StepError(
            f"{clean_line(relative)} does not hold what the plan says after writing; nothing was put in place"
        )


def refuse_vanished(run: RunContext, path: str) -> None:
    """Raise StepError where the directory of `path` is away: what lies in it would be taken for never made."""
    parent = "/".join(parts_of(path)[:-1])
    if parent and not run.tree.exists(parent):
        where = clean_line(parent)
        raise StepError(f"{where} is not there, so what was begun in it stays; put {where} back, then undo the entry")


def write_back(run: RunContext, path: str, new: str, kept: Path, was: object) -> None:
    """Write the bytes of `kept` to `path` by way of `new`, with owner, mode and time as `was` noted them."""
    if not isinstance(was, dict):
        raise StepError(f"entry {run.entry} does not say whose {clean_line(path)} was; its bytes are in {kept}")
    size = kept.stat().st_size
    owner = Owner(int(was["uid"]), int(was["gid"]), int(was["mode"]), 0o700)
    run.tree.write_new(new, size, [Piece(0, kept, 0, size)], owner, mtime_ns=int(was["mtime_ns"]))
    run.tree.replace(new, path)


STEPS: tuple[Step, ...] = (BuildDirectory(), SwapDirectory())
