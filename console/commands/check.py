"""`walmedic check`: diagnose the tables from disk, and from SQL where it is reachable."""

import contextlib
import dataclasses
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from console.commands import completion
from console.commands.deep_check import DeepLooks, deep_looks
from console.commands.options import Invocation, station_options
from console.diagnosis.database import diagnose
from console.diagnosis.deep_scope import DeepScope
from console.diagnosis.model import DatabaseReport, Finding, ServerState, Severity, TableReport, Verdict
from console.diagnosis.server.facts import ServerFacts, read_server_facts
from console.diagnosis.server.liveness import Life, liveness
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.gate.history import Histories
from console.recovery.gate.unfinished import with_unfinished
from console.recovery.store.journal import Journal, JournalError
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir
from console.reporting.nagios import PluginState, plugin_line, plugin_state
from console.reporting.prometheus import exposition
from console.text import clean_line, plural

_GLYPHS = {Verdict.HEALTHY: "✓", Verdict.AT_RISK: "!", Verdict.BROKEN: "✗", Verdict.UNKNOWN: "?"}
_COLOURS = {Verdict.HEALTHY: "green", Verdict.AT_RISK: "yellow", Verdict.BROKEN: "red", Verdict.UNKNOWN: "yellow"}
_MARKS = {Severity.DAMAGE: "✗", Severity.RISK: "!", Severity.NOTE: "·"}


def show(
    out: Console,
    report: DatabaseReport,
    left_out: list[str],
    opinion: dict[str, Any] | None = None,
    *,
    only_problems: bool = False,
) -> None:
    """Print the report for people; foreign text never as markup. `only_problems` leaves healthy tables out."""
    listed = [table for table in report.worst_first() if table.problem or not only_problems]
    width = max((len(table.table) for table in listed), default=0)
    for table in listed:
        out.print(_headline(table, width, report.server))
        _details(out, table)
    for finding in report.findings:
        out.print(Text(f"  {_said(finding)}"))
    for each in (opinion or {}).get("contradictions", ()):
        out.print(Text(f"  ! {each}"))
    if report.views:
        out.print(Text(f"views, which hold no rows: {', '.join(report.views)}", style="dim"))
    for each in left_out:
        out.print(Text(f"not checked: {clean_line(each)}", style="dim"))
    out.print(Text(f"QuestDB version: {_version(report)}", style="dim"))
    if report.server is ServerState.DOWN:
        out.print(Text("the station's server is DOWN: no table can be read or written now"))
    out.print(Text(f"{summary(report)}; checked in {report.seconds:.2f} s"))


def summary(report: DatabaseReport) -> str:
    """Return e.g. `3 of 500 tables broken, 1 at risk; 2 not checked`."""
    found = Counter(table.verdict for table in report.tables)
    summary = f"{found[Verdict.BROKEN] or 'none'} of {plural(len(report.tables), 'table')} broken"
    if found[Verdict.AT_RISK]:
        summary += f", {found[Verdict.AT_RISK]} at risk"
    return summary + (f"; {found[Verdict.UNKNOWN]} not checked" if found[Verdict.UNKNOWN] else "")


def _version(report: DatabaseReport) -> str:
    if report.version is None:
        return "unknown (no file of this data root names it)"
    earlier = [each for each in report.versions_seen if each != report.version]
    return f"{report.version}, the last that started here" + (f"; before: {', '.join(earlier)}" if earlier else "")


def _headline(table: TableReport, width: int, server: ServerState) -> Text:
    down, healthy = server is ServerState.DOWN, table.verdict is Verdict.HEALTHY
    words = ["files ok"] if healthy and server is not ServerState.UP else []
    if down:
        words.append("server DOWN")
    elif not words:
        words = [f"reads {_yes(table.can_read)}", f"writes {_yes(table.can_write)}"]
    words.append(_rows(table.rows_applied, "rows applied"))
    if table.rows_unapplied != 0:
        words.append(_rows(table.rows_unapplied, "unapplied"))
    if table.rows_at_risk != 0:
        words.append(_rows(table.rows_at_risk, "at risk"))
    if table.unseen:
        words.append(f"not checked: {table.unseen}")
    verdict = f"{_GLYPHS[table.verdict]} {table.verdict.value.upper():<8}"
    line = Text()
    if down and healthy:
        line.append(f"! {'DOWN':<8}", style="yellow")
    else:
        line.append(verdict, style=_COLOURS[table.verdict])
    line.append(f"  {table.table:<{width}}  ", style="bold")
    line.append(" · ".join(words))
    return line


def _said(finding: Finding) -> str:
    return f"{_MARKS[finding.severity]} {finding.code.value}  {clean_line(finding.message, 2000)}"


def _details(out: Console, table: TableReport) -> None:
    for finding in table.findings:
        if finding.severity is Severity.NOTE and table.verdict is Verdict.HEALTHY:
            continue
        place = _place(finding.file, finding.offset, finding.seq_txn)
        out.print(Text(f"    {_said(finding)}"))
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


