"""Whether `_txn` is what the table was at last: its other area may be the newer one."""

from collections.abc import Iterable

from console.questdb.table_txn import TableTxn
from console.table.inventory import Index


def set_back(txn: TableTxn, logs: Iterable[tuple[int, Index]]) -> bool:
    """Return whether `_txn` is older than what the table has: its other area is newer, and that was in force before.

    `logs` are, of each log that can be read, its last transaction and those above the applied one whose event is not on
    disk. In force it was where WAL that only the newer state allows to be purged is gone; or, where no log goes so far,
    nothing tells and the newer area is evidence enough not to promise anything. A server that died while it wrote the
    other area leaves all WAL in place, and just applies it again.
    """
    current, other = txn.current, txn.other
    if current is None or other is None or other.applied_txn <= current.applied_txn or other.txn <= current.txn:
        return False
    reaching = [gone for last, gone in logs if last >= other.applied_txn]
    return not reaching or any((gone <= other.applied_txn).any() for gone in reaching)
