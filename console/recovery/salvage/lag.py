"""Which segment transactions lie in a table's lag: applied by count, yet in no SELECT and lost with the lag.

The server copies rows that are out of order, or few, behind the last partition's rows and counts them in `_txn`
(docs/formats.md) until a later one commits them; their WAL stays until then, since a purge goes by seqTxn alone.
"""

import numpy as np
from numpy.typing import NDArray

from console.diagnosis.table import TableDiagnosis
from console.questdb.txn_log import valid_records
from console.table.unapplied import State

States = NDArray[np.int8]


def with_lag(diagnosis: TableDiagnosis, states: States) -> States:
    """Return `states` with those of the lag distinguished from what is applied for good.

    The log names them. Where no log does, they are the last applied ones: of one WAL certainly, of several any of the
    last of each may be.
    """
    facts = diagnosis.facts
    area = facts.txn.current
    if area is None or not area.lag_rows or not area.lag_txns:
        return states
    inventory, found = facts.inventory, states.copy()
    named = _named(diagnosis, area.seq_txn + 1, area.applied_txn)
    if named is not None:
        found[named] = State.IN_LAG
        return found
    applied = np.flatnonzero((states == State.APPLIED) & (inventory.rows > 0))
    wals = inventory.events["wal"][applied]
    distinct = np.unique(wals)
    for wal in distinct:
        last = applied[wals == wal][-area.lag_txns :]
        found[last] = State.IN_LAG if len(distinct) == 1 else State.UNSURE
    return found


def _named(diagnosis: TableDiagnosis, first: int, last: int) -> NDArray[np.int64] | None:
    """Return the places of the transactions `first`..`last`, as a log, or a copy of one, names them; None for none."""
    facts = diagnosis.facts
    for each in (facts.sequencer, *facts.backups):
        if not each.log.readable or each.log.whole_records < last:
            continue
        try:
            records = each.log.records(first, last)
        except OSError:
            continue
        if len(records) < last - first + 1 or not valid_records(records).all():
            continue
        places = facts.inventory.locate(
            *(records[name].astype(np.int64) for name in ("wal_id", "segment_id", "segment_txn"))
        )
        if (places >= 0).all():
            return places
    return None
