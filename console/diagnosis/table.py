"""One table: facts, findings, verdict. What is found does not depend on whether a server runs."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from console.diagnosis.findings.closed import closed_findings, seen_findings
from console.diagnosis.findings.conversion import half_done_findings
from console.diagnosis.findings.left_out import without_left_out
from console.diagnosis.findings.log import log_findings
from console.diagnosis.findings.origin import in_doubt, origin_findings
from console.diagnosis.findings.row_count import row_count_findings, rows_uncounted, transactions_not_there
from console.diagnosis.findings.sequencer import (
    backup_findings,
    best_backup,
    log_serves,
    sequencer_findings,
)
from console.diagnosis.findings.subject import Incoming, TableFiles
from console.diagnosis.findings.table_files import damage_of, parts_seen, table_file_findings
from console.diagnosis.findings.txn import miscounted, txn_findings, txn_set_back
from console.diagnosis.findings.wal import conversion_findings, purge_findings, wal_findings
from console.diagnosis.model import (
    NO_HISTORY,
    Code,
    Finding,
    Part,
    Severity,
    TableHistory,
    TableReport,
    WaitingSegment,
)
from console.diagnosis.next_step import next_step
from console.diagnosis.purge_clock import PurgeClock, purge_clock
from console.diagnosis.read_on_open import can_crash
from console.diagnosis.server.cause import Cause, cause_of
from console.diagnosis.server.facts import ServerTableFacts
from console.diagnosis.server.liveness import lock_held
from console.diagnosis.situation import LOG_REPAIR, Situation
from console.diagnosis.table_facts import Sequencer, TableFacts, read_facts
from console.diagnosis.unapplied_data import check_waiting_data, torn_findings, waiting_segments
from console.diagnosis.verdict import blocked_steps, can_read, can_write, verdict_of
from console.questdb.column_versions import read_column_versions
from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem, ProblemKind
from console.questdb.registry import TableKind
from console.questdb.segment import EventType
from console.questdb.sequencer_metadata import SequencerMetadata
from console.questdb.txn_log import LogState
from console.table.belonging import LogTimes
from console.table.inventory import Mask, carries_rows
from console.table.log_scan import LogScan
from console.table.memory import TableMemory
from console.table.torn import Wholeness
from console.table.unapplied import State, Unapplied, decide
from console.text import clean_line

_READINGS = 4
_PAUSE = 0.05  # seconds between two readings
_ORDER = {Severity.DAMAGE: 0, Severity.RISK: 1, Severity.NOTE: 2}


@dataclass(frozen=True, slots=True)
class TableDiagnosis:
    """A report with what it rests on, for those who need more than the report: browser, plans, the server's facts."""

    facts: TableFacts
    unapplied: Unapplied
    clock: PurgeClock
    wholeness: Wholeness
    findings: tuple[Finding, ...]
    backup: Sequencer | None
    waiting: tuple[WaitingSegment, ...]
    log_serves: bool
    behind: str
    """How `_txn` is set back, as a clause; empty if it is not."""
    absent: Mask
    """Transactions that count as applied and have no row in the table."""

    def report(
        self,
        more: Sequence[Finding] = (),
        *,
        sql_facts: ServerTableFacts | None = None,
        history: TableHistory = NO_HISTORY,
        seen: frozenset[Part] = frozenset(),
    ) -> TableReport:
        """Return the report, with findings that others (the server) add.

        `sql_facts` is the server's word on the table, `history` the journal's, `seen` what others looked at.
        """
        own, clock = without_left_out(self.facts, self.findings, self.clock, history, self.absent)
        findings = tuple(sorted([*own, *more], key=lambda finding: _ORDER[finding.severity]))
        rows = self._rows_waiting()
        error = sql_facts.error if sql_facts is not None and sql_facts.suspended else ""
        cause = cause_of(error, self.facts.directory.directory)
        situation = Situation(
            findings=findings,
            clock=clock,
            waiting=int((self.unapplied.waiting | self.unapplied.unsure).sum()),
            backup=self.backup.name if self.backup else "",
            log_serves=self.log_serves,
            crashes=can_crash(self.facts),
            converting=self.facts.conversion.target is TableKind.NON_WAL,
            stops=self.wholeness.stops,
            suspended=sql_facts is not None and sql_facts.suspended,
            applied=self.facts.applied,
            cause=cause,
            error=error,
            free=shutil.disk_usage(self.facts.directory.path).free if cause is Cause.DISK_FULL else None,
            history=history,
            closed=bool(self.facts.closed),
            linked=self.facts.relative(self.facts.linked[0]) if self.facts.linked else "",
        )
        current = self.facts.txn.current
        writes = can_write(situation)
        return TableReport(
            table=self.facts.directory.name,
            directory=self.facts.directory.directory,
            wal=True,
            verdict=verdict_of(findings, closed=situation.closed or bool(situation.linked)),
            can_read=can_read(situation),
            can_write=writes,
            applied_txn=self.facts.applied,
            logged_txn=self.facts.sequencer.max_txn,
            rows_applied=current.rows if current else None,
            rows_unapplied=rows,
            rows_at_risk=rows if writes is False or situation.converting else self._at_risk(clock, findings),
            findings=findings,
            next_step=next_step(situation),
            blocked_steps=blocked_steps(situation),
            waiting=self.waiting,
            not_checked=tuple(part for part in Part if part not in parts_seen(self.findings) | seen),
        )

    def _at_risk(self, clock: PurgeClock, findings: Sequence[Finding]) -> int | None:
        """Return the rows that will not be applied as things are, of a table that applies the others by itself.

        None where a transaction without a record may be a committed one, or not, where it is a statement, and where it
        is not known what a WAL held; also where the log names WAL that is not the table's, or is not proven to be, and
        where `_txn` is set back.
        """
        told = (Code.LOG_TAIL_UNLOGGED, Code.TABLE_TXN_MISCOUNTED, Code.TRANSACTIONS_SKIPPED)
        unnamed = [each for each in findings if each.code in told and each.rows]
        statements = self.facts.inventory.events["type"][self.unapplied.state == State.UNNAMED] == EventType.SQL
        doubtful = (Code.WAL_FOREIGN, Code.TABLE_TXN_BEHIND)
        foreign = any(each.code in doubtful and each.severity is Severity.DAMAGE for each in findings)
        emptied = any(each.code is Code.SEGMENT_MISSING and each.severity is Severity.RISK for each in findings)
        noted = any(each.severity is Severity.NOTE for each in unnamed)
        if self.facts.hidden or self.wholeness.unread or foreign or emptied or noted or bool(statements.any()):
            return None
        torn = int(self.facts.inventory.rows[self.wholeness.torn].sum())
        return max(clock.rows, torn, sum(each.rows or 0 for each in unnamed))

    def _rows_waiting(self) -> int | None:
        current = self.facts.txn.current
        if (
            current is None
            or self.facts.hidden
            or self.facts.unseen
            or self.behind
            or miscounted(self.facts) is not None
            or rows_uncounted(self.facts)
            or in_doubt(self.facts, self.unapplied)
        ):
            return None
        waiting = self.unapplied.rows(self.facts.inventory)
        return None if waiting is None else waiting + current.lag_rows


