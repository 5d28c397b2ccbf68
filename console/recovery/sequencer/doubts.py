"""Entries of a ledger about rows that come back, or may have been there, and of which nothing is proven."""

from collections.abc import Iterator

from console.recovery.sequencer.found import Found
from console.table.inventory import Mask
from console.table.ledger import Entry, Evidence, Fate, RowsLost
from console.table.unrecorded import rows_behind
from console.text import plural


def suspect(found: Found, back: Mask) -> Entry:
    suspects = found.wholeness.suspects(found.inventory, back)
    rows = found.wholeness.suspect_rows(found.inventory, back)
    wal, number, first = suspects[0]
    columns = sorted({each.column for _, _, each in suspects})
    named = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
    note = (
        f"{plural(rows, 'row')} are recovered with whole pages of zeros in {named}, which the disk may have lost; the "
        f"first is in wal{wal}/{number}, transaction {first.event:,}, row {first.first_row:,}"
    )
    return Entry(Fate.LOST, Evidence.ZERO_PAGES, 0, RowsLost.at_most(rows), note)


def unproven(found: Found, back: Mask) -> Iterator[Entry]:
    """Yield the WALs whose rows come back and may be another table's, perhaps in the place of one of this table's."""
    for wal, why in sorted(found.unproven.items()):
        mine = back & (found.inventory.events["wal"] == wal)
        rows = int(found.inventory.rows[mine].sum())
        if rows:
            note = f"{plural(rows, 'row')} of wal{wal} are recovered, and nothing proves that it is this table's: {why}"
            yield Entry(Fate.UNKNOWN, Evidence.WAL_UNPROVEN, 0, RowsLost.unknown(), note)


def contradicted(found: Found) -> Entry:
    events = found.inventory.events[found.contradicted]
    rows = int(found.inventory.rows[found.contradicted].sum())
    places = sorted({f"wal{wal}/{segment}" for wal, segment in events[["wal", "segment"]].tolist()})
    note = (
        f"{plural(rows, 'row')} are recovered from {', '.join(places[:5])}, whose applied rows have other values in "
        "the table: columns of the segment, or of the table, were exchanged or overwritten; compare with the source"
    )
    return Entry(Fate.UNKNOWN, Evidence.VALUES_CONTRADICTED, 0, RowsLost.at_most(rows), note)


def behind_events(found: Found) -> Iterator[Entry]:
    """Yield the rows that a writer put behind the last event of a segment, where no log tells what was committed.

    A kill leaves rows that were not committed, and a lost end of `_event` leaves committed ones: they look the same.
    """
    behind = [] if found.logged else list(rows_behind(found.inventory, found.decided.applied))
    total = sum(each.rows for each in behind)
    if total:
        where = ", ".join(each.place for each in behind[:5])
        note = (
            f"{plural(total, 'row')} behind the last transaction of {where}: they were not committed, or the end of "
            "_event is lost; without a log it is not known which"
        )
        yield Entry(Fate.UNKNOWN, Evidence.ROWS_BEHIND_EVENTS, None, RowsLost.at_most(total), note)


def unseen_changes(found: Found) -> Iterator[Entry]:
    """Yield that a structure change may be lost: one of dedup keys, or the last one, leaves no trace in a segment."""
    if not found.changes_unseen:
        return
    note = (
        "an ALTER TABLE that was committed and not applied is lost with txn_seq, and no other file shows whether there "
        "was one: compare columns and dedup keys with what they should be"
    )
    back = int(found.inventory.rows[found.back].sum())
    if back and found.dedup:
        note += f"; if it was DEDUP DISABLE, up to {plural(back, 'row')} replace others instead of being added"
    elif back:
        note += f"; if it was DEDUP ENABLE, up to {plural(back, 'row')} are added instead of replacing others"
    yield Entry(Fate.UNKNOWN, Evidence.STRUCTURE_UNSEEN, None, RowsLost.exact(0), note)
