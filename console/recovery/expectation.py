"""What a table must hold once everything logged has been applied: known from disk before a server is started."""

from console.questdb.layout import TableDirectory
from console.questdb.table_txn import read_table_txn


def applied_of(table: TableDirectory) -> int | None:
    """Return the last applied transaction: `_txn` seqTxn plus lag transactions (FORMATS §6). None where unreadable."""
    current = read_table_txn(table.path).current
    return None if current is None else current.applied_txn
