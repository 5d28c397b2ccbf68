"""Whether the table speaks against the values of a segment: where its applied rows are, it has other values.

The columns of a segment hold applied and unapplied rows side by side. If not one of the applied rows is in the table as
the segment has it, while the table has a row of its time and its dedup keys, the columns were exchanged or overwritten,
in the segment or in the table:

    segment wal1/0   px of rows 0 to 4, applied: 0 0 0 0 0   px of rows 5 to 9: 0 0 0 0 0, and they may have been others
    table            px of these rows: 1 2 3 4 5

Applied rows in a page of zeros say nothing of the others: such pages are suspect for themselves.
"""

from collections.abc import Callable

import numpy as np

from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError
from console.recovery.sequencer.compared_columns import ComparedColumns
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.event_rows import EventRows, read_event_rows
from console.recovery.sequencer.multisets import counted
from console.recovery.sequencer.table_content import TableContent, read_content
from console.recovery.sequencer.whole_rows import doubted_rows
from console.table.inventory import Index, Mask, is_plain, segment_key
from console.table.torn import Wholeness

_MOST_ROWS = 1_000_000
"""Applied rows of a segment that are compared at most, the newest: beyond it columns are too large to be one page."""


def contradicted(table: TableOnDisk, applied: Mask, back: Index, check: Callable[[Index], Wholeness]) -> Mask:
    """Return which of the events `back` lie in segments of which the table has all applied rows with other values.

    `check` tells what is not whole in the rows of events. What cannot be read contradicts nothing, nor does a row whose
    keys a later one may have replaced.
    """
    events = table.inventory.events
    keys = np.asarray(segment_key(events["wal"], events["segment"]))
    asked = np.flatnonzero(applied & is_plain(events) & np.isin(keys, keys[back]) & (table.inventory.rows > 0))
    none = np.zeros(len(back), np.bool_)
    asked = _newest(table, keys, asked)
    suspects = check(asked).suspects(table.inventory) if len(asked) else ()
    asked = asked[~np.isin(asked, list(doubted_rows(table.inventory, suspects)))]
    if not len(asked):
        return none
    try:
        rows = TableRows(table.path, lag=True, txn=table.txn)
        compared = ComparedColumns.of(rows.metadata, rows.versions)
        mine = read_event_rows(table, compared, asked, np.ones(len(asked), np.bool_))
        content = read_content(rows, compared, np.unique(mine.stamps))
    except (DamageError, OSError):
        return none
    judged, differs = _judged(compared, mine, content)
    at = keys[asked][mine.event]
    wrong = set(at[judged & differs].tolist()) - set(at[judged & ~differs].tolist())
    return np.isin(keys[back], list(wrong))


def _newest(table: TableOnDisk, keys: Index, asked: Index) -> Index:
    kept = [np.empty(0, np.int64)]
    for key in np.unique(keys[asked]).tolist():
        mine = asked[keys[asked] == key]
        after = np.cumsum(table.inventory.rows[mine][::-1])[::-1]
        kept.append(mine[after <= _MOST_ROWS])
    return np.concatenate(kept)


def _judged(compared: ComparedColumns, mine: EventRows, content: TableContent) -> tuple[Mask, Mask]:
    """Return which rows of segments have a counterpart in the table, and which of these are not there as they are."""
    named, there = (mine.keys, content.keys) if compared.keys else (mine.stamps, content.stamps)
    judged = counted(named, there) > 0
    if compared.keys:  # of several rows of the same keys the last one counts, whichever that is
        judged &= counted(named, mine.keys) == 1
    return judged, counted(mine.sure, content.sure) == 0
