"""Findings about what this user may not read, and which others rest on nothing but that."""

import os
from collections.abc import Sequence
from pathlib import Path

from console.diagnosis.model import Code, Finding, Severity
from console.errors import run_as_owner
from console.questdb.layout import TableDirectory
from console.text import clean_line


def closed_findings(table: TableDirectory, closed: Sequence[Path]) -> list[Finding]:
    """Return one finding for all files of the table that this user may not read."""
    if not closed:
        return []
    more = f" and {len(closed) - 1:,} more" if len(closed) > 1 else ""
    first = str(closed[0].relative_to(table.path.parent))
    message = f"{clean_line(first)}{more} cannot be read as uid {os.geteuid()}: {run_as_owner()}"
    return [Finding(Code.UNREADABLE, Severity.RISK, message, first)]


def seen_findings(table: TableDirectory, closed: Sequence[Path], findings: Sequence[Finding]) -> list[Finding]:
    """Return `findings` without those that a file which may not be read has caused, or may have."""
    if not closed:
        return list(findings)
    own = any(path.parent == table.path and path.name.startswith("_") for path in closed)
    sequencer = any(path.is_relative_to(table.sequencer) for path in closed)
    kept = []
    for finding in findings:
        path = table.path.parent / (finding.file or "")
        within = any(path.is_relative_to(each) for each in closed)
        rows = own and bool(finding.partition or finding.column)
        foreign = (own or sequencer) and finding.code in (Code.SEQUENCER_FOREIGN, Code.WAL_FOREIGN)
        if finding.code is Code.UNREADABLE or not (within or rows or foreign):
            kept.append(finding)
    return kept
