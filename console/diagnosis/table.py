"""One table: facts, findings, verdict. What is found does not depend on whether a server runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from console.diagnosis.log_findings import can_crash, log_findings
from console.diagnosis.log_scan import LogScan
from console.diagnosis.model import Code, Finding, Severity, TableReport
from console.diagnosis.purge_clock import PurgeClock, purge_clock
from console.diagnosis.sequencer_findings import backup_findings, best_backup, loadable, sequencer_findings
from console.diagnosis.table_facts import Sequencer, TableFacts, read_facts
from console.diagnosis.txn_findings import set_back, txn_findings
from console.diagnosis.unapplied import Unapplied, decide
from console.diagnosis.verdict import (
    Situation,
    blocked_steps,
    can_read,
    can_write,
    next_step,
    verdict_of,
)
from console.diagnosis.waiting import Wholeness, check_waiting_data, torn_findings, waiting_segments
from console.diagnosis.wal_findings import purge_findings, wal_findings
from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem
from console.questdb.txn_log import LogState

_SETTLE = 3
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

    def report(self, more: Sequence[Finding] = (), *, suspended: bool = False) -> TableReport:
        """Return the report, with findings that others (the server) add."""
        findings = tuple(sorted([*self.findings, *more], key=lambda finding: _ORDER[finding.severity]))
        rows = self._rows_waiting()
        situation = Situation(
            findings=findings,
            clock=self.clock,
            waiting=int((self.unapplied.waiting | self.unapplied.unsure).sum()),
            backup=self.backup.name if self.backup else "",
            crashes=can_crash(self.facts),
            suspended=suspended,
        )
        current = self.facts.txn.current
        writes = can_write(situation)
        return TableReport(
            table=self.facts.directory.name,
            directory=self.facts.directory.directory,
            wal=True,
            verdict=verdict_of(findings),
            can_read=can_read(situation),
            can_write=writes,
            applied_txn=self.facts.applied,
            logged_txn=self.facts.sequencer.max_txn,
            rows_applied=current.rows if current else None,
            rows_unapplied=rows,
            # What waits and will not be applied as things are; a table that is well applies it by itself.
            rows_at_risk=rows if writes is False else max(self.clock.rows, self._rows_torn()),
            findings=findings,
            next_step=next_step(situation),
            blocked_steps=blocked_steps(situation),
            waiting=waiting_segments(self.facts.inventory, self.unapplied, self.wholeness),
        )

    def _rows_torn(self) -> int:
        return int(self.facts.inventory.rows[self.wholeness.torn].sum())

    def _rows_waiting(self) -> int | None:
        current = self.facts.txn.current
        if current is None or set_back(self.facts):
            return None
        waiting = self.unapplied.rows(self.facts.inventory)
        return None if waiting is None else waiting + current.lag_rows


def examine_table(directory: TableDirectory) -> TableDiagnosis:
    """Return the diagnosis of one WAL table, read again where a running server moved it meanwhile."""
    made = _examine(directory)
    for _ in range(_SETTLE - 1):
        if not any(finding.severity is not Severity.NOTE for finding in made.findings):
            break
        again = _examine(directory)
        settled = _marks(again.facts) == _marks(made.facts)
        made = again
        if settled:
            break
    return made


def _marks(facts: TableFacts) -> tuple[object, ...]:
    return (facts.applied, facts.sequencer.max_txn, len(facts.inventory), facts.sequencer.log.file_size)


def _examine(directory: TableDirectory) -> TableDiagnosis:
    return judge(read_facts(directory))


def judge(facts: TableFacts) -> TableDiagnosis:
    """Return what the facts mean. Of the files only the columns and structure changes that wait are read here."""
    backup = best_backup(facts)
    sources = [
        (each.name, each.scan) for each in (facts.sequencer, backup) if each is not None and each.scan is not None
    ]
    structure = facts.txn.current.structure_version if facts.txn.current else 0
    unapplied = decide(facts.inventory, facts.applied, _trusted(sources, facts), structure)
    clock = purge_clock(facts.inventory, facts.sequencer.scan, facts.seq_txn, _sweep_stopped(facts), unapplied)
    wholeness = check_waiting_data(facts, unapplied)
    findings = [
        *_listing(facts),
        *txn_findings(facts),
        *log_findings(facts),
        *sequencer_findings(facts),
        *wal_findings(facts, unapplied),
        *torn_findings(facts, wholeness),
        *purge_findings(facts, clock),
    ]
    broken = any(finding.severity is Severity.DAMAGE for finding in findings)
    findings += backup_findings(facts, broken)
    return TableDiagnosis(facts, unapplied, clock, wholeness, tuple(findings), backup)


def _trusted(sources: list[tuple[str, LogScan]], facts: TableFacts) -> tuple[tuple[str, LogScan], ...]:
    """Return the logs in the order of trust: the table's own, unless it is below what is applied and a copy is not."""
    applied = facts.applied or 0
    return tuple(sorted(sources, key=lambda source: source[1].believed < applied))


def _sweep_stopped(facts: TableFacts) -> str:
    """Return why the purge cannot open this table's sequencer, empty where it can."""
    log = facts.sequencer.log
    if log.state is not LogState.PRESENT:
        return "the sequencer cannot be opened, so the sweep of this table fails and keeps its WAL"
    if not log.readable or (log.max_txn or 0) < 0 or not loadable(facts.sequencer.metadata):
        return "the server refuses this sequencer, so the sweep of this table fails and keeps its WAL"
    return ""


def _listing(facts: TableFacts) -> list[Finding]:
    """Return what keeps the table from being seen whole: symlinks, directories and files that cannot be read."""
    problems: list[Problem] = [*facts.directory.problems, *facts.directory.listing_problems()]
    problems += [problem for wal in facts.inventory.wals for problem in wal.problems]
    return [
        Finding(Code.UNREADABLE, Severity.RISK, f"{problem.file.name}: {problem.what}", facts.relative(problem.file))
        for problem in dict.fromkeys(problems)
    ]
