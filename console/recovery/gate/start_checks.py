"""Whether a server may be started: nothing that it would delete, roll back or rewrite, no log that crashes it."""

from collections.abc import Iterator, Sequence

from console.diagnosis.findings.conversion import half_done, waiting_marker
from console.diagnosis.findings.root import root_findings
from console.diagnosis.harm import harm_in_words
from console.diagnosis.model import Code, Finding, Harm, Severity, TableReport, Verdict
from console.questdb.layout import TableDirectory
from console.questdb.server_version import Version
from console.questdb.txn_log import read_log
from console.questdb.version_behaviour import behaviour_of
from console.recovery.codes import RefusalCode
from console.recovery.gate.permission import closed_refusals
from console.recovery.gate.registry import PlanContext, action_module
from console.recovery.model import Refusal
from console.recovery.server.binary import version_to_start
from console.recovery.server.expectation import applied_of
from console.text import clean_line

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


_OF_THE_SEQUENCER = (Harm.STOPS_APPLYING, Harm.DELETES_WAL)


def start_refusals(context: PlanContext) -> tuple[Refusal, ...]:
    """Return why the server must not be started on what is on disk now, by the version that would start."""
    found = [_root_refusal(finding) for finding in root_findings(context.database) if finding.start is not Harm.NONE]
    tables = context.database.tables()
    found += closed_refusals(context.database, tables)
    return (*found, *table_refusals(context, tables))


def table_refusals(context: PlanContext, tables: Sequence[TableDirectory]) -> list[Refusal]:
    """Return why the server must not be started because of some tables."""
    version, _ = version_to_start(context.settings, context.database, context.state)
    return [refusal.about(table.name) for table in tables for refusal in _refusals(context, table, version)]


def write_refusals(context: PlanContext) -> tuple[Refusal, ...]:
    """Return why no row must be written now: what a start does to a table's own files, the first row does too."""
    found: list[Refusal] = []
    for table in context.database.tables():
        report = context.report(table.directory)
        for finding in report.findings if report is not None else ():
            harm = finding.write if finding.start is Harm.NONE else finding.start
            if report is not None and harm is not Harm.NONE:
                found.append(_refusal(report, finding, harm_in_words(harm)).about(table.name))
    return tuple(found)


def first_row_refusals(context: PlanContext) -> tuple[Refusal, ...]:
    """Return why no row must be written where a start alone does no harm: symbols that the first row makes worse.

    Measured on 9.1.0: a start, and reads, leave a damaged symbol map as it is; a row with a symbol changes it. Other
    damage that a row makes worse is in one partition, where new rows need not go.
    """
    found: list[Refusal] = []
    for table in context.database.tables():
        report = context.report(table.directory)
        for finding in report.findings if report is not None else ():
            if report is not None and finding.start is Harm.NONE and finding.write is Harm.SPOILS_SYMBOLS:
                what = f"with the first row {harm_in_words(finding.write)}"
                found.append(_refusal(report, finding, what).about(table.name))
                break
    return tuple(found)


def own_start_refusals(context: PlanContext, table: TableDirectory) -> tuple[Refusal, ...]:
    """Return why a server of our own must not be started for `table`: one that applies and purges nothing.

    It still goes back to a checkpoint, loads every table, and takes a lost sequencer for a drop where its version does.
    """
    version, _ = version_to_start(context.settings, context.database, context.state)
    found = [_root_refusal(finding) for finding in root_findings(context.database) if finding.start is not Harm.NONE]
    for each in context.database.tables():
        report = context.report(each.directory)
        if report is None:
            continue
        own = _harm_refusals(report, leaving_out=_OF_THE_SEQUENCER)
        lost = _version_refusals(report, version)
        found += [refusal.about(each.name) for refusal in (*own, *lost)]
    return tuple(found)


def unheld_refusals(context: PlanContext, version: Version | None) -> tuple[Refusal, ...]:
    """Return why a server whose purge cannot be held must not be started: WAL that the log does not name would go."""
    which = f"QuestDB {version}" if version is not None else "a QuestDB of unknown version"
    found = []
    for table in context.database.tables():
        report = context.report(table.directory)
        for finding in report.findings if report is not None else ():
            if finding.code in _FORGOTTEN and finding.severity is not Severity.NOTE:
                reason = (
                    f"{table.name}: {finding.message}; the purge of {which} ignores lock files, and neither the unit's "
                    "environment nor server.conf can be changed to hold it"
                )
                instead = "run as a user who may change the unit or server.conf, or repair-log first"
                found.append(Refusal(RefusalCode.WAL_NOT_HELD, reason, instead, table=table.name))
                break
    return tuple(found)


