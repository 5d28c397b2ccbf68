"""Findings about a sequencer's log: what is missing, what its header claims, which records cannot be right."""

from collections.abc import Iterator
from typing import Final

from console.diagnosis.crashes.lengths import missing_bytes, shortfall
from console.diagnosis.findings.order import misplaced
from console.diagnosis.findings.versions import version_findings
from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.read_on_open import first_read, past_mapping
from console.diagnosis.table_facts import Sequencer, TableFacts
from console.questdb.formats.sequencer import LOG_HEADER
from console.questdb.txn_log import HEADER_SIZE, RECORD_SIZE, LogState, TxnLog
from console.text import plural

_MOST_RUNS: Final = 20


def log_findings(facts: TableFacts) -> Iterator[Finding]:
    sequencer = facts.sequencer
    state = sequencer.log.state
    if state is not LogState.PRESENT:
        yield _absent(facts, state)
        return
    yield from _header(facts, sequencer)
    if sequencer.scan is not None:
        yield from _records(facts, sequencer)
        yield from version_findings(facts)


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
        yield _past_end(facts, header.max_txn, log.file_size, log.whole_records)
    current = facts.txn.current
    if current is not None and current.lag_rows == 0:
        applied = current.seq_txn  # a lag count without rows is a fault of its own
    if header.max_txn < 0 or (applied is not None and header.max_txn < applied):
        yield _below_applied(file, log, header.max_txn, applied)
    yield from _missing_parts(facts, sequencer)


def _when_negative(log: TxnLog, max_txn: int) -> str:
    """Say what the server does where the header counts less than nothing (TableTransactionLogV1 and V2, `open`)."""
    if log.v2:  # it reads no record then; a write goes to maxTxn % part size, which is below 0 too
        return "a write puts its record before the mapped part, which crashes the server or spoils what lies there"
    if past_mapping(max_txn, log.file_size):
        return "the server reads before the file's beginning when it opens it, which can crash it at every start"
    return "writes are acknowledged and never applied"


def _below_applied(file: str, log: TxnLog, max_txn: int, applied: int | None) -> Finding:
    if max_txn < 0:
        message = f"its header counts {max_txn:,} transactions, which cannot be: {_when_negative(log, max_txn)}"
    else:
        message = (
            f"its header counts {plural(max_txn, 'transaction')} and the table has {applied or 0:,} applied: writes "
            "are acknowledged and never applied, and the next purge sweep deletes WAL that is still needed"
        )
    return Finding(
        Code.LOG_MAX_TXN_BELOW_APPLIED,
        Severity.DAMAGE,
        message,
        file,
        LOG_HEADER.at("max_txn"),
        max_txn,
        _applied_words(applied),
    )


def _past_end(facts: TableFacts, max_txn: int, size: int, whole: int) -> Finding:
    """A header that counts more than the file holds: by pages it crashes the server, within the last page it does not.

    What is missing there reads as zeros, which stops applying, or means nothing where all of it is applied.
    """
    file, applied = facts.relative(facts.sequencer.log.path), facts.applied
    missing = missing_bytes(max_txn, size)
    at = first_read(max_txn)
    crashes = past_mapping(max_txn, size)
    severity = Severity.DAMAGE
    message = f"its header counts {plural(max_txn, 'transaction')} and the file is "
    if crashes:
        message += (
            f"{shortfall(missing)}: it holds {whole:,}, and the server reads past its end when it opens it, which can "
            "crash it at every start"
        )
    elif applied is not None and applied >= max_txn:
        severity = Severity.RISK
        message += (
            f"{plural(missing, 'byte')} short: what is missing is applied, and the server fills it with zeros"
            f"{_forgets_structure(facts)}"
        )
    else:
        message += (
            f"{plural(missing, 'byte')} short: it holds {whole:,}; QuestDB reads the missing part as zeros and stops "
            f"applying at seqTxn {max(whole, applied or 0) + 1:,}"
        )
    evidence = f"file {size:,} bytes, header needs {HEADER_SIZE + RECORD_SIZE * max_txn:,}; first read at {at:#x}"
    return Finding(Code.LOG_MAX_TXN_PAST_END, severity, message, file, at, max_txn, evidence)


def _forgets_structure(facts: TableFacts) -> str:
    """Return what it means that the last record becomes zeros: nothing for a table that was never altered."""
    current = facts.txn.current
    return ", after which every ALTER fails" if current is not None and current.structure_version else ""


def _applied_words(applied: int | None) -> str:
    return "_txn cannot be read" if applied is None else f"_txn: {applied:,} applied"


def _missing_parts(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    log, header, applied = sequencer.log, sequencer.log.header, facts.applied
    if not log.v2 or header is None or header.max_txn < 1:
        return
    # The part of the last transaction is read at every opening, also where all is applied.
    first = min(header.max_txn, (applied or 0) + 1)
    if applied is not None and applied >= header.max_txn and log.parts and log.missing_parts(first, header.max_txn):
        path, at = log.offset_of(header.max_txn)
        message = (
            f"{facts.relative(path)} is missing or cut: all that was in it is applied, and the server makes it again "
            f"with zeros{_forgets_structure(facts)}"
        )
        yield Finding(Code.LOG_PART_MISSING, Severity.RISK, message, facts.relative(path), at, header.max_txn)
        return
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
    for low, high in list(check.invalid.after(scan.applied))[:_MOST_RUNS]:
        reason = "invalid: no server writes such a walId, segment and transaction"
        yield _run(facts, sequencer, Code.LOG_RECORD_INVALID, low, high, reason)
    for severity, reason, runs in misplaced(scan, facts.inventory, dedup=facts.dedup):
        for low, high in list(runs)[:_MOST_RUNS]:
            yield _run(facts, sequencer, Code.LOG_RECORD_INVALID, low, high, reason, severity)
    yield from _unknown_segments(facts, sequencer)


def _run(
    facts: TableFacts,
    sequencer: Sequencer,
    code: Code,
    low: int,
    high: int,
    reason: str,
    severity: Severity = Severity.DAMAGE,
) -> Finding:
    path, at = sequencer.log.offset_of(low)
    if high == low:
        message = f"the record of seqTxn {low:,} is {reason}"
    else:
        message = f"the records of seqTxn {low:,} to {high:,} are {reason}"
    evidence = f"{plural(high - low + 1, 'record')} from offset {at:#x}"
    return Finding(code, severity, message, facts.relative(path), at, low, evidence)


def _unknown_segments(facts: TableFacts, sequencer: Sequencer) -> Iterator[Finding]:
    """Records above the applied transaction that name a segment or a segment transaction that is not on disk."""
    scan = sequencer.scan
    if scan is None:
        return
    on_disk = set(facts.inventory.wals)
    highest = sequencer.wal_index.highest
    for gone in scan.gone:
        wal, segment, first = gone.wal, gone.segment, gone.number
        path, at = sequencer.log.offset_of(first)
        count = plural(gone.count, "transaction")
        read = facts.inventory.segments.get((wal, segment))
        if read is not None:
            last = -1 if read.max_txn is None else read.max_txn
            held = f"its events end at {last:,}" if last >= 0 else "it has no events"
            message = (
                f"seqTxn {first:,} names wal{wal}/{segment} transaction {gone.txn:,} and {held}: the server stops there"
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
