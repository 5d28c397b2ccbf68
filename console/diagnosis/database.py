"""The whole database: which tables are looked at, what is left out, and one report of it all."""

import time
from collections.abc import Mapping, Sequence

from console.diagnosis.findings.root import root_findings
from console.diagnosis.findings.server import server_findings
from console.diagnosis.findings.table_files import Incoming, TableFiles, table_file_findings
from console.diagnosis.findings.txn import txn_damage
from console.diagnosis.findings.views import view_findings
from console.diagnosis.model import Code, DatabaseReport, Finding, Severity, TableReport
from console.diagnosis.purge_clock import PurgeClock
from console.diagnosis.server.facts import ServerFacts
from console.diagnosis.table import TableDiagnosis, examine_table
from console.diagnosis.verdict import Situation, blocked_steps, can_read, can_write, next_step, verdict_of
from console.questdb.column_versions import read_column_versions
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import ProblemKind, later_looks
from console.questdb.registry import REGISTRY
from console.questdb.server_version import read_versions
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import TableTxn, read_table_txn


def diagnose(
    database: DatabaseRoot,
    tables: Sequence[str] = (),
    server: ServerFacts | None = None,
    deep: Mapping[str, Sequence[Finding]] | None = None,
) -> DatabaseReport:
    """Return the report on the named tables, or on all: WAL tables in full, others by their `_txn` alone.

    `deep` has findings of a deep sweep by table directory.
    Raises WalmedicError for a name that is no table. The server's own tables are looked at only where they use WAL.
    """
    started = time.monotonic()
    directories = [database.table(name) for name in tables] if tables else list(database.tables())
    made = {table.directory: examine_table(table) for table in directories if uses_wal(table)}
    reports = assemble(directories, made, server, deep)
    versions = read_versions(database.db)
    return DatabaseReport(
        database.db,
        reports,
        database_findings(database),
        left_out(server),
        time.monotonic() - started,
        str(versions.last) if versions.last is not None else None,
        versions.seen,
    )


def diagnose_table(database: DatabaseRoot, table: TableDirectory) -> TableReport:
    """Return the report on one table, from disk alone."""
    if not uses_wal(table):
        return _without_wal(table)
    diagnosis = examine_table(table)
    more = [finding for _, finding in view_findings([table], {table.directory: diagnosis})]
    return diagnosis.report(more)


def assemble(
    directories: Sequence[TableDirectory],
    made: dict[str, TableDiagnosis],
    server: ServerFacts | None,
    deep: Mapping[str, Sequence[Finding]] | None = None,
) -> tuple[TableReport, ...]:
    """Return the reports of `directories`, whose diagnoses `made` has, in order; the server's word added."""
    views: dict[str, list[Finding]] = {}
    for directory, finding in view_findings(directories, made):
        views.setdefault(directory, []).append(finding)
    reports = []
    for table in directories:
        diagnosis = made.get(table.directory)
        if diagnosis is None:
            if not table.system:
                reports.append(_without_wal(table, (deep or {}).get(table.directory, ())))
            continue
        more = [*views.get(table.directory, ()), *(deep or {}).get(table.directory, ())]
        suspended = False
        if server is not None:
            more = [*more, *server_findings(table, server, diagnosis.facts.applied)]
            said = server.wal_tables.get(table.raw_name)
            suspended = said is not None and said.suspended
        reports.append(diagnosis.report(more, suspended=suspended))
    return tuple(reports)


def uses_wal(table: TableDirectory) -> bool:
    """Return whether it is a WAL table; where neither registry nor `_meta` tell, its directory does."""
    if table.wal is not None:
        return table.wal
    return table.sequencer.is_dir() or bool(table.wals())


def database_findings(database: DatabaseRoot) -> tuple[Finding, ...]:
    """Return what is wrong with the database as a whole, and what keeps it from being seen whole."""
    found = list(root_findings(database))
    for problem in database.listing_problems():
        if problem.kind is not ProblemKind.UNREADABLE and problem.file.name.startswith(REGISTRY):
            continue  # damage, which is said already
        inside = problem.file.is_relative_to(database.db)
        file = str(problem.file.relative_to(database.db)) if inside else str(problem.file)
        found.append(
            Finding(Code.UNREADABLE, Severity.RISK, f"{problem.file.name}: {problem.what}", file, problem.offset)
        )
    return tuple(found)


def left_out(server: ServerFacts | None) -> tuple[str, ...]:
    """Return what the report does not rest on."""
    return () if server is not None else ("SQL: the server was not asked",)


def _without_wal(table: TableDirectory, more: Sequence[Finding] = ()) -> TableReport:
    """A table without WAL has no sequencer to be damaged: only its own files are looked at."""
    txn, found = _own_files(table)
    for _ in later_looks():  # a server may be writing it: what is damage lasts
        if not any(finding.severity is not Severity.NOTE for finding in found):
            break
        txn, again = _own_files(table)
        found = tuple(finding for finding in again if finding in found)
    findings = (*more, *found)
    situation = Situation(findings=findings, clock=PurgeClock("it has no WAL"), waiting=0, backup="")
    return TableReport(
        table=table.name,
        directory=table.directory,
        wal=False,
        verdict=verdict_of(findings),
        can_read=can_read(situation),
        can_write=can_write(situation),
        applied_txn=None,
        logged_txn=None,
        rows_applied=txn.current.rows if txn.current else None,
        rows_unapplied=0,
        rows_at_risk=0,
        findings=findings,
        next_step=next_step(situation),
        blocked_steps=blocked_steps(situation),
    )


def _own_files(table: TableDirectory) -> tuple[TableTxn, tuple[Finding, ...]]:
    txn, metadata = read_table_txn(table.path), read_table_metadata(table.path)
    files = TableFiles(table, txn, metadata, read_column_versions(table.path), Incoming.none(), set())
    return txn, (*txn_damage(txn, files.relative(txn.path)), *table_file_findings(files))
