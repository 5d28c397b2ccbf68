"""The ledger of a repaired sequencer: what becomes of each segment transaction, and what stands against the repair."""

from collections.abc import Iterator, Sequence

import numpy as np

from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer.applied_prefix import Cuts
from console.recovery.sequencer.found import Found
from console.table.gaps import Gap, gaps_of, most_rows, rows_from, undecodable
from console.table.inventory import Index, Inventory, Mask, carries_rows
from console.table.ledger import Entry, Evidence, Fate, Ledger, RowsLost
from console.table.log_scan import LogScan
from console.table.names import Names, uncommitted
from console.table.torn import Wholeness
from console.table.unrecorded import rows_behind
from console.table.unseen import Unseen
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


def left_out(inventory: Inventory, names: Names, decided: Cuts, wholeness: Wholeness) -> tuple[Mask, Mask]:
    """Return which unapplied events no repaired log may name: torn, out of the server's reach, or not decodable.

    And those of segments whose `_event.i` or header must be made anew: the records of `_event` are whole, and say all
    that goes into both. The server opens a segment at the first event that a record names, and reads on from there
    event by event: it stops at one that cannot be decoded, and does not open a segment at an event that its header does
    not count.
    """
    unapplied, unsaid = ~decided.applied, uncommitted(inventory, names)
    out = (wholeness.torn | undecodable(inventory) | unsaid) & unapplied
    for gap in gaps_of(inventory):
        at = int(np.searchsorted(inventory.first, gap.first, "right")) - 1
        low, high = int(inventory.first[at]), int(inventory.first[at] + inventory.counts[at])
        opened = unapplied[low : gap.first] & ~out[low : gap.first]
        if not gap.passable and unapplied[gap.first : gap.stop].any() and opened.any():
            out[gap.stop : high] = unapplied[gap.stop : high]
    wrong, whole = _not_opened(inventory, unapplied & ~out), np.zeros(len(inventory), np.bool_)
    anew = wrong.copy()
    for wal, segment, low, high in inventory.slices():
        read = inventory.segments[wal, segment]
        records = read.writable
        whole[low : high if not read.copied else low + len(records)] = len(records) > 0
        if read.copied or read.max_txn != len(records) - 1 - int(unsaid[low:high].sum()):
            anew[low:high] |= unapplied[low:high] & ~unsaid[low:high]
    return np.asarray(out | (wrong & ~whole)), np.asarray(anew & whole)


def _not_opened(inventory: Inventory, wanted: Mask) -> Mask:
    """Return which of the `wanted` events the server cannot open where it has to: their entry in `_event.i` is wrong.

    It opens a segment where it begins with it, and wherever another WAL's transaction came between.
    """
    wrong = wanted & ~inventory.events["opens"]
    wals = np.unique(inventory.events["wal"][wanted])
    for _, _, low, high in inventory.slices() if len(wals) == 1 and wrong.any() else ():
        good = np.flatnonzero(wanted[low:high] & ~wrong[low:high])
        if len(good):
            wrong[low + int(good[0]) : high] = False
    return np.asarray(wrong)


def ledger_of(found: Found) -> Ledger:
    """Return the ledger: nothing but the unknown where it is not decided what is applied."""
    if found.decided.refusals:
        return (Entry(Fate.UNKNOWN, Evidence.UNDECIDED, None, RowsLost.unknown()), *_unseen(found))
    return tuple(_entries(found))


def unseen_refusals(unseen: Sequence[Unseen]) -> Iterator[Refusal]:
    """Yield why the repair waits for WAL that was not read."""
    links = [each for each in unseen if each.evidence is Evidence.NOT_FOLLOWED]
    if links:
        yield Refusal(
            RefusalCode.WAL_NOT_FOLLOWED,
            f"{_named(links)}: symbolic links are not followed, so what WAL lies behind them is not known",
            "move the directories themselves into the table, with the server stopped",
        )
    if renamed := [each for each in unseen if each.evidence is Evidence.RENAMED]:
        yield Refusal(
            RefusalCode.WAL_RENAMED,
            f"{renamed[0].place} {renamed[0].why}: which transactions it holds is not known",
            "give it its name back, or move it out of the table, with the server stopped; then plan again",
        )
    if hidden := [each for each in unseen if each.evidence is Evidence.NOT_READ]:
        yield Refusal(
            RefusalCode.WAL_NOT_READ,
            f"{_named(hidden)} cannot be read ({hidden[0].why}), so what WAL it holds is not known",
            "look again as a user who may read the table's files",
        )


