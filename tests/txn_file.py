"""`_txn` read, and changed as a server would: its lag checksum covers seqTxn."""

from dataclasses import replace
from pathlib import Path

from console.questdb.formats.table import TXN_RECORD
from console.questdb.table_txn import TxnArea, read_table_txn


def area_of(table: Path) -> TxnArea:
    """Return the record of `_txn` in force."""
    area = read_table_txn(table).current
    assert area is not None
    return area


def put_seq_txn(table: Path, seq_txn: int, area: TxnArea | None = None) -> None:
    """Set seqTxn in an area of `_txn`, the one in force if none is given, and the checksum that goes with it."""
    area = area or area_of(table)
    record = {"seq_txn": seq_txn, "lag_checksum": replace(area, seq_txn=seq_txn).lag_checksum_expected()}
    with (table / "_txn").open("r+b") as file:
        data = bytearray(file.read())
        TXN_RECORD.put(data, area.base, **record)
        file.seek(0)
        file.write(data)
