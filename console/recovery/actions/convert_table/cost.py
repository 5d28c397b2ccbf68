"""What a conversion of a table would cost, in rows, and what else it would touch. Read-only."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from console.diagnosis.findings.conversion import half_done
from console.diagnosis.findings.txn import txn_set_back
from console.diagnosis.table import TableDiagnosis
from console.questdb.conversion import read_conversion
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.segment import EventType
from console.questdb.table_metadata import TableMetadata
from console.recovery.model import RowsLost
from console.table.unapplied import State
from console.text import plural


@dataclass(frozen=True, slots=True)
class Cost:
    """What the table will not have any more. `others` are transactions without rows; `why` says why it is a bound."""

    rows: RowsLost
    transactions: int
    lag_rows: int
    others: int
    why: str

    @property
    def any(self) -> bool:
        return bool(self.transactions or self.lag_rows)


def cost_of(diagnosis: TableDiagnosis, known: Callable[[], RowsLost | None]) -> Cost:
    """Return what waits in WAL and lag: a conversion sets `_txn` to transaction 0 and drops both.

    `known` tells the unapplied rows where stronger evidence than the logs does; it is asked only where they do not.
    """
    facts, unapplied = diagnosis.facts, diagnosis.unapplied
    area, inventory = facts.txn.current, facts.inventory
    lag = area.lag_rows if area is not None else 0
    open_ = unapplied.waiting | unapplied.unsure
    if half_done(facts.directory):
        return _cost_of_half_done(diagnosis)
    count = int(open_.sum())
    others = int((open_ & (inventory.rows == 0)).sum())
    if facts.unseen or txn_set_back(facts):
        why = f"{facts.unseen[0].place} was not read" if facts.unseen else "_txn is set back"
        return Cost(RowsLost.unknown(), count, lag, others, why)
    cheap = unapplied.rows(inventory)
    rows = known() if cheap is None else RowsLost.exact(cheap)
    if rows is None:
        why = unapplied.why or "an event that waits cannot be decoded"
        decoded = bool((inventory.events["type"][open_] != EventType.UNREADABLE).all())
        bound = RowsLost.at_most(unapplied.bound(inventory) + lag) if decoded else RowsLost.unknown()
        return Cost(bound, count, lag, others, why)
    total = RowsLost.total((rows, RowsLost.exact(lag)))
    metadata = facts.metadata
    replacing = isinstance(metadata, TableMetadata) and metadata.has_dedup
    if total.kind == "exact" and total.value and (replacing or others):
        why = "dedup keys" if replacing else f"{plural(others, 'waiting transaction')} without rows"
        return Cost(RowsLost.at_most(total.value), count, lag, others, f"{why}: some rows might not have stayed")
    return Cost(total, count, lag, others, "" if total.kind == "exact" else "an event that waits cannot be decoded")


def _cost_of_half_done(diagnosis: TableDiagnosis) -> Cost:
    """Return the most that may wait: `_txn` has lost the number, its other area (one commit older) is a lower bound."""
    facts = diagnosis.facts
    other, inventory = facts.txn.other, facts.inventory
    floor = other.seq_txn if other is not None else 0
    scan = facts.sequencer.scan
    open_ = np.ones(len(inventory), np.bool_)
    if scan is not None:
        below = scan.named.event[scan.named.number <= floor]
        open_[below] = False
    open_ &= diagnosis.unapplied.state != State.UNNAMED
    rows = int(inventory.rows[open_].sum())
    others = int((open_ & (inventory.rows == 0)).sum())
    why = f"the conversion set seqTxn to 0; only that {floor:,} transactions or more are applied can still be seen"
    return Cost(RowsLost("bound", rows), int(open_.sum()), 0, others, why)


def other_markers(database: DatabaseRoot, table: TableDirectory) -> tuple[str, ...]:
    """Return the names of the other tables that the next start would convert: any start does, also one for this."""
    return tuple(
        each.name
        for each in database.tables()
        if each.directory != table.directory and read_conversion(each.path).present
    )
