"""What was cut off in the middle, as a check must say it: it comes before every other step."""

import dataclasses
import socket
from collections.abc import Iterable

import psutil

from console.diagnosis.model import Code, DatabaseReport, Finding, NextStep, Severity, TableReport
from console.recovery.store.journal import Entry
from console.recovery.store.living import runs_walmedic
from console.text import clean_line


def with_unfinished(report: DatabaseReport, entries: Iterable[Entry]) -> DatabaseReport:
    """Return the report with those of `entries` that no process works on: a finding each, and the tables' next step."""
    cut_off = [entry for entry in entries if not is_running(entry)]
    tables = tuple(_with_step(table, cut_off) for table in report.tables)
    return dataclasses.replace(report, tables=tables, findings=(*report.findings, *map(_finding, cut_off)))


def is_running(entry: Entry) -> bool:
    """Return whether the process that began the entry still lives on this host; a later process of its id is not it."""
    worker = entry.worker
    if worker.data.get("host") != socket.gethostname():
        return False
    if stamp := str(worker.data.get("stamp") or ""):
        return runs_walmedic(int(worker.data.get("pid", 0)), stamp)
    try:
        process = psutil.Process(int(worker.data.get("pid", 0)))
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= worker.seconds + 1.0
    except (psutil.Error, ValueError):
        return False


def _finding(entry: Entry) -> Finding:
    return Finding(Code.ENTRY_UNFINISHED, Severity.RISK, f"{_said(entry)}; nothing else is done before that", None)


def _said(entry: Entry) -> str:
    if undoes := entry.intent.get("undoes"):
        undone = clean_line(str(undoes))
        return f"taking entry {undone} back was cut off: walmedic undo {undone} finishes it"
    name = f"{entry.action} {entry.table}" if entry.table else entry.action
    return (
        f"{clean_line(name)} was cut off (entry {clean_line(entry.id)}): run it again to finish it, or "
        f"walmedic undo {clean_line(entry.id)} takes it back"
    )


def _with_step(table: TableReport, entries: list[Entry]) -> TableReport:
    for entry in entries:
        if table.table == entry.table or table.directory == entry.intent.get("directory"):
            action = None if entry.intent.get("undoes") else entry.action
            return dataclasses.replace(table, next_step=NextStep(action, _said(entry)))
    return table
