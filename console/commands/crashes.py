"""`walmedic crashes`: hs_err logs grouped by cause, each tied to file, offset and transaction where it can be."""

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from console.commands.options import Invocation, station_options
from console.diagnosis.crashes.groups import CrashGroup, CrashReport, examine
from console.diagnosis.crashes.places import crash_logs_in, crash_logs_of
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.text import moment, plural


@click.command()
@click.argument("places", nargs=-1, metavar="DIR-or-FILE…", type=click.Path(path_type=Path))
@station_options
def crashes(invocation: Invocation, places: tuple[Path, ...]) -> int:
    """Group hs_err logs by cause and tie each to file, offset and seqTxn, with how sure that is.

    Without a place: those in the data root. Exit 0: no crash, 1: some.
    """
    root = invocation.settings.questdb.db_root
    if not places and not root:
        raise WalmedicError("name a directory with hs_err logs, or a log; or the data root with --db-root")
    database = _database(root)
    named = (log for place in places for log in crash_logs_in(place))
    logs = list(dict.fromkeys(named)) if places or database is None else crash_logs_of(database)
    # Places named without a data root: each log's own surroundings tell where the accused files are.
    report = examine(logs, database)
    if invocation.as_json:
        invocation.emit(report.to_json())
    else:
        show(Console(highlight=False, soft_wrap=True), report)
    return 1 if report.total or report.findings else 0


def _database(root: str) -> DatabaseRoot | None:
    return DatabaseRoot.locate(Path(root)) if root else None


def show(out: Console, report: CrashReport) -> None:
    """Print the report for people; foreign text never as markup."""
    causes = plural(len(report.groups), "cause")
    out.print(Text(f"{plural(report.total, 'crash', 'crashes')}, {causes}" if report.total else "no crash"))
    for group in report.groups:
        _show_group(out, group)
    for finding in report.findings:
        out.print(Text(f"· {finding.code.value}  {finding.message}", style="dim"))


def _show_group(out: Console, group: CrashGroup) -> None:
    out.print()
    out.print(Text(f"{group.count:,} × {group.title}", style="bold"))
    span = moment(group.first_at)
    if group.count > 1:
        span += f" to {moment(group.last_at)}"
    out.print(Text(f"    {span}"))
    if group.file:
        place = [group.file]
        if group.offset is not None:
            place.append(f"offset {group.offset:#010x} ({group.offset:,})")
        if group.seq_txn is not None:
            place.append(f"seqTxn {group.seq_txn:,}")
        out.print(Text(f"    {'  '.join(place)}"))
    out.print(Text(f"    {group.explanation}"))
    out.print(Text(f"    confidence {group.confidence.value}: {group.why}"))
    if group.lengths:
        out.print(Text("    headers beside true lengths:"))
    for length in group.lengths:
        out.print(Text(f"      {length.file}  {length.sentence}"))
    out.print(Text(f"    newest log: {group.logs[-1]}", style="dim"))
