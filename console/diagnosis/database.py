"""The whole database: which tables are looked at, what is left out, and one report of it all."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from console.diagnosis.deep_files import DeepLook
from console.diagnosis.findings.closed import closed_findings, seen_findings
from console.diagnosis.findings.root import root_findings
from console.diagnosis.findings.server import server_findings
from console.diagnosis.findings.subject import Incoming, TableFiles
from console.diagnosis.findings.table_files import parts_seen, table_file_findings
from console.diagnosis.findings.txn import txn_damage
from console.diagnosis.findings.views import query_findings, view_findings
from console.diagnosis.model import (
    NO_HISTORY,
    Code,
    DatabaseReport,
    Finding,
    Part,
    ServerState,
    Severity,
    TableHistory,
    TableReport,
    Verdict,
)
from console.diagnosis.next_step import next_step
from console.diagnosis.purge_clock import PurgeClock
from console.diagnosis.server.facts import ServerFacts, ServerTableFacts
from console.diagnosis.server.liveness import Life, liveness
from console.diagnosis.situation import Situation
from console.diagnosis.table import TableDiagnosis, examine_table
from console.diagnosis.verdict import blocked_steps, can_read, can_write, verdict_of
from console.questdb.column_versions import read_column_versions
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import ProblemKind, later_looks
from console.questdb.registry import REGISTRY
from console.questdb.server_version import read_versions
from console.questdb.table_txn import TableTxn, read_table_txn
from console.questdb.todo import metadata_in_force
from console.table.belonging import LogTimes
from console.table.closed import closed_files
from console.text import clean_line

HistoryOf = Callable[[str], TableHistory]
"""Returns what the journal says of the table in a directory; asked only about tables that are not well."""

_NO_LOOK: Final = DeepLook((), frozenset())
_NO_MORE: Final = object()


def diagnose(
    database: DatabaseRoot,
    tables: Sequence[str] = (),
    server: ServerFacts | None = None,
    deep: Mapping[str, DeepLook] | None = None,
    *,
    history: HistoryOf | None = None,
    station: bool = False,
) -> DatabaseReport:
    """Return the report on the named tables, or on all: WAL tables in full, others by their `_txn` alone.

    `deep` has what the deep check found, by table directory. `station` says that a server is meant to run on it.
    Raises WalmedicError for a name that is no table. The server's own tables are looked at only where they use WAL.
    """
    started = time.monotonic()
    listed = database.tables_and_views()
    directories = database.named(tables) if tables else [table for table in listed if not table.is_query]
    views = [view for view in listed if view.is_query]
    times = LogTimes(database.db)
    made = {table.directory: examine_table(table, times_of=times) for table in directories if uses_wal(table)}
    reports = assemble(database, directories, made, server, deep, history)
    more = () if tables or reports else (no_tables(database),)
    state = server_state(database, server, station=station)
    return report_on(database, views, reports, more, left_out(server), state, started)


def report_on(
    database: DatabaseRoot,
    views: Sequence[TableDirectory],
    reports: tuple[TableReport, ...],
    more: tuple[Finding, ...],
    left_out: tuple[str, ...],
    server: ServerState,
    started: float,
) -> DatabaseReport:
    """Return the report on a database by those on its tables, with `more` findings than those of the database."""
    found, versions = database_findings(database, views), read_versions(database.db)
    last = str(versions.last) if versions.last is not None else None
    names = tuple(view.name for view in views)
    seconds = time.monotonic() - started
    return DatabaseReport(
        database.db, reports, (*found, *more), left_out, seconds, last, versions.seen, server=server, views=names
    )


def no_tables(database: DatabaseRoot) -> Finding:
    """Return the finding that there is nothing to check: a wrong mount looks like that."""
    message = (
        f"{database.db} holds no table of yours, so nothing was checked; is it the right one, is its disk mounted?"
    )
    return Finding(Code.NO_TABLES, Severity.RISK, message, ".")


def server_state(database: DatabaseRoot, server: ServerFacts | None, *, station: bool) -> ServerState:
    """Return whether the station's server runs. One that holds the lock and does not answer is not known to be down."""
    if server is not None:
        return ServerState.UP
    return ServerState.DOWN if station and liveness(database.db).life is Life.DOWN else ServerState.UNKNOWN


def diagnose_table(database: DatabaseRoot, table: TableDirectory, history: HistoryOf | None = None) -> TableReport:
    if not uses_wal(table):
        return _without_wal(table, (), frozenset(), set())
    diagnosis = examine_table(table)
    more = [finding for _, finding in view_findings([table], {table.directory: diagnosis})]
    return _with_history(table, diagnosis, more, None, history, frozenset())


