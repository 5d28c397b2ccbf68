"""Whether a server may be started: nothing that its first sweep would delete, no header that outruns its file."""

from collections.abc import Iterator

from console.diagnosis.findings.conversion import half_done, waiting_marker
from console.diagnosis.model import Code, Severity, TableReport
from console.questdb.layout import TableDirectory
from console.questdb.txn_log import read_log
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import PlanContext, action_module
from console.recovery.model import Refusal
from console.recovery.server.expectation import applied_of

# Findings that mean: the purge would delete rows, or the server crash, soon after a start.
_DEADLY = {
    Code.LOG_MAX_TXN_PAST_END: RefusalCode.HEADER_PAST_END,
    Code.LOG_MAX_TXN_BELOW_APPLIED: RefusalCode.LOG_BELOW_APPLIED,
    Code.LOG_HEADER_ZEROED: RefusalCode.LOG_HEADER_ZEROED,
    Code.WAL_AT_RISK_OF_PURGE: RefusalCode.PURGE_CLOCK_NOT_EMPTY,
    # Kept only until what is before it is applied: a start sets that going.
    Code.LOG_TAIL_UNLOGGED: RefusalCode.PURGE_CLOCK_NOT_EMPTY,
    Code.WAL_INDEX_LOW: RefusalCode.WAL_INDEX_LOW,
}

_FORGOTTEN = (Code.WAL_AT_RISK_OF_PURGE, Code.LOG_TAIL_UNLOGGED)


def start_refusals(context: PlanContext) -> tuple[Refusal, ...]:
    """Return why the server must not be started on what is on disk now."""
    return tuple(
        refusal.about(table.name)
        for table in context.database.tables()
        if table.wal is not False
        for refusal in _refusals(context, table)
    )


def _refusals(context: PlanContext, table: TableDirectory) -> Iterator[Refusal]:
    found = [*_conversion_refusals(table), *_log_refusals(table)]
    yield from found
    known = {refusal.code for refusal in found}
    report = context.report(table.raw_name)
    if report is not None:
        told = _finding_refusals(report, only_torn=_whole_but_for_torn(context, table, report))
        yield from (refusal for refusal in told if refusal.code not in known)


def _conversion_refusals(table: TableDirectory) -> Iterator[Refusal]:
    """Judge what the start itself would do to the table, before anything is applied."""
    if half := half_done(table):
        yield Refusal(
            RefusalCode.CONVERSION_HALF_DONE,
            f"{table.name}: {half}; a start deletes its WAL, or applies every row once more",
            "convert-table for that table first",
            action="convert-table",
        )
    elif waiting_marker(table):
        yield Refusal(
            RefusalCode.CONVERSION_PENDING,
            f"{table.name}: its marker _convert tells the start to make it a plain table, which deletes its WAL",
            "convert-table for that table first, which keeps the WAL; or remove the marker yourself",
            action="convert-table",
        )


def _log_refusals(table: TableDirectory) -> Iterator[Refusal]:
    """Judge the header by itself: what this says does not depend on any diagnosis."""
    log = read_log(table.sequencer)
    if log.header is None or not log.readable:
        return
    applied, max_txn = applied_of(table), log.header.max_txn
    instead = "repair-log, or restore-sequencer, for that table first"
    gaps = log.missing_parts((applied or 0) + 1, max_txn) if log.v2 else log.missing_parts(1, max_txn)
    if gaps:
        first, last = gaps[0]
        yield Refusal(
            RefusalCode.HEADER_PAST_END,
            f"{table.name}: the log's header names {max_txn:,} transactions and the file ends before "
            f"{first:,} to {last:,}: the server crashes on that, or takes them for zeros",
            instead,
            action="repair-log",
        )
    if applied is not None and max_txn < applied:
        yield Refusal(
            RefusalCode.LOG_BELOW_APPLIED,
            f"{table.name}: the log ends at {max_txn:,} and {applied:,} are applied: the first sweep would delete WAL",
            instead,
            action="repair-log",
        )


def _whole_but_for_torn(context: PlanContext, table: TableDirectory, report: TableReport) -> bool:
    """Return whether what no record names is not whole in its segment either, so that there is nothing to save of it.

    A repair leaves such transactions out, and says what they cost. Only the reconstruction reads the columns for it.
    """
    if not any(f.code in _FORGOTTEN and f.severity is not Severity.NOTE for f in report.findings):
        return False
    plan = action_module("repair-log").plan(context, table.raw_name)
    return not plan.stages and not plan.refused


def _finding_refusals(report: TableReport, *, only_torn: bool) -> Iterator[Refusal]:
    for finding in report.findings:
        if only_torn and finding.code in _FORGOTTEN:
            continue
        if finding.code in _DEADLY and finding.severity is not Severity.NOTE:
            action = report.next_step.action or "repair-log"
            yield Refusal(
                _DEADLY[finding.code],
                f"{report.table}: {finding.message}",
                f"{action} for {report.table} first",
                action=action,
            )
