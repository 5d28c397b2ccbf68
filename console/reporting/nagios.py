"""What a check found, as a Nagios plugin says it: one line with performance data, and an exit code."""

import enum
from collections import Counter

from console.diagnosis.model import DatabaseReport, ServerState, Severity, Verdict
from console.text import clean_line


class PluginState(enum.IntEnum):
    """The exit codes of the Monitoring Plugins guidelines."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def plugin_state(report: DatabaseReport) -> PluginState:
    """Return the state: what is broken comes before what is not known, that before what is at risk."""
    verdicts = {table.verdict for table in report.tables}
    grades = {finding.severity for finding in report.findings}
    if Verdict.BROKEN in verdicts or Severity.DAMAGE in grades or report.server is ServerState.DOWN:
        return PluginState.CRITICAL
    if Verdict.UNKNOWN in verdicts or not report.tables:
        return PluginState.UNKNOWN
    if Verdict.AT_RISK in verdicts or Severity.RISK in grades:
        return PluginState.WARNING
    return PluginState.OK


def plugin_line(state: PluginState, sentence: str, report: DatabaseReport | None = None) -> str:
    """Return the line: state, sentence, and the counts where there is a report. A rows count that is unknown is `U`."""
    line = f"WALMEDIC {state.name} - {clean_line(sentence).replace('|', '/')}"
    if report is None:
        return line
    found = Counter(table.verdict for table in report.tables)
    counts = [f"'{verdict.value}'={found[verdict]};;;0;{len(report.tables)}" for verdict in Verdict]
    at_risk = [table.rows_at_risk for table in report.tables]
    rows = "U" if None in at_risk else str(sum(each or 0 for each in at_risk))
    return f"{line} | {' '.join(counts)} 'rows at risk'={rows};;;0; 'seconds'={report.seconds:.2f}s;;;0;"
