"""Which WAL directories the server's next purge sweep would delete (WalPurgeJob): the clock that a start sets running.

The sweep keeps a `walN` that some record above the purge point names, and of its segments those from the first named
one on; everything else that no lock holds is removed. The purge point is `_txn` seqTxn (not counting the lag), or less
where a materialised view is behind. A server applies what it can before it sweeps, so that counted is from where its
applying stops: what is behind that and that no record names goes. A sequencer that cannot be opened stops the sweep of
its table.
"""

from dataclasses import dataclass

import numpy as np

from console.table.inventory import Inventory, Mask, segment_key
from console.table.log_scan import LogScan
from console.table.unapplied import Unapplied


@dataclass(frozen=True, slots=True)
class PurgeClock:
    """What the next sweep would remove. `stopped` says why it would fail for this table, empty where it would run.

    `wals` go as a whole, `segments` (wal, segment) alone: those with something in them that is needed. `rows` and
    `transactions` are those that wait, or may wait (`sure` is False then), to be applied and would be destroyed;
    unnamed last ones of a writer do not count.
    """

    stopped: str
    wals: tuple[int, ...] = ()
    segments: tuple[tuple[int, int], ...] = ()
    transactions: int = 0
    rows: int = 0
    sure: bool = True

    @property
    def runs(self) -> bool:
        """Return whether a sweep would remove anything that is still needed."""
        return not self.stopped and self.transactions > 0


def purge_clock(
    inventory: Inventory,
    scan: LogScan | None,
    purge_point: int | None,
    stopped: str,
    unapplied: Unapplied,
    *,
    dropped: bool = False,
) -> PurgeClock:
    """Return what the sweep would remove. `stopped` is why it would fail, empty where the sequencer can be opened.

    `dropped` says that the sequencer's `_meta` calls the table dropped: the sweep then keeps none of its WAL.
    """
    if stopped or scan is None or purge_point is None:
        return PurgeClock(stopped or "its log or _txn cannot be read")
    # The server's cursor starts after the purge point and ends at the header's maxTxn; it takes any record's walId.
    point = max(purge_point, scan.reach)
    first: dict[int, int] = {} if dropped else scan.ahead
    wals = [wal for wal in inventory.directories if wal.id not in first]
    segments = [
        (wal.id, segment)
        for wal in inventory.directories
        if wal.id in first
        for segment in wal.segments
        if segment < first[wal.id]
    ]
    doomed = _events_of(inventory, {wal.id for wal in wals}, segments)
    behind = (unapplied.seq_txn == 0) | (unapplied.seq_txn > point)
    needed = doomed & ((unapplied.waiting & (behind | dropped)) | unapplied.unsure)
    losing = {int(wal) for wal in np.unique(inventory.events["wal"][needed])}
    keys = set(np.unique(segment_key(inventory.events["wal"][needed], inventory.events["segment"][needed])).tolist())
    return PurgeClock(
        "",
        tuple(wal.id for wal in wals if wal.id in losing),
        tuple(place for place in segments if int(segment_key(*place)) in keys),
        int(needed.sum()),
        int(inventory.rows[needed].sum()),
        sure=not bool((needed & unapplied.unsure).any()),
    )


def _events_of(inventory: Inventory, wals: set[int], segments: list[tuple[int, int]]) -> Mask:
    events = inventory.events
    keys = np.array([int(segment_key(wal, segment)) for wal, segment in segments], np.int64)
    whole = np.isin(events["wal"], np.array(sorted(wals), np.int64))
    return np.asarray(whole | np.isin(segment_key(events["wal"], events["segment"]), keys))