def _named(unseen: Sequence[Unseen]) -> str:
    more = f" and {len(unseen) - 3:,} more" if len(unseen) > 3 else ""
    return ", ".join(each.place for each in unseen[:3]) + more


def _entries(found: Found) -> Iterator[Entry]:
    inventory, decided, torn = found.inventory, found.decided, found.wholeness.torn
    rows = inventory.rows
    yield _of(Fate.APPLIED, Evidence.DECIDED, decided.applied, rows)
    back = np.zeros(len(inventory), np.bool_)
    back[found.back] = True
    yield Entry(Fate.COMES_BACK, Evidence.ON_DISK, len(found.back), RowsLost.exact(int(rows[back].sum())))
    if found.wholeness.suspects(inventory, back):
        yield suspect(found, back)
    yield from unproven(found, back)
    if len(found.contradicted):
        yield contradicted(found)
    torn = torn & ~decided.applied & ~undecodable(inventory)
    if torn.any():
        why = "their column files do not hold the rows that the transaction says"
        yield _lost(found, Evidence.COLUMNS_TORN, torn, why, sure=not (torn & decided.undecided).any())
    uncounted = found.out & inventory.events["beyond"] & ~torn
    if uncounted.any():
        why = "the header of their _event does not count them, and the server does not read behind it"
        yield _lost(
            found, Evidence.EVENT_NOT_COUNTED, uncounted, why, sure=bool((found.names.seq[uncounted] > 0).all())
        )
    unopened = found.out & ~torn & ~uncounted & ~undecodable(inventory) & ~inventory.events["opens"]
    if unopened.any():
        why = "their _event.i does not say where they are, or where to stop reading"
        yield _lost(found, Evidence.EVENT_NOT_INDEXED, unopened, why)
    behind = found.out & ~torn & ~uncounted & ~undecodable(inventory) & ~unopened
    if behind.any():
        why = "they lie behind a transaction that cannot be decoded, where the server stops reading the segment"
        yield _lost(found, Evidence.EVENT_OUT_OF_REACH, behind, why)
    for gap in gaps_of(inventory):
        if not decided.applied[gap.first : gap.stop].all():
            yield _undecodable(found, gap)
    yield from _uncounted_segments(found)
    yield from _counted_alone(found)
    yield from _lost_segments(found)
    yield from behind_events(found)
    yield from _unnamed(found)
    yield from unseen_changes(found)
    if (lost := found.changes_lost) is not None:
        yield Entry(Fate.UNKNOWN, Evidence.STRUCTURE_LOST, len(lost.versions), RowsLost.unknown(), lost.description)
    yield from _unseen(found)


def _unseen(found: Found) -> Iterator[Entry]:
    for each in found.unseen:
        yield Entry(Fate.UNKNOWN, each.evidence, None, RowsLost.unknown(), f"{each.place}: {each.why}")


def _of(fate: Fate, evidence: Evidence, mask: Mask, rows: Index) -> Entry:
    return Entry(fate, evidence, int(mask.sum()), RowsLost.exact(int(rows[mask].sum())))


def _lost(found: Found, evidence: Evidence, mask: Mask, why: str, *, sure: bool = True) -> Entry:
    count, rows = int(mask.sum()), int(found.inventory.rows[mask].sum())
    note = f"{plural(count, 'transaction')} with {plural(rows, 'row')} skipped: {why}"
    if (mask & ~carries_rows(found.inventory.events)).any():
        note += f"; one is a statement, whose changes to the other {plural(found.kept, 'row')} are lost too"
        return Entry(Fate.LOST, evidence, count, RowsLost.at_most(rows + found.kept), note)
    return Entry(Fate.LOST, evidence, count, _counted(found, rows, sure=sure), note)


def _counted(found: Found, rows: int, *, sure: bool) -> RowsLost:
    return RowsLost.exact(rows) if sure and not found.dedup else RowsLost.at_most(rows)


