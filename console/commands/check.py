"""`walmedic check`: diagnose the tables from disk, and from SQL where it is reachable."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from console.commands.deep_check import deep_looks
from console.commands.options import Invocation, station_options
from console.diagnosis.database import diagnose
from console.diagnosis.deep_files import DeepLook
from console.diagnosis.deep_scope import DeepScope
from console.diagnosis.model import DatabaseReport, ServerState, Severity, TableReport, Verdict
from console.diagnosis.server.facts import ServerFacts, read_server_facts
from console.diagnosis.server.liveness import Life, liveness
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.gate.history import Histories
from console.recovery.store.journal import Journal
from console.recovery.store.state import StateDir
from console.text import clean_line, plural

_GLYPHS = {Verdict.HEALTHY: "✓", Verdict.AT_RISK: "!", Verdict.BROKEN: "✗", Verdict.UNKNOWN: "?"}
_COLOURS = {Verdict.HEALTHY: "green", Verdict.AT_RISK: "yellow", Verdict.BROKEN: "red", Verdict.UNKNOWN: "yellow"}
_MARKS = {Severity.DAMAGE: "✗", Severity.RISK: "!", Severity.NOTE: "·"}


@click.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]…")
@click.option(
    "--deep", is_flag=True, help="Also read every value of every column, and aggregate by SQL if a server runs."
)
@click.option("--partition", "partitions", multiple=True, metavar="NAME", help="With --deep: read only this partition.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="With --deep: read only this column.")
@station_options
def check(
    invocation: Invocation, tables: tuple[str, ...], deep: bool, partitions: tuple[str, ...], columns: tuple[str, ...]
) -> int:
    """Diagnose the tables from disk, server up or down, and from SQL where it is reachable.

    --partition and --column can be given several times. A deep check that is cut off goes on where it was.
    Exit 0: healthy, 1: problems found, or no table to look at.
    """
    if (partitions or columns) and not deep:
        raise click.UsageError("--partition and --column need --deep")
    scope = DeepScope(frozenset(partitions), frozenset(columns))
    database = located(invocation)
    server, reason = ask_server(invocation, database)
    left_out = [reason] if reason else []
    looks: dict[str, DeepLook] = {}
    if deep:
        looks, unread = deep_looks(invocation, database, tables, served=server is not None, scope=scope)
        left_out += unread
    settings = invocation.settings
    state = StateDir(settings.state_path)
    history = Histories(database, state, Journal(state)).of_table
    report = diagnose(database, tables, server, looks, history=history, station=not settings.bare)
    opinion = _second_opinion(invocation, server, report)
    if invocation.as_json:
        invocation.emit({**report.to_json(), "left_out": left_out, "second_opinion": opinion})
    else:
        show(Console(highlight=False, soft_wrap=True), report, left_out, opinion)
    return 0 if report.healthy else 1


def _second_opinion(
    invocation: Invocation, server: ServerFacts | None, report: DatabaseReport
) -> dict[str, Any] | None:
    """Return what the health port of the server says, and where SQL or the disk say something else."""
    if server is None:
        return None
    import asyncio  # a dead copy is diagnosed without it

    from console.probes.second_opinion import HealthPort, contradictions

    opinion = asyncio.run(HealthPort(invocation.settings.questdb).read())
    suspended = sum(table.suspended for table in server.wal_tables.values())
    return {**dataclasses.asdict(opinion), "contradictions": list(contradictions(opinion, suspended, report))}


def located(invocation: Invocation) -> DatabaseRoot:
    """Return the database that the settings name. Raises WalmedicError where none is named, or it is none."""
    root = invocation.settings.questdb.db_root
    if not root:
        raise WalmedicError("no data root is known; name it with --db-root, or in the settings file (walmedic init)")
    return DatabaseRoot.locate(Path(root))


def ask_server(invocation: Invocation, database: DatabaseRoot) -> tuple[ServerFacts | None, str]:
    """Return the server's facts, or why there are none. A bare directory's server is asked only where one lives."""
    if (
        invocation.settings.bare
        and (found := liveness(database.db, invocation.settings.questdb)).life is not Life.ALIVE
    ):
        return None, f"SQL: {found.sentence}, and it belongs to no configured station"
    facts = read_server_facts(invocation.settings.questdb, database)
    return (None, facts) if isinstance(facts, str) else (facts, "")


def show(out: Console, report: DatabaseReport, left_out: list[str], opinion: dict[str, Any] | None = None) -> None:
    """Print the report for people; foreign text never as markup."""
    width = max((len(table.table) for table in report.tables), default=0)
    for table in sorted(report.tables, key=lambda table: (_ORDER[table.verdict], table.table)):
        out.print(_headline(table, width, report.server))
        _details(out, table)
    for finding in report.findings:
        out.print(Text(f"  {_MARKS[finding.severity]} {finding.code.value}  {finding.message}"))
    for each in (opinion or {}).get("contradictions", ()):
        out.print(Text(f"  ! {each}"))
    for each in left_out:
        out.print(Text(f"left out: {clean_line(each)}", style="dim"))
    out.print(Text(f"QuestDB version: {_version(report)}", style="dim"))
    if report.server is ServerState.DOWN:
        out.print(Text("the station's server is DOWN: no table can be read or written now"))
    out.print(Text(f"{_summary(report)}; checked in {report.seconds:.2f} s"))


def _summary(report: DatabaseReport) -> str:
    """Return e.g. `3 of 500 tables broken, 1 at risk; 2 not checked`."""
    found = Counter(table.verdict for table in report.tables)
    said = f"{found[Verdict.BROKEN] or 'none'} of {plural(len(report.tables), 'table')} broken"
    if found[Verdict.AT_RISK]:
        said += f", {found[Verdict.AT_RISK]} at risk"
    return said + (f"; {found[Verdict.UNKNOWN]} not checked" if found[Verdict.UNKNOWN] else "")


def _version(report: DatabaseReport) -> str:
    """Return which version ran here last, as its own files tell."""
    if report.version is None:
        return "unknown (no file of this data root names it)"
    earlier = [each for each in report.versions_seen if each != report.version]
    return f"{report.version}, the last that started here" + (f"; before: {', '.join(earlier)}" if earlier else "")


_ORDER = {Verdict.BROKEN: 0, Verdict.UNKNOWN: 1, Verdict.AT_RISK: 2, Verdict.HEALTHY: 3}


def _headline(table: TableReport, width: int, server: ServerState) -> Text:
    down = server is ServerState.DOWN
    files = ["files ok"] if table.verdict is Verdict.HEALTHY else []
    words = [*files, "server DOWN"] if down else [f"reads {_yes(table.can_read)}", f"writes {_yes(table.can_write)}"]
    words.append(f"{_number(table.rows_applied)} rows applied")
    if table.rows_unapplied != 0:
        words.append(f"{_number(table.rows_unapplied)} wait in WAL")
    if table.rows_at_risk:
        words.append(f"{_number(table.rows_at_risk)} at risk")
    if table.unseen:
        words.append(f"not checked: {table.unseen}")
    verdict = f"{_GLYPHS[table.verdict]} {table.verdict.value.upper():<8}"
    line = Text()
    if down and table.verdict is Verdict.HEALTHY:
        line.append(f"! {'DOWN':<8}", style="yellow")
    else:
        line.append(verdict, style=_COLOURS[table.verdict])
    line.append(f"  {table.table:<{width}}  ", style="bold")
    line.append(" · ".join(words))
    return line


def _details(out: Console, table: TableReport) -> None:
    for finding in table.findings:
        if finding.severity is Severity.NOTE and table.verdict is Verdict.HEALTHY:
            continue
        place = _place(finding.file, finding.offset, finding.seq_txn)
        out.print(Text(f"    {_MARKS[finding.severity]} {finding.code.value}  {finding.message}"))
        if place or finding.evidence:
            out.print(Text(f"        {'  '.join(part for part in (place, finding.evidence) if part)}", style="dim"))
    if table.verdict is Verdict.HEALTHY:
        return
    out.print(Text(f"    next: {table.next_step.words}"))
    for step in table.blocked_steps:
        out.print(Text(f"    not now: {step.action}, {step.reason}", style="dim"))


def _place(file: str | None, offset: int | None, seq_txn: int | None) -> str:
    parts: list[Any] = [clean_line(file) if file else ""]
    if offset is not None:
        parts.append(f"offset {offset:#x}")
    if seq_txn is not None:
        parts.append(f"seqTxn {seq_txn:,}")
    return "  ".join(part for part in parts if part)


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "NO", None: "unknown"}[value]


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"