def harming(report: TableReport) -> list[Finding]:
    """Return the damage of a table's own files that a start, or the next row, makes worse."""
    harmless = {Harm.NONE, *_OF_THE_SEQUENCER}
    return [finding for finding in report.findings if {finding.start, finding.write} - harmless]


def _refusals(context: PlanContext, table: TableDirectory, version: Version | None) -> Iterator[Refusal]:
    report = context.report(table.directory)
    found = [*_conversion_refusals(table, report), *_log_refusals(table)] if table.wal is not False else []
    yield from found
    known = {refusal.code for refusal in found}
    if report is not None:
        only_torn = table.wal is not False and _whole_but_for_torn(context, table, report)
        judged = [*_harm_refusals(report), *_version_refusals(report, version)]
        judged += _finding_refusals(report, only_torn=only_torn)
        yield from (refusal for refusal in judged if refusal.code not in known)


def _root_refusal(finding: Finding) -> Refusal:
    reason = f"{finding.message}; {harm_in_words(finding.start)}"
    if finding.code is Code.REGISTRY_INVALID:
        return Refusal(RefusalCode.REGISTRY_INVALID, reason, "repair-registry", action="repair-registry")
    if finding.code is Code.SOFT_LINK_BROKEN:
        return Refusal(RefusalCode.SOFT_LINK_BROKEN, reason, "mount that disk; if it is lost, move the link out of db/")
    if finding.code is Code.DROPPED_TABLE_BACK:
        instead = "move that directory out of the db directory, and keep it until you know that nobody needs its rows"
        return Refusal(RefusalCode.DROPPED_TABLE_BACK, reason, instead)
    instead = "move the named file away if the restore is not wanted; QuestDB's documentation says how to restore"
    return Refusal(RefusalCode(finding.code.value), reason, instead)


def _harm_refusals(report: TableReport, leaving_out: tuple[Harm, ...] = ()) -> Iterator[Refusal]:
    """Judge the table's own files: one refusal for each kind of damage, with the first place of it."""
    judged: set[Code] = set()
    for finding in report.findings:
        if finding.start not in (Harm.NONE, *leaving_out) and finding.code not in judged:
            judged.add(finding.code)
            yield _refusal(report, finding, harm_in_words(finding.start))


def _version_refusals(report: TableReport, version: Version | None) -> Iterator[Refusal]:
    """Judge what only some versions do; a version that is not known is taken for the worst of them."""
    behaviour = behaviour_of(version)
    which = f"QuestDB {version}" if version is not None else "the QuestDB version is unknown, and an older one"
    for finding in report.findings:
        if finding.code is Code.SEQUENCER_MISSING and behaviour.erases_without_sequencer:
            yield _refusal(report, finding, f"{which} takes the table for dropped and deletes its files")
        elif finding.code in (Code.LOG_MISSING, Code.LOG_EMPTY) and behaviour.empties_missing_log:
            yield _refusal(report, finding, f"{which} makes an empty log and deletes the WAL")


def _refusal(report: TableReport, finding: Finding, what: str) -> Refusal:
    where = f"{clean_line(finding.file)}: " if finding.file else ""
    first = report.next_step.action
    instead = f"{first} for {report.table} first" if first is not None else report.next_step.reason
    reason = f"{report.table}: {where}{finding.message}; {what}"
    return Refusal(RefusalCode(finding.code.value), reason, instead, action=first)


def _conversion_refusals(table: TableDirectory, report: TableReport | None) -> Iterator[Refusal]:
    """Judge what the start itself would do to the table, before anything is applied.

    A conversion that was asked for deletes the WAL: of a healthy table all that is in it is applied.
    """
    if half := half_done(table):
        yield Refusal(
            RefusalCode.CONVERSION_HALF_DONE,
            f"{table.name}: {half}; a start deletes its WAL, or applies every row once more",
            "convert-table for that table first",
            action="convert-table",
        )
    elif waiting_marker(table) and (report is None or report.verdict is not Verdict.HEALTHY):
        yield Refusal(
            RefusalCode.CONVERSION_PENDING,
            f"{table.name}: its marker _convert makes a start convert it to a non-WAL table, which deletes its WAL",
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
    plan = action_module("repair-log").plan(context, table.directory)
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