def examine_table(
    directory: TableDirectory, memory: TableMemory | None = None, times_of: LogTimes | None = None
) -> TableDiagnosis:
    """Return the diagnosis of one WAL table; under a live server only what several readings found at the same place.

    `memory` is what an earlier look left: what it has seen is not read again.
    `times_of` are of the whole database, for those who look at many tables.
    The files of a busy table are read one after another and need not belong together; a structure change is on its way
    between them for as long as the disk takes to write it.
    """
    readings = [judge(read_facts(directory, memory, times_of), memory)]
    if not _grave(readings[0]) or not lock_held(directory.path.parent).may_write:
        return readings[0]
    while _grave(readings[-1]) and len(readings) < _READINGS:
        time.sleep(_PAUSE)
        readings.append(judge(read_facts(directory, memory, times_of), memory))
    return _lasting(readings)


def _grave(diagnosis: TableDiagnosis) -> set[tuple[object, ...]]:
    return {_place(finding) for finding in diagnosis.findings if finding.severity is not Severity.NOTE}


def _place(finding: Finding) -> tuple[object, ...]:
    return (finding.code, finding.file, finding.offset, finding.seq_txn)


def _lasting(readings: list[TableDiagnosis]) -> TableDiagnosis:
    """Return the last reading without the grave findings that another one did not have."""
    last = readings[-1]
    common = set.intersection(*map(_grave, readings))
    kept = tuple(f for f in last.findings if f.severity is Severity.NOTE or _place(f) in common)
    purged = any(finding.code is Code.WAL_AT_RISK_OF_PURGE for finding in kept)
    clock = last.clock if purged else PurgeClock("the table is being written to")
    return replace(last, findings=kept, clock=clock)