def _rows(value: int | None, what: str) -> str:
    return f"{value:,} {what}" if value is not None else f"rows {what.removeprefix('rows ')} unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class _Looked:
    """What one check found: the report, what was left out and why, what the server's health port says.

    Not `whole`: it was interrupted.
    """

    report: DatabaseReport
    left_out: list[str]
    opinion: dict[str, Any] | None
    whole: bool

    @property
    def plugin_state(self) -> PluginState:
        """The state for Nagios: nothing found by a check that was interrupted is not OK."""
        state = plugin_state(self.report)
        return state if self.whole or state is not PluginState.OK else PluginState.UNKNOWN


@click.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]…", shell_complete=completion.tables)
@click.option(
    "--deep", is_flag=True, help="Also read every value of every column, and aggregate by SQL if a server runs."
)
@click.option("--partition", "partitions", multiple=True, metavar="NAME", help="With --deep: read only this partition.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="With --deep: read only this column.")
@click.option("--only-problems", is_flag=True, help="Leave the healthy tables out of text and JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "prometheus", "nagios"]),
    help="Output format (default: text). nagios has the exit codes of its plugins.",
)
@station_options
def check(
    invocation: Invocation,
    tables: tuple[str, ...],
    deep: bool,
    partitions: tuple[str, ...],
    columns: tuple[str, ...],
    only_problems: bool,
    quiet: bool,
    form: str | None,
) -> int:
    """Diagnose the tables from disk, server up or down, and from SQL where it is reachable.

    --partition and --column can be given several times. A deep check that is cut off goes on where it was.
    Exit 0: healthy, 1: problems found, no table to look at, or interrupted.
    """
    if (partitions or columns) and not deep:
        raise click.UsageError("--partition and --column need --deep")
    if invocation.as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} ask for two answers; give one of them")
    scope = DeepScope(frozenset(partitions), frozenset(columns)) if deep else None
    form = "json" if invocation.as_json else form or "text"
    try:
        looked = _look(invocation, tables, scope)
    except WalmedicError as error:
        if form != "nagios":
            raise
        click.echo("" if quiet else plugin_line(PluginState.UNKNOWN, str(error)), nl=not quiet)
        return PluginState.UNKNOWN
    if not quiet:
        _say(invocation, looked, form, only_problems)
    if form == "nagios":
        return looked.plugin_state
    return 0 if looked.report.healthy and looked.whole else 1


def _look(invocation: Invocation, tables: tuple[str, ...], scope: DeepScope | None) -> _Looked:
    """Check the tables, every value in `scope` too where there is one. Raises WalmedicError."""
    database = located(invocation)
    server, reason = ask_server(invocation, database)
    left_out = [reason] if reason else []
    began, looks = time.monotonic(), DeepLooks({}, [], whole=True)
    if scope is not None:
        looks = deep_looks(invocation, database, tables, served=server is not None, scope=scope)
        left_out += looks.left_out
    settings = invocation.settings
    state = StateDir(settings.state_path)
    journal = Journal(state)
    history = Histories(database, state, journal).of_table
    report = diagnose(database, tables, server, looks.by_directory, history=history, station=not settings.bare)
    with contextlib.suppress(JournalError):  # every plan says so, and is refused
        report = with_unfinished(report, journal.unfinished(root_key(database.db)))
    if scope is not None:
        report = dataclasses.replace(report, seconds=time.monotonic() - began)
    return _Looked(report, left_out, _second_opinion(invocation, server, report), looks.whole)


def _say(invocation: Invocation, looked: _Looked, form: str, only_problems: bool) -> None:
    """Write what was found to standard output. With `only_problems` the counts are still of all tables."""
    report = looked.report
    if form == "prometheus":
        click.echo(exposition(report), nl=False)
    elif form == "nagios":
        click.echo(plugin_line(looked.plugin_state, summary(report), report))
    elif form == "json":
        listed = tuple(table for table in report.tables if table.problem or not only_problems)
        document = {**dataclasses.replace(report, tables=listed).to_json(), "left_out": looked.left_out}
        counts = {"healthy_not_listed": len(report.tables) - len(listed)} if only_problems else {}
        invocation.emit({**document, "second_opinion": looked.opinion, **counts})
    else:
        out = Console(highlight=False, soft_wrap=True)
        show(out, report, looked.left_out, looked.opinion, only_problems=only_problems)


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
    return DatabaseRoot.locate(Path(root)).guarded(invocation.settings.guard_path)


def ask_server(invocation: Invocation, database: DatabaseRoot) -> tuple[ServerFacts | None, str]:
    """Return the server's facts, or why there are none. A bare directory's server is asked only where one lives."""
    if (
        invocation.settings.bare
        and (found := liveness(database.db, invocation.settings.questdb)).life is not Life.ALIVE
    ):
        return None, f"SQL: {found.sentence}, and it belongs to no configured station"
    facts = read_server_facts(invocation.settings.questdb, database)
    return (None, facts) if isinstance(facts, str) else (facts, "")
