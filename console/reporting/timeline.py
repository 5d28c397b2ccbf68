"""The incident in time order: crashes, service events, what the files tell of damage and copies, what was done."""

import datetime
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from console.diagnosis.crashes.groups import CrashReport
from console.diagnosis.model import Code, DatabaseReport, Severity
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.table_name import SEQUENCER
from console.reporting.events import Event, Kind, folded
from console.reporting.history import PastAction, events_of
from console.text import clean_line

_STAMP = re.compile(r"(20\d\d)[-_]?([01]\d)[-_]?([0-3]\d)[-_T.]?([0-2]\d)[-_:]?([0-5]\d)[-_:]?([0-5]\d)")
_DAY = 86_400.0
_NO_EVENT = {Code.BACKUP_FOUND, Code.IN_TABLE_BACKUP_AT_RISK, Code.UNLISTED_BY_SERVER, Code.SERVER_DISAGREES}


def timeline(
    database: DatabaseRoot,
    tables: DatabaseReport,
    crashes: CrashReport,
    past_actions: Iterable[PastAction],
    services: Iterable[Event],
) -> tuple[Event, ...]:
    """Return all that is known, in time order, loops folded. Never raises: what is gone has no event."""
    times = [at for group in crashes.groups for at in group.times]
    events = [
        *_crash_events(crashes),
        *services,
        *events_of(tuple(past_actions)),
        *_copy_events(database, times),
        *_finding_events(database, tables),
    ]
    return folded(events)


def _crash_events(crashes: CrashReport) -> Iterator[Event]:
    for group in crashes.groups:
        for at in group.times:
            yield Event(at, Kind.CRASH, group.title, group.file)


def _copy_events(database: DatabaseRoot, crashes: list[float]) -> Iterator[Event]:
    """Yield when each copy of a sequencer in a table was made: by its name where that fits, else by its directory."""
    for table in database.tables():
        for copy in table.sequencer_backups():
            name = clean_line(copy.name)
            what = f"a copy of {clean_line(table.name)}'s sequencer appears: {name}"
            named, made = time_in_name(name), _came(copy)
            if named is not None and (_near(named, crashes) or made is None or abs(made - named) < _DAY):
                yield Event(named, Kind.FINDING, what, "by its name, in this machine's time zone")
            elif made is not None:
                detail = "by its directory's time" + ("; its name says another day" if named is not None else "")
                yield Event(made, Kind.FINDING, what, detail, sure=False)


def _finding_events(database: DatabaseRoot, tables: DatabaseReport) -> Iterator[Event]:
    """Yield when each damaged file was last changed; of a missing one, when its directory was."""
    directories = {table.directory: table for table in database.tables()}
    for report in tables.tables:
        table = directories.get(report.directory)
        dated: set[tuple[str, int]] = set()
        for finding in report.findings:
            if table is None or finding.severity is Severity.NOTE or finding.code in _NO_EVENT:
                continue
            at, how, latest = _damaged_at(database, table, finding.file)
            if at is None or (finding.code.value, int(at)) in dated:
                continue
            dated.add((finding.code.value, int(at)))
            what = f"{clean_line(report.table)}: {finding.code.value}"
            yield Event(at, Kind.FINDING, what, f"{finding.message} ({how})", sure=False, latest=latest)


def _damaged_at(database: DatabaseRoot, table: TableDirectory, file: str | None) -> tuple[float | None, str, bool]:
    """Return when a file was last changed, how that is known, and whether the damage came then or before."""
    path = database.db / file if file else table.sequencer
    changed = _modified(path)
    if changed is not None:
        return changed, "the file's last change", False
    above = _modified(path.parent)
    if above is not None and path.name == SEQUENCER:
        return above, "the last change of the directory it is missing from: not later than this", True
    return above, "the last change of the directory it is missing from", False


def time_in_name(name: str) -> float | None:
    """Return the local time that a name such as `txn_seq.backup.20251110_032030` holds, None where it has none."""
    found = _STAMP.search(name)
    if not found:
        return None
    try:
        return datetime.datetime(*map(int, found.groups())).timestamp()  # type: ignore[arg-type]  # noqa: DTZ001
    except (ValueError, OverflowError):
        return None


def _near(at: float, crashes: list[float]) -> bool:
    return bool(crashes) and min(crashes) - _DAY <= at <= max(crashes) + 30 * _DAY


def _came(folder: Path) -> float | None:
    """Return when a copy came to be: the change time of its directory, which no `cp` or `mv` can set back."""
    try:
        return folder.lstat().st_ctime
    except OSError:
        return None


def _modified(path: Path) -> float | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return None if stat.S_ISLNK(status.st_mode) else status.st_mtime
