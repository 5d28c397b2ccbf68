"""Rows of events in a table with dedup keys, where a later row replaces an earlier one of the same keys."""

import numpy as np

from console.questdb.row_hashes import Hashes
from console.recovery.sequencer.event_rows import EventRows
from console.recovery.sequencer.multisets import counted
from console.recovery.sequencer.table_content import TableContent
from console.table.inventory import Index, Mask


def crossed_keys(wal: Index, keys: Hashes, values: Hashes, *, equal_too: bool = False) -> Hashes:
    """Return the keys that rows of different WALs have with other values, so that their order matters.

    `equal_too`: also those whose rows seem equal (they may differ in columns that the table does not have yet).
    """
    order = np.lexsort((wal, keys))
    keys, values, wal = keys[order], values[order], wal[order]
    same = keys[1:] == keys[:-1]
    several = np.unique(keys[1:][same & (wal[1:] != wal[:-1])])
    if equal_too:
        return several
    by_value = np.unique(np.stack((keys, values)), axis=1)[0]
    distinct, counts = np.unique(by_value, return_counts=True)
    return several[np.isin(several, distinct[counts > 1])]


def same_either_way(rows: EventRows, wal: Index, open_events: Mask, crossed: Hashes, content: TableContent) -> Mask:
    """Return which of the `open_events` leave the table as it is, if all of them in a WAL are applied (again).

    Then they may count as applied: if they are not, their rows are in the table all the same. For each key the last row
    of the WAL (`wal`, of each event) must be the table's one, and the key none of the `crossed` ones.
    """
    mine = open_events[rows.event]
    keys, values, event = rows.keys[mine], rows.values[mine], rows.event[mine]
    order = np.lexsort((np.arange(len(keys)), wal[event], keys))
    ranked, ranked_wal = keys[order], wal[event][order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (ranked[1:] != ranked[:-1]) | (ranked_wal[1:] != ranked_wal[:-1])
    final = np.zeros(len(keys), np.bool_)
    final[order[last]] = True
    fits = ~final | ((counted(keys, content.keys) == 1) & (counted(values, content.values) == 1))
    fits &= ~np.isin(keys, crossed)
    return np.asarray(open_events & (np.bincount(event, ~fits, len(open_events)) == 0))
