"""The transactions that wait, one by one: where each is, its rows and time span, and whether its data is whole."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from console.diagnosis.model import Code, Finding, Severity, WaitingSegment, WaitingTxn
from console.diagnosis.table_facts import TableFacts
from console.questdb.column_types import ColumnTag, tag_of
from console.questdb.segment import EventType, Segment
from console.questdb.segment_data import Tear, TornRows
from console.questdb.table_metadata import TableMetadata
from console.table.inventory import Inventory, carries_rows
from console.table.memory import TableMemory
from console.table.torn import Wholeness, check_rows
from console.table.unapplied import Unapplied, by_segment
from console.table.zero_columns import ZeroShares
from console.text import plural

_LISTED: Final = 2000
_MOST: Final = 20
_KINDS: Final = {
    EventType.DATA: "rows",
    EventType.SQL: "sql",
    EventType.TRUNCATE: "truncate",
    EventType.MAT_VIEW_DATA: "view-rows",
    EventType.MAT_VIEW_INVALIDATE: "view-invalidate",
    EventType.UNREADABLE: "unreadable",
}
_NEVER_ZERO_FOR_LONG: Final = (
    ColumnTag.DOUBLE, ColumnTag.FLOAT, ColumnTag.TIMESTAMP, ColumnTag.DATE, ColumnTag.UUID, ColumnTag.LONG256,
    ColumnTag.GEOBYTE, ColumnTag.GEOSHORT, ColumnTag.GEOINT, ColumnTag.GEOLONG,
)  # fmt: skip
"""Types whose zero is no default of a writer: a page of them between other values is worth a word."""


_APPLIED: Final = {
    False: "the server would apply it without complaint",
    True: "the server cannot apply it whole and suspends the table",
}
_STOPPING: Final = (Tear.UNREADABLE, Tear.SHORT)


def check_waiting_data(facts: TableFacts, unapplied: Unapplied, memory: TableMemory | None = None) -> Wholeness:
    """Read the columns of what waits, or may wait, and return what is not whole."""
    zeros = None
    if isinstance(facts.metadata, TableMetadata) and facts.txn.current is not None:
        zeros = ZeroShares((facts.metadata, facts.txn.current, facts.directory.path))
    return check_rows(facts.inventory, np.flatnonzero(unapplied.waiting | unapplied.unsure), zeros, memory)


def torn_findings(facts: TableFacts, wholeness: Wholeness) -> Iterator[Finding]:
    """Yield one finding per segment, column and kind of tear, and a note for each segment that could not be read.

    Measured on 9.1.0 and 9.3.4: QuestDB applies a segment without its `_meta`.
    """
    for wal, segment in wholeness.unread[:_MOST]:
        message = f"wal{wal}/{segment}/_meta cannot be read, so whether its unapplied rows are whole is not known"
        path = facts.inventory.segments[wal, segment].path / "_meta"
        yield Finding(Code.SEGMENT_DATA_TORN, Severity.NOTE, message, facts.relative(path))
    groups: dict[tuple[int, int, str, str], list[TornRows]] = {}
    for wal, segment, rows in wholeness.seen:
        groups.setdefault((wal, segment, rows.column, rows.tear.value), []).append(rows)
    for (wal, segment, column, _), members in list(groups.items())[:_MOST]:
        first = members[0]
        count = sum(each.rows for each in members)
        events = plural(len(members), "transaction")
        if first.suspect:
            severity = _severity_of_zeros(facts.inventory.segments[wal, segment], column)
            message = (
                f"wal{wal}/{segment}, column {column}: {first.what}, {plural(count, 'row')} in {events}; suspect only"
            )
        else:
            severity = Severity.DAMAGE
            message = (
                f"wal{wal}/{segment}, column {column} does not hold what its events say: {first.what} "
                f"({plural(count, 'row')} in {events}); {_APPLIED[first.tear in _STOPPING]}"
            )
        evidence = f"first in segment transaction {first.event:,}, row {first.first_row:,}"
        yield Finding(
            Code.SEGMENT_DATA_TORN, severity, message, facts.relative(first.file), first.offset, None, evidence
        )


def _severity_of_zeros(segment: Segment, column: str) -> Severity:
    columns = segment.metadata.columns if segment.metadata else ()
    tag = next((tag_of(each.type_code) for each in columns if each.name == column), None)
    return Severity.RISK if tag in _NEVER_ZERO_FOR_LONG else Severity.NOTE


def waiting_segments(inventory: Inventory, unapplied: Unapplied, wholeness: Wholeness) -> tuple[WaitingSegment, ...]:
    """Return what waits, by segment; of very many transactions only the first are listed one by one."""
    found: list[WaitingSegment] = []
    room = _LISTED
    for wal, segment, places in by_segment(inventory, unapplied.waiting | unapplied.unsure):
        events = inventory.events[places]
        rows = carries_rows(events) & (events["end"] > events["start"])
        listed = tuple(_transaction(inventory, unapplied, wholeness, int(at)) for at in places[:room])
        room -= len(listed)
        found.append(
            WaitingSegment(
                wal=wal,
                segment=segment,
                transactions=len(places),
                rows=int(inventory.rows[places].sum()),
                min_ts=int(events["min_ts"][rows].min()) if rows.any() else None,
                max_ts=int(events["max_ts"][rows].max()) if rows.any() else None,
                whole=not bool(wholeness.torn[places].any()) and inventory.segments[wal, segment].whole,
                listed=listed,
            )
        )
    return tuple(found)


def _transaction(inventory: Inventory, unapplied: Unapplied, wholeness: Wholeness, at: int) -> WaitingTxn:
    event = inventory.events[at]
    kind = EventType(int(event["type"]))
    rows = int(inventory.rows[at])
    return WaitingTxn(
        seq_txn=int(unapplied.seq_txn[at]) or None,
        segment_txn=int(event["txn"]),
        kind=_KINDS[kind],
        rows=rows,
        min_ts=int(event["min_ts"]) if rows else None,
        max_ts=int(event["max_ts"]) if rows else None,
        sure=bool(unapplied.waiting[at]),
        whole=not bool(wholeness.torn[at]) and kind is not EventType.UNREADABLE,
    )
