"""Steps of the way back from evidence: copy it beside, exchange it with what is there, compare the whole table."""

import json
from pathlib import Path
from typing import Any

from console.questdb.layout import TableDirectory
from console.recovery.codes import ClaimKey
from console.recovery.evidence.index import Capture, EvidenceIndex
from console.recovery.model import Claim, Stage
from console.recovery.steps.files import check_digest
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError
from console.recovery.store.places import root_key
from console.recovery.tree.pieces import Owner, Piece
from console.recovery.tree.tree import parts_of
from console.recovery.undo.restoring import FILES, MOVES, difference
from console.text import clean_line, plural


class FetchEvidence(Step):
    """Copy files of the evidence beside, into a new directory. Done again it starts over; reversed it is gone."""

    name = "fetch-evidence"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Write each file with the owner, mode and time that it had, and compare it with the manifest."""
        new, table = str(stage.parameters["new"]), str(stage.parameters["table"])
        source = _capture(stage, run).folder / "db" / table
        files = _attached(run, FILES)
        owner = run.tree.owner_of_directory(table)
        run.tree.remove_directory(new)
        run.tree.make_directory(new, owner)
        done, total = 0, sum(int(item["size"]) for item in files)
        for item in files:
            relative = f"{new}/{item['path']}"
            _make_folders(run, new, relative)
            size, mode = int(item["size"]), int(item["mode"]) & 0o777
            theirs = Owner(int(item["uid"]), int(item["gid"]), mode, owner.directory_mode)
            pieces = [Piece(0, source.joinpath(*parts_of(item["path"])), 0, size)]
            run.tree.write_new(relative, size, pieces, theirs, mtime_ns=int(item["mtime_ns"]))
            check_digest(run, relative, item["sha256"])
            done += size
            run.progress(clean_line(str(item["path"])), done, total)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        run.tree.remove_directory(str(stage.parameters["new"]))


class ExchangeEntries(Step):
    """Move aside what is there, then move in what was fetched: renames, each found done or not."""

    name = "exchange-entries"

    def perform(self, stage: Stage, run: RunContext) -> None:
        tree, old = run.tree, str(stage.parameters["old"])
        tree.make_directory(old, tree.owner_of_directory(str(stage.parameters["table"])))
        for move in _attached(run, MOVES):
            source, target = move["from"], move["to"]
            if move["kind"] == "aside" and tree.exists(target):
                continue
            if tree.exists(source):
                _make_folders(run, old, target)
                tree.rename(source, target, shared=True)
            elif not tree.exists(target):
                raise StepError(f"{clean_line(source)} has gone meanwhile; undo what was begun and plan again")

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Do them back, last first: what was moved in goes back beside, what was moved aside to its place."""
        tree, old, new = run.tree, str(stage.parameters["old"]), str(stage.parameters["new"])
        moves = _attached(run, MOVES)
        displaced = {move["from"]: move["to"] for move in moves if move["kind"] == "aside"}
        for move in reversed(moves):
            source, target = move["from"], move["to"]
            if tree.exists(source) or not tree.exists(target):
                continue
            if move["kind"] == "back" and target in displaced and not tree.exists(displaced[target]):
                continue  # what stands there was never moved aside: it is not ours
            _make_folders(run, new, source)  # the comparison removes them once they are empty
            tree.rename(target, source, shared=True)
        tree.remove_empty(old)


class CompareEvidence(CheckStep):
    """Compare the table's directory with the evidence, file by file. Raises StepError where anything differs."""

    name = "compare-evidence"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        run.tree.remove_empty(str(stage.parameters["new"]))
        table = run.database.table(str(stage.parameters["table"]))
        claim = equal_claim(table, _capture(stage, run), ignored=str(stage.parameters["old"]).rsplit("/", 1)[-1])
        run.claims.append(claim)
        if not claim.ok:
            raise StepError(f"{table.name} is not as the evidence has it: {claim.found}")


def equal_claim(table: TableDirectory, capture: Capture, *, ignored: str) -> Claim:
    """Return whether the table is, file by file, as the capture has it, but for the directory `ignored`."""
    manifest = capture.manifest
    found = difference(table.path, table.directory, manifest, ignored=frozenset({ignored}))
    many = plural(sum(item["path"].startswith(f"db/{table.directory}/") for item in manifest["files"]), "file")
    wrong = sorted({*found.back, *found.aside, *found.changed})
    result = "equal" if found.none else f"{clean_line(', '.join(wrong[:3]))} differ"
    return Claim(
        ClaimKey.RESTORED,
        f"{table.name} is as evidence {capture.id} has it",
        f"{many} equal",
        result,
        ok=found.none,
        table=table.name,
    )


def _make_folders(run: RunContext, place: str, path: str) -> None:
    """Make the folders above `path` from `place` on that are missing, where it is to lie in there."""
    parts, depth = parts_of(path), len(parts_of(place))
    if "/".join(parts[:depth]) == place:
        for folder in ("/".join(parts[:at]) for at in range(depth, len(parts))):
            if not run.tree.exists(folder):
                run.tree.make_directory(folder, run.tree.owner_of_directory(parts[0]))


def _capture(stage: Stage, run: RunContext) -> Capture:
    index = EvidenceIndex(run.state, root_key(run.database.db), run.journal)
    wanted = str(stage.parameters["capture"])
    found = next((each for each in index.captures() if each.id == wanted), None)
    if found is None:
        raise StepError(f"the evidence {wanted} is no longer in {run.state.evidence}; put its folder back")
    return found


def _attached(run: RunContext, name: str) -> list[dict[str, Any]]:
    path: Path = run.attachment(name)
    found: list[dict[str, Any]] = json.loads(path.read_bytes())
    return found


STEPS: tuple[Step, ...] = (FetchEvidence(), ExchangeEntries(), CompareEvidence())
