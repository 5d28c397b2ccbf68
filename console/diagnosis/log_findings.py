"""Findings about a sequencer's log: what is missing, what its header claims, which records cannot be right."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from console.diagnosis.log_lengths import missing_bytes, shortfall
from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.server_lock import server_lives
from console.diagnosis.table_facts import Sequencer, TableFacts
from console.questdb.sequencer_metadata import SequencerMetadata
from console.questdb.structure_log import StructureLog
from console.questdb.txn_log import HEADER_SIZE, MAX_TXN_OFFSET, RECORD_SIZE, STRUCTURE_CHANGE, LogState
from console.text import plural

_MOST_RUNS: Final = 20
_ENTRY: Final = 8
_PAGE: Final = 4096


def log_findings(facts: TableFacts) -> Iterator[Finding]:
    """Yield what is wrong with the table's own log."""
    sequencer = facts.sequencer
    state = sequencer.log.state
    if state is not LogState.PRESENT:
        yield _absent(facts, state)
        return
    yield from _header(facts, sequencer)
    if sequencer.scan is not None:
        yield from _records(facts, sequencer)
        yield from _versions(facts, sequencer)


def _absent(facts: TableFacts, state: LogState) -> Finding:
    log = facts.sequencer.log
    if state is LogState.NO_SEQUENCER:
        return Finding(
            Code.SEQUENCER_MISSING, Severity.DAMAGE,
            "the directory txn_seq is gone: reads work, every write fails, and the server does not list the table",
            facts.relative(facts.sequencer.path),
        )  # fmt: skip
    if state is LogState.MISSING:
        return Finding(
            Code.LOG_MISSING, Severity.DAMAGE,
            "_txnlog is gone: reads work and every write fails; a start puts a file of 0 bytes in its place",
            facts.relative(log.path),
        )  # fmt: skip
    if state is LogState.EMPTY:
        return Finding(
            Code.LOG_EMPTY, Severity.DAMAGE,
            f"_txnlog holds {plural(log.file_size, 'byte')} and no header: reads work, every write fails",
            facts.relative(log.path), 0,
        )  # fmt: skip
    what = log.problems[0].what if log.problems else "it cannot be read"
    return Finding(Code.UNREADABLE, Severity.RISK, f"_txnlog cannot be judged: {what}", facts.relative(log.path))


