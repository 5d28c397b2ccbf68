"""Which of several copies of one sequencer is the best base for a restore: one decision, for a check and for a plan.

Records of what is not applied count most, then how far the log reaches, then how whole it is:

    A  names 8 of 8 unapplied transactions        best
    B  names 5, its header counts more            its end is lost
    C  as B, and three records are zero
"""

from collections.abc import Iterable
from dataclasses import dataclass

from console.questdb.table_name import SEQUENCER
from console.table.inventory import Inventory
from console.table.log_scan import LogScan


@dataclass(frozen=True, slots=True)
class Worth:
    """What one copy holds, of transactions above the applied one unless it says otherwise.

    `named` counts those with a record whose segment transaction is on disk, and structure changes; `missing` those that
    the header counts without a record; `last` is the last transaction with a record, `below` counts records up to the
    applied one. `useful` is the last transaction that anything on disk can belong to.
    """

    name: str
    max_txn: int
    useful: int
    named: int
    missing: int
    last: int
    below: int

    @property
    def rank(self) -> tuple[int, int, int, int, int, bool, bool, str]:
        """What logs are ordered by: higher is better. Of equals the live one, then the newest name that nobody called
        corrupted."""
        reach = min(self.max_txn, self.useful)
        own, called_good = self.name == SEQUENCER, "corrupt" not in self.name
        return self.named, reach, self.last, -self.missing, self.below, own, called_good, self.name


def worth_of(name: str, scan: LogScan, inventory: Inventory) -> Worth | None:
    """Return what the copy of that name is worth as the base of a restore, None if it ends below what is applied.

    Where it ends its header says, or a record behind that.
    """
    above = scan.above
    last = above.last() or 0
    if max(scan.max_txn, scan.recorded.last() or 0) < scan.applied:
        return None
    return Worth(
        name=name,
        max_txn=scan.max_txn,
        useful=scan.applied + len(inventory),
        named=len(above) - len(scan.lost),
        missing=scan.bad,
        last=max(scan.named_below, last),
        below=scan.named_below,
    )


def best_copy(copies: Iterable[Worth]) -> str | None:
    best = max(copies, key=lambda copy: copy.rank, default=None)
    return best.name if best is not None else None
