"""Which segment transactions are applied where logs alone do not tell: decided as the repairs of a sequencer decide it.

The rows themselves are then compared with the table's, which takes a while: asked only where the diagnosis is unsure.
"""

import numpy as np
from numpy.typing import NDArray

from console.questdb.layout import TableDirectory
from console.recovery.sequencer.disk import TableUnreadableError, read_sources, read_table
from console.recovery.sequencer.reconstruction import reconstruct
from console.settings import Settings
from console.table.inventory import Inventory
from console.table.unapplied import State


def decided_states(
    directory: TableDirectory, inventory: Inventory, states: NDArray[np.int8], settings: Settings
) -> tuple[NDArray[np.int8], str]:
    """Return `states` with every UNSURE one settled, and what settled it; as they were, and why not, where nothing can.

    Torn transactions count as waiting: their rows are not in the table.
    """
    try:
        table = read_table(directory)
    except TableUnreadableError as error:
        return states, str(error)
    target = reconstruct(table, None, read_sources(table), settings)
    if target.refusals:
        return states, target.refusals[0].reason
    waiting = np.zeros(len(table.inventory), np.bool_)
    waiting[target.unapplied[target.unapplied >= 0]] = True
    waiting |= target.left_out
    events = table.inventory.events[waiting]
    places = inventory.locate(events["wal"], events["segment"], events["txn"])
    unsure = states == State.UNSURE
    settled = np.where(unsure, State.APPLIED, states).astype(np.int8)
    settled[places[unsure[places]]] = State.WAITING
    return settled, "told by " + ", then ".join(target.evidence) if target.evidence else ""
