"""What `walmedic check` says to people: a line per table, its findings, one next step, a summary."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.text import Text

from console.diagnosis.model import DatabaseReport, ServerState, Severity, TableReport, Verdict
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
        out.print(Text(f"  {_MARKS[finding.severity]} {finding.code.value}  {finding.message}"))
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


def _rows(value: int | None, what: str) -> str:
    return f"{value:,} {what}" if value is not None else f"rows {what.removeprefix('rows ')} unknown"
