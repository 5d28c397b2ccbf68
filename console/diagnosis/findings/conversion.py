"""A conversion (`_convert`, TableConverter) that failed half-way: what is applied would be applied once more."""

from collections.abc import Iterator

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.table_facts import TableFacts
from console.questdb.conversion import MARKER, read_conversion
from console.questdb.layout import TableDirectory
from console.questdb.registry import TableKind
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import STRUCTURE_CHANGE, read_log
from console.text import plural


def half_done_findings(facts: TableFacts) -> Iterator[Finding]:
    if half := half_done(facts.directory):
        area = facts.txn.current
        message = f"{half}; a server that applies that log applies every row once more"
        offset = area.offset_seq_txn if area is not None else None
        yield Finding(Code.CONVERSION_HALF_DONE, Severity.DAMAGE, message, facts.relative(facts.txn.path), offset, 0)


def half_done(table: TableDirectory) -> str:
    """Return why the table looks like one whose conversion failed half-way, empty where it does not.

    TableConverter sets `_txn` to transaction 0 first, then deletes the sequencer, and removes its marker last: in
    between a start replays the whole log, and every row that was applied comes twice.
    """
    area = read_table_txn(table.path).current
    if area is None or area.seq_txn or not area.rows:
        return ""
    log = read_log(table.sequencer)
    if not log.max_txn or not log.readable:
        return ""
    contradiction = (
        f"_txn says transaction 0 and holds {plural(area.rows, 'row')}, and the log still has {log.max_txn:,}"
    )
    if read_conversion(table.path).present:
        return f"{contradiction}: a conversion began (its marker {MARKER} is there) and did not end"
    first = log.records(1, 1)
    purged = not len(first)
    if len(first) and int(first["wal_id"][0]) >= 1:
        purged = not (table.path / f"wal{int(first['wal_id'][0])}" / str(int(first["segment_id"][0]))).exists()
    elif len(first):
        purged = int(first["wal_id"][0]) != STRUCTURE_CHANGE
    if purged:
        return f"{contradiction}, of which the first is purged, so that it was applied once: a conversion did not end"
    return ""


def waiting_marker(table: TableDirectory) -> bool:
    """Return whether the next start would convert this WAL table to a plain one, and delete its WAL."""
    return table.wal is True and read_conversion(table.path).target is TableKind.NON_WAL
