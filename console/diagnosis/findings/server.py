"""Findings that only the server and the disk together give: what the one says and the other does not bear out."""

import time
from collections.abc import Iterator
from typing import Final

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.server.facts import ServerFacts, ServerTableFacts
from console.diagnosis.table import TableDiagnosis
from console.questdb.layout import TableDirectory
from console.text import plural

_WAITS_LONG: Final = 60.0
"""Seconds that a transaction may wait while others are applied, before it counts as standing still."""


def server_findings(table: TableDirectory, server: ServerFacts, diagnosis: TableDiagnosis) -> Iterator[Finding]:
    sql_facts = server.wal_tables.get(table.raw_name)
    if sql_facts is None:
        message = "wal_tables() does not list it, though it is a WAL table on disk: its sequencer cannot be opened"
        listed = "tables() still lists it with WAL" if table.raw_name in server.wal_enabled else ""
        yield Finding(Code.UNLISTED_BY_SERVER, Severity.DAMAGE, message, table.directory, evidence=listed)
        return
    if sql_facts.suspended:
        message = "the server has suspended it: writes are acknowledged and not applied"
        if not _told(diagnosis):
            yield Finding(
                Code.TABLE_SUSPENDED,
                Severity.DAMAGE,
                message,
                table.directory,
                None,
                sql_facts.writer_txn + 1,
                sql_facts.error,
            )
    elif 0 <= sql_facts.writer_txn < sql_facts.sequencer_txn:
        yield from _not_applied(table, server, sql_facts, diagnosis)
    yield from _disagreement(table, sql_facts, diagnosis.facts.applied)


def _told(diagnosis: TableDiagnosis) -> bool:
    """Return whether the files say already that the table is suspended, as they do up to 8.2."""
    return any(finding.code is Code.TABLE_SUSPENDED for finding in diagnosis.findings)


def _not_applied(
    table: TableDirectory, server: ServerFacts, sql_facts: ServerTableFacts, diagnosis: TableDiagnosis
) -> Iterator[Finding]:
    """Yield that rows wait and the server does not apply them, though it has not suspended the table."""
    behind = plural(sql_facts.sequencer_txn - sql_facts.writer_txn, "transaction")
    waiting = f"{behind} from seqTxn {sql_facts.writer_txn + 1:,} on"
    if server.applies is False:
        message = f"applying is switched off (cairo.wal.apply.enabled=false): {waiting} are acknowledged, not applied"
        yield Finding(Code.APPLY_DISABLED, Severity.RISK, message, table.directory, None, sql_facts.writer_txn + 1)
        return
    committed = _oldest_commit(diagnosis)
    if not sql_facts.stands_still or committed is None or time.time() - committed < _WAITS_LONG:
        return
    message = (
        f"the server has not suspended it and does not apply it: {waiting} wait, the oldest for "
        f"{time.time() - committed:,.0f} s, and none was applied while it was watched"
    )
    yield Finding(Code.APPLY_STANDS_STILL, Severity.RISK, message, table.directory, None, sql_facts.writer_txn + 1)


def _oldest_commit(diagnosis: TableDiagnosis) -> float | None:
    """Return when the oldest transaction that is not applied was committed, in epoch seconds."""
    scan, applied = diagnosis.facts.sequencer.scan, diagnosis.facts.applied
    if scan is None or applied is None:
        return None
    return scan.oldest_us / 1e6 if scan.oldest_us is not None else None


def _disagreement(table: TableDirectory, sql_facts: ServerTableFacts, applied: int | None) -> Iterator[Finding]:
    evidence = f"wal_tables(): writerTxn {sql_facts.writer_txn:,}, sequencerTxn {sql_facts.sequencer_txn:,}"
    if 0 <= sql_facts.sequencer_txn < sql_facts.writer_txn:
        message = (
            f"the server has {sql_facts.writer_txn:,} transactions in the table and only "
            f"{sql_facts.sequencer_txn:,} in the log: what is written now is acknowledged and never applied"
        )
        yield Finding(Code.SERVER_DISAGREES, Severity.DAMAGE, message, table.directory, evidence=evidence)
    elif sql_facts.sequencer_txn < 0:
        message = "the server cannot read its log (sequencerTxn below 0); its writerTxn is not to be trusted here"
        yield Finding(Code.SERVER_DISAGREES, Severity.DAMAGE, message, table.directory, evidence=evidence)
    elif applied is not None and sql_facts.writer_txn > applied + 1000:
        # The disk was read a moment ago; a busy table moves on, but not by this much.
        message = (
            f"the server says that {sql_facts.writer_txn:,} transactions are applied, _txn on disk says {applied:,}"
        )
        yield Finding(Code.SERVER_DISAGREES, Severity.RISK, message, table.directory, evidence=evidence)
