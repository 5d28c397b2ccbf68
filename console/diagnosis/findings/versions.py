"""Findings about structure versions: of the last record, which the server looks up at every opening, and of others.

In a record of rows the version is not used when it is applied (measured); it counts in the last record, which every
ALTER goes on from, and in the record of a structure change.
"""

from collections.abc import Iterator
from typing import Final

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.read_on_open import without_room
from console.diagnosis.server.liveness import lock_held
from console.diagnosis.table_facts import Sequencer, TableFacts
from console.questdb.reading import Problem
from console.questdb.sequencer_metadata import SequencerMetadata
from console.questdb.txn_log import STRUCTURE_CHANGE

_MOST_RUNS: Final = 20


def version_findings(facts: TableFacts) -> Iterator[Finding]:
    sequencer, scan = facts.sequencer, facts.sequencer.scan
    if scan is None or scan.max_txn < 1:
        return
    path, at = sequencer.log.offset_of(scan.max_txn)
    file, last = facts.relative(path), scan.last_version
    if last is not None and last < 0:
        message = f"the record of seqTxn {scan.max_txn:,} has structure version {last:,}, which is never negative"
        yield Finding(Code.LOG_RECORD_INVALID, Severity.DAMAGE, message, file, at, scan.max_txn)
        return
    if last is not None and without_room(last, sequencer.structure):
        message = (
            f"the record of seqTxn {scan.max_txn:,} has structure version {last:,}, for which _txnlog.meta.i has no "
            "room: the server looks it up past that file's end at every start, which can crash it"
        )
        yield Finding(Code.LOG_RECORD_INVALID, Severity.DAMAGE, message, file, at, scan.max_txn)
        return
    yield from _going_back(facts, sequencer)
    yield from _waiting_changes(facts, sequencer)
    yield from _last_version(facts, sequencer, file, at)


def _going_back(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    scan = sequencer.scan
    if scan is None:
        return
    for low, high in list(scan.check.structure_regress)[:_MOST_RUNS]:
        where, place = sequencer.log.offset_of(low)
        message = f"the structure version goes back at seqTxn {low:,}"
        if high >= scan.max_txn:
            message += ", the last: inserts work, every ALTER fails"
        elif high > scan.applied:
            message += ": no server writes that, though it does not read the field there"
        else:
            message += ", which is applied: the server does not read it any more"
        severity = Severity.RISK if high > scan.applied or high >= scan.max_txn else Severity.NOTE
        yield Finding(Code.LOG_STRUCTURE_VERSION_REGRESS, severity, message, facts.relative(where), place, low)


def _waiting_changes(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    """The first structure change that waits must be the one after the table's own version, and so on."""
    scan, current = sequencer.scan, facts.txn.current
    if scan is None or current is None or scan.unnamed:
        return
    waiting = scan.changes.at(scan.changes.number <= scan.max_txn)
    expected = current.structure_version
    for txn, version in zip(waiting.number.tolist(), waiting.version.tolist(), strict=True):
        expected += 1
        if version != expected:
            path, at = sequencer.log.offset_of(txn)
            message = (
                f"seqTxn {txn:,} is a structure change to version {version:,}, where {expected:,} is the next: "
                "applying stops there"
            )
            yield Finding(Code.LOG_RECORD_INVALID, Severity.DAMAGE, message, facts.relative(path), at, txn)
            return
    yield from _without_change(facts, sequencer, expected)


def _without_change(facts: TableFacts, sequencer: Sequencer, expected: int) -> Iterator[Finding]:
    """The records, and the sequencer's _meta, are of a version that no record of the log leads to.

    That is left of an ALTER that was cut off after it had written _meta: the next commit takes its record's place.
    """
    scan, metadata = sequencer.scan, sequencer.metadata
    if scan is None or scan.last_version is None or isinstance(metadata, Problem) or scan.max_txn < scan.applied:
        return
    if metadata.structure_version == scan.last_version > expected:
        path, at = sequencer.log.offset_of(scan.max_txn)
        message = (
            f"the last record, seqTxn {scan.max_txn:,}, and the sequencer's _meta have structure version "
            f"{scan.last_version:,}, and no record leads there from {expected:,}: the next ALTER can suspend the table"
        )
        yield Finding(
            Code.LOG_STRUCTURE_VERSION_REGRESS, Severity.RISK, message, facts.relative(path), at, scan.max_txn
        )


def _last_version(facts: TableFacts, sequencer: Sequencer, file: str, at: int) -> Iterator[Finding]:
    """The last record's structure version must be the sequencer's; filler records of a repair may have forgotten it."""
    scan, metadata = sequencer.scan, sequencer.metadata
    if scan is None or scan.last_version is None or not isinstance(metadata, SequencerMetadata):
        return
    expected = metadata.structure_version
    zeroed = any(low <= scan.max_txn <= high for low, high in scan.zeroed)
    regressed = any(low <= scan.max_txn <= high for low, high in scan.check.structure_regress)
    if expected < 0 or scan.last_version == expected or regressed:
        return
    if expected == scan.last_version + 1 and _on_its_way(facts, sequencer, expected):
        return
    cut_off = scan.change_cut_off and expected == scan.last_version + 1
    if (zeroed and scan.max_txn > scan.applied) or scan.max_txn < scan.applied or (scan.beyond and not cut_off):
        return  # reported as a zeroed record, or as a header that is too low, already
    message = (
        f"the last record, seqTxn {scan.max_txn:,}, has structure version {scan.last_version:,} and the sequencer's "
        f"_meta {expected:,}: inserts work, every ALTER fails"
    )
    yield Finding(Code.LOG_STRUCTURE_VERSION_REGRESS, Severity.RISK, message, file, at, scan.max_txn)


def _on_its_way(facts: TableFacts, sequencer: Sequencer, version: int) -> bool:
    """Return whether a live server is making this change: record and `_meta` first, then the disk, maxTxn last."""
    if not lock_held(facts.directory.path.parent).may_write:
        return False
    at = (sequencer.max_txn or 0) + 1
    try:
        records = sequencer.log.records(at, at)
    except OSError:
        return False
    return bool(len(records)) and (int(records["wal_id"][0]), int(records["structure_version"][0])) == (
        STRUCTURE_CHANGE,
        version,
    )
