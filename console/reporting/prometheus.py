"""What a check found, as metrics in Prometheus' text format (exposition format 0.0.4).

What is not known is NaN, never 0: an alarm on `walmedic_table_rows_at_risk > 0` stays silent on it, one on
`walmedic_table_verdict{verdict="unknown"} == 1` does not.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from console.diagnosis.model import DatabaseReport, ServerState, TableReport, Verdict

Sample = tuple[Mapping[str, str], float | int | bool | str | None]
"""Labels and value; None is an unknown one, text one that the format has a word for."""

_UP: Final = {ServerState.UP: True, ServerState.DOWN: False, ServerState.UNKNOWN: None}


def exposition(report: DatabaseReport, now: float | None = None) -> str:
    """Return the text of one check; `now` is when it ended, in epoch seconds."""
    tables = report.tables
    found = Counter(
        (finding.code, finding.severity)
        for finding in (*report.findings, *(finding for table in tables for finding in table.findings))
    )
    return "".join(
        (
            gauge(
                "table_verdict",
                "1 for the verdict that the table has, 0 for the others.",
                (({"table": t.table, "verdict": v.value}, t.verdict is v) for t in tables for v in Verdict),
            ),
            gauge("table_readable", "Whether the server can read the table.", _of(tables, "can_read")),
            gauge("table_writable", "Whether the server can write the table.", _of(tables, "can_write")),
            gauge("table_rows_applied", "Rows that are in the table itself.", _of(tables, "rows_applied")),
            gauge("table_rows_unapplied", "Rows in the WAL that are not applied yet.", _of(tables, "rows_unapplied")),
            gauge("table_rows_at_risk", "Rows that QuestDB would lose now.", _of(tables, "rows_at_risk")),
            gauge(
                "findings",
                "How often each finding was made.",
                (({"code": code.value, "severity": grade.value}, n) for (code, grade), n in sorted(found.items())),
            ),
            gauge("server_up", "Whether the station's server runs.", [({}, _UP[report.server])]),
            gauge("check_duration_seconds", "How long the check took.", [({}, round(report.seconds, 3))]),
            gauge("check_timestamp_seconds", "When the check ended.", [({}, round(now or time.time(), 3))]),
        )
    )


def gauge(name: str, description: str, samples: Iterable[Sample]) -> str:
    """Return one gauge with its help and type; empty if it has no sample."""
    lines = [f"walmedic_{name}{_labels(labels)} {_value(value)}\n" for labels, value in samples]
    return f"# HELP walmedic_{name} {description}\n# TYPE walmedic_{name} gauge\n{''.join(lines)}" if lines else ""


def _of(tables: Iterable[TableReport], field: str) -> Iterable[Sample]:
    return (({"table": table.table}, getattr(table, field)) for table in tables)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """Return a label's value as the format wants it; bytes of a name that are no UTF-8 become `\ufffd`."""
    clean = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return clean.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _value(value: float | bool | str | None) -> str:
    return "NaN" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
