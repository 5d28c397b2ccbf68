"""Places in files: what the operator names, what a record leads to, which files are copies of each other. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console.diagnosis.inspection import RecordView
from console.diagnosis.model import DatabaseReport, Finding
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import DbFile

_ROW = re.compile(r"r(?:ow)?\s*(?P<row>\d+)", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ].*?)?Z?")
_GO = re.compile(r"(?P<txn>t(?:xn)?\s*)?(?P<number>0x[0-9a-f]+|\d+)", re.IGNORECASE)
_STRUCTURE_CHANGE = -1
_LOG = "_txnlog"


@dataclass(frozen=True, slots=True)
class Asked:
    """Where the operator wants to go: an offset in bytes, or a transaction."""

    number: int
    transaction: bool


def asked_for(text: str) -> Asked:
    """Return what `text` names. Raises WalmedicError for what is neither an offset nor a transaction."""
    text = text.replace(",", "").replace("_", "").strip()
    match = _GO.fullmatch(text)
    if match is None:
        raise WalmedicError(f"{text or 'nothing'} is neither an offset (0x1f, 31) nor a transaction (t31)")
    return Asked(int(match["number"], 0), bool(match["txn"]))


def row_asked_for(text: str) -> int | None:
    """Return the number of the row that `text` names (r31), None if it names something else."""
    row = _ROW.fullmatch(text.replace(",", "").replace("_", "").strip())
    return int(row["row"]) if row is not None else None


def is_time(text: str) -> bool:
    return _TIME.fullmatch(text.strip()) is not None


def located(root: Path, db: Path, report: DatabaseReport | None) -> list[tuple[Path, Finding]]:
    """Return all findings that point at a file there is, with its path, in the order of the report.

    One about a sequencer's directory, or a copy of it, points at the log in it.
    """
    found = []
    for table in report.tables if report is not None else ():
        for finding in table.findings:
            named = [base / str(finding.file) for base in (db, root)] if finding.file else []
            path = next((each for base in named for each in (base, base / _LOG) if each.is_file()), None)
            if path is not None:
                found.append((path, finding))
    return found


def is_copied_log(table: TableDirectory | None, path: Path) -> bool:
    """Return whether a file is the log of a copy of the sequencer, which the table's diagnosis says little about."""
    return table is not None and path.name == _LOG and path.parent in table.sequencer_backups()


def table_of(tables: Sequence[TableDirectory], path: Path) -> TableDirectory | None:
    return next((table for table in tables if path.is_relative_to(table.path)), None)


def counterparts(table: TableDirectory, path: Path) -> list[Path]:
    """Return the files of the same name in the sequencer and in its copies, the sequencer's first, without `path`."""
    homes = [home for home in (table.sequencer, *table.sequencer_backups()) if not path.is_relative_to(home)]
    inside = next((path.relative_to(home) for home in _homes(table) if path.is_relative_to(home)), None)
    return [home / inside for home in homes if (home / inside).is_file()] if inside is not None else []


def _homes(table: TableDirectory) -> list[Path]:
    return [table.sequencer, *table.sequencer_backups()]


def leads_to(record: RecordView | None, path: Path, table: TableDirectory | None, db: DatabaseRoot) -> tuple[Path, int]:
    """Return file and offset that a log's record names: its event in its segment, or the change of structure.

    Blocks; raises WalmedicError where the record names nothing, or what it names is not there.
    """
    named = _numbers(record)
    if table is None or "walId" not in named:
        raise WalmedicError("no record of a transaction log is under the cursor: only those name a segment")
    if named["walId"] == _STRUCTURE_CHANGE:
        return path.with_name("_txnlog.meta.d"), 0
    if named["walId"] <= 0 or named.get("segmentId", -1) < 0:
        raise WalmedicError("this record names no segment: its walId says so")
    segment = table.path / f"wal{named['walId']}" / str(named["segmentId"])
    event = segment / "_event"
    if not event.is_file():
        raise WalmedicError(f"{event.relative_to(db.db)} is gone: applied segments are purged, which is normal")
    number = max(0, named.get("segmentTxn", 0))
    try:
        with DbFile(event.with_name("_event.i")) as index:
            offset = int.from_bytes(index.read(8 * number, 8), "little")
    except OSError:
        offset = 0
    return event, offset or 8


def _numbers(record: RecordView | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in record.fields if record is not None else ():
        try:
            found[each.name] = int(each.value.replace(",", ""))
        except ValueError:
            continue
    return found