def _header(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    log, header, applied = sequencer.log, sequencer.log.header, facts.applied
    file = facts.relative(log.path)
    if header is None:
        return
    if not header.known:
        what = f"format version {header.version:,}" if header.version != 1 else f"part size {header.part_size:,}"
        at = 0 if header.version != 1 else 20
        message = f"its header says {what}, which the server refuses: no transaction can be read or written"
        yield Finding(Code.LOG_VERSION_UNKNOWN, Severity.DAMAGE, message, file, at)
        return
    if header.all_zero and ((applied or 0) > 0 or len(facts.inventory)):
        message = (
            "its header is all zeros, which the server takes for an empty log: writes are acknowledged and never "
            "applied, and the next purge sweep deletes what is not applied"
        )
        yield Finding(Code.LOG_HEADER_ZEROED, Severity.DAMAGE, message, file, 0, evidence=_applied_words(applied))
        return
    if not log.v2 and header.max_txn > 0 and missing_bytes(header.max_txn, log.file_size):
        yield _past_end(file, header.max_txn, log.file_size, log.whole_records)
    current = facts.txn.current
    if current is not None and current.lag_rows == 0:
        applied = current.seq_txn  # a lag count without rows is a fault of its own
    if applied is not None and header.max_txn < applied:
        message = (
            f"its header counts {plural(header.max_txn, 'transaction')} and the table has {applied:,} applied: writes "
            "are acknowledged and never applied, and the next purge sweep deletes WAL that is still needed"
        )
        yield Finding(
            Code.LOG_MAX_TXN_BELOW_APPLIED, Severity.DAMAGE, message, file, MAX_TXN_OFFSET, header.max_txn,
            _applied_words(applied),
        )  # fmt: skip
    yield from _missing_parts(facts, sequencer)


def _past_end(file: str, max_txn: int, size: int, whole: int) -> Finding:
    missing = missing_bytes(max_txn, size)
    at = HEADER_SIZE + RECORD_SIZE * (max_txn - 1)
    message = (
        f"its header counts {plural(max_txn, 'transaction')} and the file is {shortfall(missing)}: it holds {whole:,}, "
        "and the server reads past its end when it opens it, which can crash it at every start"
    )
    evidence = f"file {size:,} bytes, header needs {HEADER_SIZE + RECORD_SIZE * max_txn:,}; first read at {at:#x}"
    return Finding(Code.LOG_MAX_TXN_PAST_END, Severity.DAMAGE, message, file, at, max_txn, evidence)


def _applied_words(applied: int | None) -> str:
    return "_txn cannot be read" if applied is None else f"_txn: {applied:,} applied"


def _missing_parts(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    log, header, applied = sequencer.log, sequencer.log.header, facts.applied
    if not log.v2 or header is None or header.max_txn < 1:
        return
    # The part of the last transaction is read at every opening, also where all is applied.
    first = min(header.max_txn, (applied or 0) + 1)
    for low, high in log.missing_parts(first, header.max_txn)[:_MOST_RUNS]:
        path, at = log.offset_of(low)
        message = (
            f"{facts.relative(path)} is missing or cut: the records of seqTxn {low:,} to {high:,} are not there"
            if high > low
            else f"{facts.relative(path)} is missing or cut: the record of seqTxn {low:,} is not there"
        )
        yield Finding(Code.LOG_PART_MISSING, Severity.DAMAGE, message, facts.relative(path), at, low)


def _records(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    """Records that can be located: zeroed, invalid, naming what is not there."""
    scan = sequencer.scan
    if scan is None or scan.max_txn <= scan.applied:
        return
    check = scan.check
    zeroed = [
        (max(low, scan.applied + 1), min(high, scan.max_txn))
        for low, high in scan.zeroed
        if high > scan.applied and low <= scan.max_txn
    ]
    for low, high in zeroed[:_MOST_RUNS]:
        yield _run(
            facts, sequencer, Code.LOG_RECORD_ZEROED, low, high,
            "zeroed (walId 0): applying stops there, and what is committed after it is acknowledged and not applied",
        )  # fmt: skip
    for ranges in (check.invalid, check.repeated, check.order):
        reason = {
            id(check.invalid): "invalid: no server writes such a walId, segment and transaction",
            id(check.repeated): "a repeat of the one before it: its rows would be applied twice",
            id(check.order): "out of order: it names an earlier transaction of its WAL",
        }[id(ranges)]
        for low, high in list(ranges.after(scan.applied))[:_MOST_RUNS]:
            yield _run(facts, sequencer, Code.LOG_RECORD_INVALID, low, high, reason)
    yield from _unknown_segments(facts, sequencer)


def _run(facts: TableFacts, sequencer: Sequencer, code: Code, low: int, high: int, reason: str) -> Finding:
    path, at = sequencer.log.offset_of(low)
    if high == low:
        message = f"the record of seqTxn {low:,} is {reason}"
    else:
        message = f"the records of seqTxn {low:,} to {high:,} are {reason}"
    evidence = f"{plural(high - low + 1, 'record')} from offset {at:#x}"
    return Finding(code, Severity.DAMAGE, message, facts.relative(path), at, low, evidence)


def _unknown_segments(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    """Records above the applied transaction that name a segment or a segment transaction that is not on disk."""
    scan = sequencer.scan
    if scan is None:
        return
    lost = np.flatnonzero(scan.within & (scan.pending_event < 0) & (scan.pending["wal_id"] >= 1))
    seen: dict[tuple[int, int], list[int]] = {}
    for index in lost.tolist():
        place = (int(scan.pending["wal_id"][index]), int(scan.pending["segment_id"][index]))
        seen.setdefault(place, []).append(index)
    on_disk = {wal.id for wal in facts.inventory.wals}
    highest = sequencer.wal_index.highest
    for (wal, segment), indices in list(seen.items())[:_MOST_RUNS]:
        first = int(scan.pending_txn[indices[0]])
        path, at = sequencer.log.offset_of(first)
        count = plural(len(indices), "transaction")
        read = facts.inventory.segments.get((wal, segment))
        if read is not None:
            last = -1 if read.max_txn is None else read.max_txn
            held = f"its events end at {last:,}" if last >= 0 else "it has no events"
            message = (
                f"seqTxn {first:,} names wal{wal}/{segment} transaction "
                f"{int(scan.pending['segment_txn'][indices[0]]):,} and {held}: the server stops there"
            )
            yield Finding(Code.LOG_UNKNOWN_SEGMENT, Severity.DAMAGE, message, facts.relative(path), at, first,
                          f"{count} of that segment")  # fmt: skip
        elif wal not in on_disk and highest is not None and wal > highest:
            message = f"seqTxn {first:,} names wal{wal}, an id that was never handed out (the highest is {highest:,})"
            yield Finding(Code.LOG_UNKNOWN_SEGMENT, Severity.DAMAGE, message, facts.relative(path), at, first, count)
        else:
            message = (
                f"wal{wal}/{segment} is gone and {count} in it, from seqTxn {first:,} on, are not in the table: "
                "applying stops there"
            )
            yield Finding(Code.SEGMENT_MISSING, Severity.DAMAGE, message,
                          facts.relative(facts.directory.path / f"wal{wal}" / str(segment)), None, first,
                          f"named at offset {at:#x} of the log")  # fmt: skip


def _versions(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    """Structure versions: of the last record, which the server looks up at every opening, and of those that wait."""
    scan = sequencer.scan
    if scan is None or scan.max_txn < 1:
        return
    path, at = sequencer.log.offset_of(scan.max_txn)
    file, last = facts.relative(path), scan.last_version
    known = _known_versions(sequencer.structure)
    if last is not None and last > known and _ENTRY * (last + 1) > max(_PAGE, known * _ENTRY):
        message = (
            f"the record of seqTxn {scan.max_txn:,} has structure version {last:,}, for which _txnlog.meta.i has no "
            "room: the server looks it up past that file's end at every start, which can crash it"
        )
        yield Finding(Code.LOG_RECORD_INVALID, Severity.DAMAGE, message, file, at, scan.max_txn)
        return
    if last is not None and last < 0:
        message = f"the record of seqTxn {scan.max_txn:,} has structure version {last:,}, which is never negative"
        yield Finding(Code.LOG_RECORD_INVALID, Severity.DAMAGE, message, file, at, scan.max_txn)
        return
    for low, high in list(scan.check.structure_regress)[:_MOST_RUNS]:
        matters = high >= scan.max_txn or high > scan.applied
        where, place = sequencer.log.offset_of(low)
        message = f"the structure version goes back at seqTxn {low:,}"
        message += ": ALTER fails from then on" if high >= scan.max_txn else ", which the server does not read any more"
        severity = Severity.DAMAGE if matters else Severity.NOTE
        yield Finding(Code.LOG_STRUCTURE_VERSION_REGRESS, severity, message, facts.relative(where), place, low)
    yield from _last_version(facts, sequencer, file, at)


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
    if (zeroed and scan.max_txn > scan.applied) or scan.max_txn < scan.applied or scan.beyond:
        return  # told as a zeroed record, or as a header that is too low, already
    message = (
        f"the last record, seqTxn {scan.max_txn:,}, has structure version {scan.last_version:,} and the sequencer's "
        f"_meta {expected:,}: inserts work, every ALTER fails"
    )
    yield Finding(Code.LOG_STRUCTURE_VERSION_REGRESS, Severity.RISK, message, file, at, scan.max_txn)


def _on_its_way(facts: TableFacts, sequencer: Sequencer, version: int) -> bool:
    """Return whether a live server is making this change: record and `_meta` first, then the disk, maxTxn last."""
    if server_lives(facts.directory.path.parent) is False:
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


def can_crash(facts: TableFacts) -> bool:
    """Return whether opening the log can crash the server: its header or its last record sends it past a file's end."""
    sequencer, header = facts.sequencer, facts.sequencer.log.header
    if header is None or not header.known or sequencer.log.v2:
        return False
    if header.max_txn < 0 or missing_bytes(header.max_txn, sequencer.log.file_size):
        return True
    version = sequencer.scan.last_version if sequencer.scan else None
    known = _known_versions(sequencer.structure)
    return version is not None and (
        version < 0 or (version > known and _ENTRY * (version + 1) > max(_PAGE, known * _ENTRY))
    )


def _known_versions(structure: StructureLog) -> int:
    return max(0, len(structure.ends) - 1)