def judge(facts: TableFacts, memory: TableMemory | None = None) -> TableDiagnosis:
    """Return what the facts mean. Of the files only the columns and structure changes that wait are read here."""
    backup = best_backup(facts)
    sources = [
        (each.name, each.scan)
        for each in (facts.sequencer, backup)
        if each is not None and each.scan is not None and facts.origins.log(each.name).own
    ]
    structure = facts.txn.current.structure_version if facts.txn.current else 0
    unapplied = decide(facts.inventory, facts.applied, _trusted(sources, facts), structure, _newest(facts))
    clock = purge_clock(
        facts.inventory, facts.sequencer.scan, facts.seq_txn, _sweep_stopped(facts), unapplied, dropped=_dropped(facts)
    )
    wholeness, behind = check_waiting_data(facts, unapplied, memory), txn_set_back(facts)
    absent = transactions_not_there(facts, _newest(facts))
    findings = [
        *closed_findings(facts.directory, facts.closed),
        *_listing(facts),
        *txn_findings(facts, behind),
        *row_count_findings(facts, absent),
        *half_done_findings(facts),
        *origin_findings(facts, unapplied),
        *(log_findings(facts) if facts.origins.log(facts.sequencer.name).own else ()),
        *sequencer_findings(facts),
        *wal_findings(facts, unapplied),
        *torn_findings(facts, wholeness),
        *purge_findings(facts, clock),
        *conversion_findings(facts, unapplied),
        *table_file_findings(_table_files(facts, unapplied, memory)),
    ]
    findings = seen_findings(facts.directory, facts.hidden, findings)
    broken = any(finding.severity is Severity.DAMAGE for finding in findings)
    findings += backup_findings(facts, broken)
    waiting = waiting_segments(facts.inventory, unapplied, wholeness)
    damaged = any(finding.code in LOG_REPAIR for finding in findings)
    serves = not damaged or log_serves(facts)
    return TableDiagnosis(facts, unapplied, clock, wholeness, tuple(findings), backup, waiting, serves, behind, absent)


def _table_files(facts: TableFacts, unapplied: Unapplied, memory: TableMemory | None) -> TableFiles:
    seen = memory.partitions if memory is not None else set()
    versions = read_column_versions(facts.directory.path)
    return TableFiles(facts.directory, facts.txn, facts.metadata, versions, _incoming(facts, unapplied), seen)


def _incoming(facts: TableFacts, unapplied: Unapplied) -> Incoming:
    """Return where the rows go that a start applies; an UPDATE may change any partition."""
    inventory = facts.inventory
    marked = unapplied.waiting | unapplied.unsure
    events = inventory.events[marked]
    rows = carries_rows(events)
    everywhere = facts.applied is None or bool(facts.unseen) or not bool(rows.all())
    return Incoming.of(events["min_ts"][rows], events["max_ts"][rows], everywhere=everywhere)


def _newest(facts: TableFacts) -> int | None:
    """Return the newest timestamp in the table, its lag included; None where it has no rows."""
    area = facts.txn.current
    if area is None or not area.rows + area.lag_rows:
        return None
    return max(([area.max_ts] if area.rows else []) + ([area.lag_max_ts] if area.lag_rows else []))


def _trusted(sources: list[tuple[str, LogScan]], facts: TableFacts) -> tuple[tuple[str, LogScan], ...]:
    """Return the logs in the order of trust: the table's own, unless it is below what is applied and a copy is not."""
    applied = facts.applied or 0
    return tuple(sorted(sources, key=lambda source: source[1].end < applied))


def _dropped(facts: TableFacts) -> bool:
    return isinstance(facts.sequencer.metadata, SequencerMetadata) and facts.sequencer.metadata.dropped


def _sweep_stopped(facts: TableFacts) -> str:
    """Return why the purge cannot open this table's sequencer, empty where it can."""
    log = facts.sequencer.log
    if log.state is not LogState.PRESENT:
        return "the sequencer cannot be opened, so the sweep of this table fails and keeps its WAL"
    if log.v2 and not log.parts and not (log.path.parent / "_txn_parts").is_dir():
        return "the directory of the log's parts is gone, so the sweep of this table fails and keeps its WAL"
    if not log.readable or (log.max_txn or 0) < 0 or not isinstance(facts.sequencer.metadata, SequencerMetadata):
        return "the server refuses this sequencer, so the sweep of this table fails and keeps its WAL"
    return ""


def _listing(facts: TableFacts) -> list[Finding]:
    """Return what keeps the table from being seen whole: symlinks, directories and files that cannot be read."""
    # Not what the directory was listed with: an ALTER replaces `_meta`, which is missing for a moment.
    problems: list[Problem] = [*([facts.metadata] if isinstance(facts.metadata, Problem) else facts.metadata.problems)]
    if damage_of(facts.metadata) is not None:
        problems = []  # damage, which is reported with the table's own files
    problems += facts.obstacles
    known = {problem.file for problem in problems}
    links = [each for each in facts.linked if each not in known and not each.is_relative_to(facts.sequencer.path)]
    problems += [Problem(ProblemKind.UNREADABLE, "it is a symbolic link, which is never followed", x) for x in links]
    return [
        Finding(
            Code.UNREADABLE,
            Severity.RISK,
            f"{clean_line(problem.file.name)}: {problem.what}",
            facts.relative(problem.file),
        )
        for problem in dict.fromkeys(problems)
    ]
