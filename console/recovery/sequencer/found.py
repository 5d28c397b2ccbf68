"""What is known of a table's events once the applied ones are decided: what a ledger is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from console.recovery.sequencer.applied_prefix import Cuts
from console.recovery.sequencer.structure import LostChanges
from console.table.inventory import Index, Inventory, Mask
from console.table.names import Names
from console.table.torn import Wholeness
from console.table.unseen import Unseen


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a table's events once the applied ones are decided.

    `wholeness` of what is not applied. `out` are left out of the repaired log, `back` are
    the events that it names. `empty` counts places between known records that nothing on disk fills. With `dedup` keys
    a row may have replaced another, or been replaced: then losing it costs no row, or changes one. `covered`: a log
    names every transaction above the applied one, so that what is gone from the disk has its record. `present` rows are
    in the table already. `changes_lost`: structure changes whose content is nowhere on disk. `logged`: a log
    tells of every transaction that was committed; `changes_unseen`: none tells of every structure change.
    `unproven` WALs may be another table's. `contradicted` are those of `back` whose columns have other values than the
    table where both have the same rows.
    """

    inventory: Inventory
    names: Names
    decided: Cuts
    wholeness: Wholeness
    unseen: tuple[Unseen, ...]
    out: Mask
    back: Index
    empty: int
    dedup: bool
    covered: bool
    present: int
    changes_lost: LostChanges | None = None
    logged: bool = False
    changes_unseen: bool = False
    unproven: Mapping[int, str] = field(default_factory=dict)
    contradicted: Index = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def kept(self) -> int:
        """Rows that the table has when all is applied, so far as they are known: what a lost statement may change."""
        return self.present + int(self.inventory.rows[self.back].sum())
