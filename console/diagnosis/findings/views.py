"""Findings about materialised views: their two files, and what their base table's log can no longer tell them."""

from collections.abc import Iterable, Iterator

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.table import TableDiagnosis
from console.questdb.block_file import read_block_file
from console.questdb.layout import VIEW, TableDirectory
from console.questdb.reading import ProblemKind
from console.questdb.txn_log import read_log
from console.questdb.view_state import View, ViewState, read_view
from console.text import clean_line


def view_findings(tables: Iterable[TableDirectory], made: dict[str, TableDiagnosis]) -> Iterator[tuple[str, Finding]]:
    """Yield (directory of the view's table, finding) of the views in `tables`.

    `made` has the diagnoses by directory; a view is held against its base table only if that was looked at.
    """
    by_name = {each.facts.directory.raw_name: each for each in made.values()}
    for table in tables:
        if not table.is_view:
            continue
        view = read_view(table.path)
        yield from ((table.directory, each) for each in _files(table, view))
        if view.definition is None or view.state is None or view.state.invalid:
            continue
        base = by_name.get(view.definition.base_table)
        finding = _behind(table, view.state, base) if base is not None else None
        if finding is not None:
            yield table.directory, finding


def query_findings(views: Iterable[TableDirectory]) -> Iterator[Finding]:
    """Yield the views of 9.3 and later whose definition cannot be read: QuestDB cannot run their query."""
    for view in views:
        for problem in read_block_file(view.path / VIEW).problems:
            code = Code.UNREADABLE if problem.kind is ProblemKind.UNREADABLE else Code.VIEW_FILES_INVALID
            message = f"{VIEW} of the view {view.name}: {problem.what}; the view holds no rows, create it again"
            yield Finding(code, Severity.RISK, message, f"{view.directory}/{VIEW}", problem.offset)


def _files(table: TableDirectory, view: View) -> Iterator[Finding]:
    """Yield what is wrong with `_mv` and `_mv.s`. There is no `_mv.s` before a first refresh, nor is one needed."""
    for problem in view.problems:
        name = problem.file.name
        file = f"{table.directory}/{name}"
        if problem.kind is ProblemKind.UNREADABLE:
            yield Finding(Code.UNREADABLE, Severity.RISK, f"{name}: {problem.what}", file)
        elif problem.kind is not ProblemKind.MISSING or name == "_mv":
            what = "is missing" if problem.kind is ProblemKind.MISSING else f"is damaged: {problem.what}"
            message = f"{name} of the view {what}; QuestDB does not refresh the view any more"
            yield Finding(Code.VIEW_FILES_INVALID, Severity.RISK, message, file, problem.offset)
    if view.state is not None and view.state.invalid:
        reason = f" ({clean_line(view.state.reason, 160)})" if view.state.reason else ""
        message = f"the view is invalid{reason}: QuestDB does not refresh it, and its rows get stale"
        # A note: an ALTER of the base table makes a view invalid, too, and QuestDB shows it in materialized_views().
        yield Finding(Code.VIEW_BEHIND, Severity.NOTE, message, f"{table.directory}/_mv.s")


def _behind(table: TableDirectory, state: ViewState, base: TableDiagnosis) -> Finding | None:
    needs, scan, applied = state.needs_records_after, base.facts.sequencer.scan, base.facts.applied
    file = f"{table.directory}/_mv.s"
    if scan is None or applied is None or needs < 0:
        return None
    # The base table was read before the view: under a live server it may have moved on since.
    if needs > max(scan.end, applied) and needs > (read_log(base.facts.sequencer.path).max_txn or 0):
        message = (
            f"the view is refreshed up to seqTxn {needs:,} of {base.facts.directory.name}, which has {scan.end:,} "
            "now: its numbers began anew, so the view takes nothing in until they pass that"
        )
        return Finding(Code.VIEW_BEHIND, Severity.RISK, message, file, seq_txn=needs)
    filler = [(low, high) for low, high in scan.zeroed if high > needs and low <= applied]
    if filler:
        low = max(filler[0][0], needs + 1)
        message = (
            f"the view must still take in {base.facts.directory.name} from seqTxn {needs + 1:,} on, and the log has "
            f"only filler there (from {low:,}): rows would be missing without a message"
        )
        return Finding(Code.VIEW_BEHIND, Severity.RISK, message, file, seq_txn=low)
    return None
