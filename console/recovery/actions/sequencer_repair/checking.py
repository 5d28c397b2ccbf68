"""Reading a new sequencer back before it is put in place, and again where it stands: never trust what was written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Plan, Stage
from console.recovery.sequencer.disk import TableOnDisk, read_source, read_table
from console.recovery.sequencer.target import SequencerTarget
from console.recovery.steps import files, table_files
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError
from console.table.inventory import Index, Inventory, Mask


def stage(directory: str, table: TableOnDisk, target: SequencerTarget) -> Stage:
    """Return the stage that checks the built `directory` (relative to the db directory) of `table`."""
    named = target.unapplied[target.unapplied >= 0]
    left_out = int((target.left_out & ~_accounted(table.inventory, named) & ~_cut_off(table, target)).sum())
    name = table.directory.directory
    parameters = {"directory": directory, "table": name, "max_txn": target.max_txn, "torn": left_out}
    return Stage("check", "read it back and check every rule of the format", "check-sequencer", parameters)


def claims_of(table: TableOnDisk, path: Path, max_txn: int, torn: int = 0) -> tuple[Claim, ...]:
    """Return what must hold of the sequencer at `path` for `table` (docs/formats.md), each with what was found."""
    return tuple(_claims(table, path, max_txn, torn))


def _claims(table: TableOnDisk, path: Path, max_txn: int, torn: int) -> Iterator[Claim]:
    source = read_source(table, path)
    scan, header = source.scan, source.log.header
    if scan is None or header is None:
        yield Claim(
            ClaimKey.LOG_OPENS, "the log can be opened", "a header of a known version", source.log.state.value, ok=False
        )
        return
    yield Claim.same(ClaimKey.LOG_MAX_TXN, "the header's maxTxn", max_txn, header.max_txn)
    below = "the log is not below the applied transaction"
    yield Claim.at_least(ClaimKey.LOG_NOT_BELOW_APPLIED, below, table.applied, header.max_txn)
    size = source.log.expected_size()
    yield Claim.same(ClaimKey.LOG_LENGTH, "the log's length", size, source.log.file_size)
    yield Claim.same(ClaimKey.LOG_RECORDS, "unapplied records missing or invalid", 0, scan.bad)
    yield Claim.same(ClaimKey.LOG_SEGMENTS, "records naming segments that are not on disk", 0, len(scan.lost))
    named = scan.named.event[scan.believed]
    unnamed = int((~_accounted(table.inventory, named)).sum())
    yield Claim.same(ClaimKey.LOG_UNNAMED, "unapplied transactions missing from the log", torn, unnamed)
    highest, index = table.highest_wal, source.wal_index.highest
    yield Claim(
        ClaimKey.WAL_INDEX,
        "the wal index is not below the highest WAL",
        f"≥ {highest}",
        str(index),
        index is not None and index >= highest,
    )
    if isinstance(source.metadata, Problem):
        yield Claim(ClaimKey.LOG_META, "its _meta can be read", "yes", source.metadata.what, ok=False)
        return
    last = source.log.records(max_txn, max_txn)
    reached = int(last["structure_version"][0]) if len(last) else 0
    version = source.metadata.structure_version
    yield Claim.same(ClaimKey.LOG_STRUCTURE, "structure version of _meta and of the last record", version, reached)
    behind = "the structure is not behind the table's"
    yield Claim.at_least(ClaimKey.STRUCTURE_NOT_BEHIND, behind, table.structure, version)
    yield Claim.same(ClaimKey.TABLE_ID, "table id", table.metadata.table_id, source.metadata.table_id)


def _accounted(inventory: Inventory, named: Index) -> Mask:
    """Return which events the tail names (indices `named`) or counts as applied.

    Per WAL everything before the first event that the tail names is applied; a WAL that the tail does not name is too.
    """
    accounted = np.ones(len(inventory), np.bool_)
    is_named = np.zeros(len(inventory), np.bool_)
    is_named[named] = True
    for _, first, stop in inventory.by_wal():
        mine = np.flatnonzero(is_named[first:stop])
        if len(mine):
            accounted[first + int(mine[0]) : stop] = is_named[first + int(mine[0]) : stop]
    return accounted


def _cut_off(table: TableOnDisk, target: SequencerTarget) -> Mask:
    """Return which events are behind the end of an `_event` that is written anew from a copy."""
    found = np.zeros(len(table.inventory), np.bool_)
    for wal, segment, low, high in table.inventory.slices():
        if (wal, segment) in target.events_anew and (read := table.segments[wal, segment]).copied:
            found[low + len(read.writable) : high] = True
    return found


class CheckSequencer(CheckStep):
    """Check a built sequencer before it is swapped in. It changes nothing, so that there is nothing to take back."""

    name = "check-sequencer"

    def perform(self, stage: Stage, run: RunContext) -> None:
        directory = str(stage.parameters["directory"])
        table = read_table(_directory(run, str(stage.parameters["table"])))
        path = run.database.db / directory
        for claim in claims_of(table, path, int(stage.parameters["max_txn"]), int(stage.parameters["torn"])):
            if not claim.ok:
                raise StepError(
                    f"{directory} was built and does not hold: {claim.claim} (expected {claim.expected}, found "
                    f"{claim.found}); it was not put in place"
                )


def _directory(run: RunContext, directory: str) -> TableDirectory:
    return run.database.in_directory(directory)


STEPS: tuple[Step, ...] = (*table_files.STEPS, *files.STEPS, CheckSequencer())


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return the claims about the sequencer that a plan put in place."""
    checked = next((s for s in plan.stages if s.step == CheckSequencer.name), None)
    if checked is None:
        return ()
    table = read_table(_directory(run, str(checked.parameters["table"])))
    claims = claims_of(
        table, table.directory.sequencer, int(checked.parameters["max_txn"]), int(checked.parameters["torn"])
    )
    tree, directory = run.tree, table.directory.directory
    owner, status = tree.owner_of_table(directory), tree.status(f"{directory}/txn_seq/_txnlog")
    ours = status is not None and (status.st_uid, status.st_gid) == (owner.uid, owner.gid)
    return (
        *claims,
        Claim(
            ClaimKey.OWNER,
            "files owned by the table's owner",
            f"{owner.uid}:{owner.gid}",
            "no file" if status is None else f"{status.st_uid}:{status.st_gid}",
            ours,
        ),
    )