def assemble(
    database: DatabaseRoot,
    directories: Sequence[TableDirectory],
    made: dict[str, TableDiagnosis],
    server: ServerFacts | None,
    deep: Mapping[str, DeepLook] | None = None,
    history: HistoryOf | None = None,
    checked: dict[str, set[PartitionSpan]] | None = None,
) -> tuple[TableReport, ...]:
    """Return the reports of `directories`, whose diagnoses `made` has, in order; the server's word added.

    `checked` has by table directory the partitions of tables without WAL that an earlier look found whole. A table that
    was dropped while it was read is left out.
    """
    checked = {} if checked is None else checked
    views: dict[str, list[Finding]] = {}
    for directory, finding in view_findings(directories, made):
        views.setdefault(directory, []).append(finding)
    reports = []
    for table in directories:
        diagnosis = made.get(table.directory)
        look = (deep or {}).get(table.directory, _NO_LOOK)
        known = {(finding.code, finding.file) for finding in (diagnosis.findings if diagnosis is not None else ())}
        deeper = [finding for finding in look.findings if (finding.code, finding.file) not in known]
        more = [*views.get(table.directory, ()), *deeper]
        seen = look.seen
        if diagnosis is None:
            if not table.system:
                reports.append(_without_wal(table, more, seen, checked.setdefault(table.directory, set())))
            continue
        sql_facts = None
        if server is not None:
            more += server_findings(table, server, diagnosis)
            sql_facts = server.wal_tables.get(table.raw_name)
        reports.append(_with_history(table, diagnosis, more, sql_facts, history, seen))
    return _not_dropped(database, reports)


def _not_dropped(database: DatabaseRoot, reports: Sequence[TableReport]) -> tuple[TableReport, ...]:
    """Return the reports without those of tables that are not listed any more: DROP TABLE takes files one by one."""
    if all(report.verdict is Verdict.HEALTHY for report in reports):
        return tuple(reports)
    listed = {table.directory for table in database.tables_and_views()}
    return tuple(report for report in reports if report.directory in listed)


def _with_history(
    table: TableDirectory,
    diagnosis: TableDiagnosis,
    more: Sequence[Finding],
    sql_facts: ServerTableFacts | None,
    history: HistoryOf | None,
    seen: frozenset[Part],
) -> TableReport:
    """Return the report; the journal is asked only about a table that is not well, since its evidence is compared."""
    grave = any(finding.severity is not Severity.NOTE for finding in (*diagnosis.findings, *more))
    known = history(table.directory) if history is not None and grave else NO_HISTORY
    return diagnosis.report(more, sql_facts=sql_facts, history=known, seen=seen)


def uses_wal(table: TableDirectory) -> bool:
    """Return whether it is a WAL table; where neither registry nor `_meta` tell, its directory does."""
    if table.wal is not None:
        return table.wal
    return table.sequencer.is_dir() or bool(table.wals())


def database_findings(database: DatabaseRoot, views: Sequence[TableDirectory]) -> tuple[Finding, ...]:
    """Return what is wrong with the database as a whole, and what keeps it from being seen whole."""
    found = [*root_findings(database), *query_findings(views)]
    for problem in database.listing_problems():
        if problem.kind is not ProblemKind.UNREADABLE and problem.file.name.startswith(REGISTRY):
            continue  # damage, which is reported already
        inside = problem.file.is_relative_to(database.db)
        file = str(problem.file.relative_to(database.db)) if inside else str(problem.file)
        found.append(
            Finding(
                Code.UNREADABLE, Severity.RISK, f"{clean_line(problem.file.name)}: {problem.what}", file, problem.offset
            )
        )
    return tuple(found)


def left_out(server: ServerFacts | None) -> tuple[str, ...]:
    return () if server is not None else ("SQL: the server was not asked",)


def _without_wal(
    table: TableDirectory, more: Sequence[Finding], seen: frozenset[Part], checked: set[PartitionSpan]
) -> TableReport:
    """A table without WAL has no sequencer to be damaged: only its own files are looked at."""
    txn, found = _own_files(table, checked)
    looks = later_looks()  # a server may be writing it: what is damage lasts
    while any(finding.severity is not Severity.NOTE for finding in found) and next(looks, _NO_MORE) is not _NO_MORE:
        txn, again = _own_files(table, checked)
        found = tuple(finding for finding in again if finding in found)
    findings = (*more, *found)
    looked_at = parts_seen(found) | seen
    closed = closed_files(table.path)
    findings = (*closed_findings(table, closed), *seen_findings(table, closed, findings))
    clock = PurgeClock("it has no WAL")
    situation = Situation(findings=findings, clock=clock, waiting=0, backup="", closed=bool(closed))
    return TableReport(
        table=table.name,
        directory=table.directory,
        wal=False,
        verdict=verdict_of(findings, closed=situation.closed),
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
        not_checked=tuple(part for part in Part if part not in looked_at),
    )


def _own_files(table: TableDirectory, checked: set[PartitionSpan]) -> tuple[TableTxn, tuple[Finding, ...]]:
    txn = read_table_txn(table.path)
    metadata = metadata_in_force(table.path, txn.current)
    files = TableFiles(table, txn, metadata, read_column_versions(table.path), Incoming.none(), checked)
    return txn, (*txn_damage(txn, files.relative(txn.path)), *table_file_findings(files))