def _undecodable(found: Found, gap: Gap) -> Entry:
    applied, undecided = (mask[gap.first : gap.stop] for mask in (found.decided.applied, found.decided.undecided))
    count = int((~applied).sum())
    note = f"{gap.place}/_event: {plural(count, 'transaction')} cannot be decoded"
    most = most_rows(gap, found.kept)
    if most is None or gap.rows is None:
        why = f"{note}, and what it holds is not known"
        return Entry(Fate.UNKNOWN, Evidence.EVENT_UNDECODABLE, count, RowsLost.unknown(), why)
    sure = gap.sure and not applied.any() and not undecided.any()
    rows = _counted(found, most, sure=sure)
    often = "" if rows.kind == "exact" else "at most "
    note = f"{note}; {often}{plural(gap.rows, 'row')} lost"
    if gap.mixed:
        note += f", and if one is an UPDATE, its changes to the other {plural(found.kept, 'row')}"
    return Entry(Fate.LOST, Evidence.EVENT_UNDECODABLE, count, rows, note)


def _uncounted_segments(found: Found) -> Iterator[Entry]:
    """Yield the segments with rows, of which neither header nor index tells a transaction."""
    inventory = found.inventory
    broken = {(wal, number) for wal, number, _ in inventory.broken}
    for wal, number, low, high in inventory.slices():
        if high > low or (wal, number) not in broken:
            continue
        if rows_from(inventory.segments[wal, number]) != 0 and not _passed(found, wal, number):
            note = f"wal{wal}/{number} holds rows, and its transactions are not known"
            yield Entry(Fate.UNKNOWN, Evidence.EVENTS_GONE, None, RowsLost.unknown(), note)


def _counted_alone(found: Found) -> Iterator[Entry]:
    """Yield the transactions that only the header of an `_event` counts, where no log tells that there were none.

    Each page of a file is written back for itself: the header's can be newer than those of records, index and columns.
    """
    for wal, number, low, high in () if found.logged else found.inventory.slices():
        segment = found.inventory.segments[wal, number]
        alone = len(segment.events) - (high - low)  # the inventory left them out
        if alone > 0 and segment.max_txn == len(segment.events) - 1 and not _passed(found, wal, number):
            note = (
                f"the header of wal{wal}/{number}/_event counts {plural(alone, 'transaction')} more than its records "
                "and its index: it is wrong, or the power loss took them"
            )
            yield Entry(Fate.UNKNOWN, Evidence.EVENT_UNDECODABLE, alone, RowsLost.unknown(), note)


def _passed(found: Found, wal: int, segment: int) -> bool:
    """Return whether what comes later in the WAL than `segment` is applied, so that all of `segment` is."""
    events = found.inventory.events[found.decided.applied]
    return bool(((events["wal"] == wal) & (events["segment"] > segment)).any())


def _lost_segments(found: Found) -> Iterator[Entry]:
    """Yield the segments and WALs that something else than QuestDB's purge removed, and of which no log tells."""
    for wal, number in () if found.covered else found.inventory.lost:
        if number >= 0 and _passed(found, wal, number):
            continue
        place = f"wal{wal}" if number < 0 else f"wal{wal}/{number}"
        note = f"{place}.lock is there and {place} is not: its transactions are not known"
        yield Entry(Fate.UNKNOWN, Evidence.SEGMENT_GONE, None, RowsLost.unknown(), note)


def _unnamed(found: Found) -> Iterator[Entry]:
    """Yield the transactions that a log names, or has a place for, and of which nothing is on disk."""
    names = found.names
    unnamed = int((found.out & (names.seq == 0)).sum())  # one without a record has its place among the empty ones
    gone = max(0, found.empty - unnamed) + len(names.lost)
    if not gone:
        return
    named = names.lost_rows() if len(names.lost) == gone else None
    sure = named is not None
    rows = RowsLost.unknown() if named is None else _counted(found, named, sure=True)
    note = f"{plural(gone, 'logged transaction')} not applied and not on disk: purged, removed or not written"
    yield Entry(Fate.LOST if sure else Fate.UNKNOWN, Evidence.RECORD_ALONE, gone, rows, note)


def most_duplicates(found: Found, scan: LogScan | None, applied: int, kept: int) -> int:
    """Return the most rows that were never acknowledged: a crash between the segment and the sequencer leaves at most
    the last event of each WAL, and its sender still has those rows."""
    settled = found.decided.applied | found.out
    last = found.inventory.last_of_wal() & ~settled & (found.names.seq == 0)
    rows = np.sort(found.inventory.rows[last])[::-1]
    if scan is not None and scan.max_txn >= applied:
        rows = rows[: max(0, kept - (scan.max_txn - applied))]
    return int(rows.sum())
