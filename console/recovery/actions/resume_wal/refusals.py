"""Why a suspended table must not be resumed now: its own files stop the server, or another action loses less."""

from collections.abc import Iterator

from console.diagnosis.model import Severity, TableReport
from console.diagnosis.server.cause import Cause, cause_of
from console.diagnosis.situation import LADDER, OWN_FILES
from console.questdb.layout import TableDirectory
from console.recovery.actions.resume_wal.blockage import Blockage, Queue
from console.recovery.codes import RefusalCode
from console.recovery.gate.start_checks import harming
from console.recovery.model import Refusal
from console.text import plural

_ONE_BY_ONE = "cairo.wal.max.lag.size=1 and cairo.wal.apply.look.ahead.txn.count=1"
_OF_THE_TABLE = frozenset({*OWN_FILES, *(code for _, codes in LADDER for code in codes)})


def own_files_refusals(directory: TableDirectory, report: TableReport | None, error: str) -> Iterator[Refusal]:
    """Yield that damaged files of the table itself stop the server, by its own words, or are made worse by rows."""
    if report is None:
        return
    stops = cause_of(error, directory.directory) is Cause.OWN_FILES
    damaged = [f for f in report.findings if stops and f.code in _OF_THE_TABLE and f.severity is not Severity.NOTE]
    damaged += harming(report)
    if not damaged:
        return
    first = damaged[0]
    step = report.next_step
    what = "QuestDB stops there again" if stops else "rows that are applied make it worse"
    yield Refusal(
        RefusalCode.OWN_FILES_DAMAGED,
        f"files of {directory.name} itself are damaged ({first.code}: {first.message}): {what}",
        step.words,
        action=step.action,
        table=directory.name,
    )


def resume_refusals(directory: TableDirectory, queue: Queue, stuck: int | None, error: str) -> Iterator[Refusal]:
    """Yield why the server would not get past what stops it, or why that would lose more than another action does."""
    found = queue.blockage
    if queue.logged < queue.applied:
        yield Refusal(
            RefusalCode.LOG_BELOW_APPLIED,
            f"the log of {directory.name} ends at {queue.logged:,} and {queue.applied:,} are applied: resumed or not, "
            "what is written is acknowledged and never applied",
            "repair-log, with the server stopped",
            action="repair-log",
        )
    if stuck == queue.applied + 1 and (found is None or found.first > stuck):
        yield Refusal(
            RefusalCode.STOPPED_AGAIN,
            f"RESUME failed again at seqTxn {stuck:,} ({error}). The files show no cause. Suspect that transaction, "
            "one soon after it, or the table",
            "read the server's log; copy-table brings what is applied into a new table",
        )
    if found is None:
        return
    if found.structure:
        yield Refusal(
            RefusalCode.STRUCTURE_CHANGE_LOST,
            found.structure,
            "repair-log, with the server stopped",
            action="repair-log",
        )
    if found.ahead and found.good_before:
        yield _good_behind_bad(found)
    if queue.lag_txns and not found.good_before:
        yield Refusal(
            RefusalCode.LAG_NOT_ZERO,
            f"{plural(queue.lag_txns, 'transaction')} with {plural(queue.lag_rows, 'row')} wait in the table's lag: "
            "RESUME WAL FROM TXN adds them to the number it is given, and skips that many good ones (QuestDB #5422)",
            "repair-log, with the server stopped: it makes the record again or takes it out, and the lag is committed "
            "with what follows; a start alone leaves it",
            action="repair-log",
        )


def _good_behind_bad(found: Blockage) -> Refusal:
    lost = f"{plural(found.good_before, 'good transaction')} with {plural(found.rows_before, 'row')} that come first"
    if found.torn:
        return Refusal(
            RefusalCode.GOOD_BEHIND_BAD,
            f"{found.reason}; the server applies several transactions at once and stops in front of {lost}, or takes "
            "what is not there for zeros: to skip the bad one now would lose those too",
            f"write {_ONE_BY_ONE} into server.conf, stop-server and start-server: it then applies one by one up to the "
            f"bad one, and resume-wal skips {found.run} alone",
        )
    return Refusal(
        RefusalCode.GOOD_BEHIND_BAD,
        f"{found.reason}; the server reads what is ahead before it applies anything, so it stops in front of {lost}: "
        "to skip the bad one would lose those too, and no setting of the server keeps it from looking ahead",
        "repair-log, with the server stopped: it takes the record out of the log and keeps every good one",
        action="repair-log",
    )
