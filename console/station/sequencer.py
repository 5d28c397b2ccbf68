"""What the station does to sequencer files while no server runs: a long past, and the page that the power loss took.

This code writes test damage on purpose. It shares the field tables with the engine that repairs it, and no decision.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from console.questdb.fields import Fields
from console.questdb.formats.sequencer import LOG_HEADER, LOG_RECORD, WAL_INDEX
from console.questdb.formats.table import TXN_RECORD
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import PAGE, expected_v1_size
from console.station.layout import StationError
from console.station.tables import POWER_LOSS

_CHUNK = 1 << 20  # records written at a time
_PER_SEGMENT = 5_000
_WRITERS, _ERAS = 6, 6  # writers at a time, and how often all of them were replaced by new ones
PAST_WALS = _WRITERS * _ERAS
_PAST = 72 * 3600 * 1_000_000  # microseconds that the past covers


def give_past(table_dir: Path, transactions: int) -> None:
    """Make the sequencer of a wholly applied table tell of `transactions` applied transactions.

    The records are filler that looks like a station's: writers that came and went, whose WAL is purged. `_txn` and
    `_wal_index.d` agree with it. Raises StationError where the table is not wholly applied or was altered.
    """
    log = table_dir / "txn_seq" / "_txnlog"
    header = bytearray(log.read_bytes()[: LOG_HEADER.size])
    found = LOG_HEADER.read(Fields(bytes(header)))
    logged = found["max_txn"]
    if found["version"] != 0 or logged >= transactions:
        raise StationError(f"{log} has {logged:,} transactions already, more than the {transactions:,} wanted")
    _set_applied(table_dir / "_txn", logged, transactions)
    LOG_HEADER.put(header, 0, max_txn=transactions)
    with log.open("wb") as stream:
        stream.write(header)
        for begin in range(0, transactions, _CHUNK):
            stream.write(_past(begin, min(begin + _CHUNK, transactions), transactions).tobytes())
        stream.truncate(expected_v1_size(transactions))
    with (table_dir / "txn_seq" / "_wal_index.d").open("r+b") as stream:
        stream.write(WAL_INDEX.pack(highest=PAST_WALS))


def lose_last_page(log: Path) -> int:
    """Cut the last page off `log`, as the power loss did; return how many records are lost with it.

    Raises StationError where the file is not exactly as long as its header says.
    """
    with log.open("r+b") as stream:
        transactions = LOG_HEADER.value("max_txn", Fields(stream.read(LOG_HEADER.size)))
        size = expected_v1_size(transactions)
        if log.stat().st_size != size:
            raise StationError(
                f"{log} is {log.stat().st_size:,} bytes long, not the {size:,} that its header calls for"
            )
        stream.truncate(size - PAGE)
    return transactions - (size - PAGE - LOG_HEADER.size) // LOG_RECORD.size


def _past(begin: int, end: int, total: int) -> np.ndarray:
    """Return filler records `begin`..`end` (0-based) of `total`; shape (end - begin,), dtype of LOG_RECORD."""
    number = np.arange(begin, end, dtype=np.int64)
    records = np.zeros(len(number), LOG_RECORD.dtype)
    era_length = -(-total // _ERAS)
    era, inside = np.divmod(number, era_length)
    turn = inside // _WRITERS
    records["wal_id"] = 1 + era * _WRITERS + inside % _WRITERS
    records["segment_id"] = turn // _PER_SEGMENT
    records["segment_txn"] = turn % _PER_SEGMENT
    records["commit_us"] = POWER_LOSS - _PAST + number * (_PAST - 61_000_000) // total
    return records


def _set_applied(txn: Path, expected: int, seq_txn: int) -> None:
    """Set seqTxn in the current record of `_txn`, and the lag checksum that depends on it."""
    data, area = bytearray(txn.read_bytes()), read_table_txn(txn.parent).current
    if area is None or area.applied_txn != expected or area.lag_txn_raw or area.lag_rows:
        raise StationError(f"{txn} is not that of a wholly applied table with {expected:,} transactions")
    checksum = replace(area, seq_txn=seq_txn).lag_checksum_expected()
    TXN_RECORD.put(data, area.base, seq_txn=seq_txn, lag_checksum=checksum)
    with txn.open("r+b") as stream:
        stream.write(data)
