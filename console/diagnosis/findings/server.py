"""Findings that only the server and the disk together give: what the one says and the other does not bear out."""

from collections.abc import Iterator

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.server.facts import ServerFacts, ServerTableFacts
from console.questdb.layout import TableDirectory


def server_findings(table: TableDirectory, server: ServerFacts, applied: int | None) -> Iterator[Finding]:
    """Yield where the server's word and the disk differ, or the server says that the table is not well."""
    said = server.wal_tables.get(table.raw_name)
    if said is None:
        message = "wal_tables() does not list it, though it is a WAL table on disk: its sequencer cannot be opened"
        listed = "tables() still lists it with WAL" if table.raw_name in server.wal_enabled else ""
        yield Finding(Code.UNLISTED_BY_SERVER, Severity.DAMAGE, message, table.directory, evidence=listed)
        return
    if said.suspended:
        message = "the server has suspended it: writes are acknowledged and not applied"
        yield Finding(
            Code.TABLE_SUSPENDED, Severity.DAMAGE, message, table.directory, None, said.writer_txn + 1, said.error
        )
    yield from _disagreement(table, said, applied)


def _disagreement(table: TableDirectory, said: ServerTableFacts, applied: int | None) -> Iterator[Finding]:
    evidence = f"wal_tables(): writerTxn {said.writer_txn:,}, sequencerTxn {said.sequencer_txn:,}"
    if 0 <= said.sequencer_txn < said.writer_txn:
        message = (
            f"the server has {said.writer_txn:,} transactions in the table and only {said.sequencer_txn:,} in the log: "
            "what is written now is acknowledged and never applied"
        )
        yield Finding(Code.SERVER_DISAGREES, Severity.DAMAGE, message, table.directory, evidence=evidence)
    elif said.sequencer_txn < 0:
        message = "the server cannot read its log (sequencerTxn below 0); its writerTxn is not to be trusted here"
        yield Finding(Code.SERVER_DISAGREES, Severity.DAMAGE, message, table.directory, evidence=evidence)
    elif applied is not None and said.writer_txn > applied + 1000:
        # The disk was read a moment ago; a busy table moves on, but not by this much.
        message = f"the server says that {said.writer_txn:,} transactions are applied, _txn on disk says {applied:,}"
        yield Finding(Code.SERVER_DISAGREES, Severity.RISK, message, table.directory, evidence=evidence)
