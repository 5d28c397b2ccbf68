"""What the station does to sequencer files while no server runs: a long past, and the page that the power loss took.

The formats are those of QuestDB 9.1.0 (TableTransactionLogFile, TableTransactionLogV1, TxWriter), little-endian. This
code writes test damage on purpose and shares nothing with the engine that repairs it.
"""

import struct
from pathlib import Path

import numpy as np

from console.station.layout import StationError
from console.station.tables import POWER_LOSS

_HEADER = 76
RECORD = np.dtype(
    [("structure", "<i8"), ("wal", "<i4"), ("segment", "<i4"), ("segment_txn", "<i4"), ("at", "<i8")]
)  # 28 bytes, packed
_PAGE = 4096
_CHUNK = 1 << 20  # records written at a time
_PER_SEGMENT = 5_000
_WRITERS, _ERAS = 6, 6  # writers at a time, and how often all of them were replaced by new ones
PAST_WALS = _WRITERS * _ERAS
_PAST = 72 * 3600 * 1_000_000  # microseconds that the past covers
_SEQ_TXN, _LAG_CHECKSUM = 80, 88


def whole_size(transactions: int) -> int:
    """Return the bytes of a whole log with that many records: whole pages."""
    return -(-(_HEADER + RECORD.itemsize * transactions) // _PAGE) * _PAGE


def give_past(table_dir: Path, transactions: int) -> None:
    """Make the sequencer of a wholly applied table tell of `transactions` applied transactions.

    The records are filler that looks like a station's: writers that came and went, whose WAL is purged. `_txn` and
    `_wal_index.d` agree with it. Raises StationError where the table is not wholly applied or was altered.
    """
    log = table_dir / "txn_seq" / "_txnlog"
    header = bytearray(log.read_bytes()[:_HEADER])
    version, logged = struct.unpack_from("<iq", header)
    if version != 0 or logged >= transactions:
        raise StationError(
            f"{log} has {logged:,} transactions already, more than the {transactions:,} it should tell of"
        )
    _set_applied(table_dir / "_txn", logged, transactions)
    struct.pack_into("<q", header, 4, transactions)
    with log.open("wb") as stream:
        stream.write(header)
        for begin in range(0, transactions, _CHUNK):
            stream.write(_past(begin, min(begin + _CHUNK, transactions), transactions).tobytes())
        stream.truncate(whole_size(transactions))
    with (table_dir / "txn_seq" / "_wal_index.d").open("r+b") as stream:
        stream.write(struct.pack("<q", PAST_WALS))


def lose_last_page(log: Path) -> int:
    """Cut the last page off `log`, as the power loss did; return how many records are lost with it.

    Raises StationError where the file is not exactly as long as its header says.
    """
    with log.open("r+b") as stream:
        transactions = struct.unpack_from("<q", stream.read(_HEADER), 4)[0]
        size = whole_size(transactions)
        if log.stat().st_size != size:
            raise StationError(
                f"{log} is {log.stat().st_size:,} bytes long, not the {size:,} that its header calls for"
            )
        stream.truncate(size - _PAGE)
    whole_records = (size - _PAGE - _HEADER) // RECORD.itemsize
    return int(transactions - whole_records)


def _past(begin: int, end: int, total: int) -> np.ndarray:
    """Return filler records `begin`..`end` (0-based) of `total`; shape (end - begin,), dtype RECORD."""
    number = np.arange(begin, end, dtype=np.int64)
    records = np.zeros(len(number), RECORD)
    era_length = -(-total // _ERAS)
    era, inside = np.divmod(number, era_length)
    turn = inside // _WRITERS
    records["wal"] = 1 + era * _WRITERS + inside % _WRITERS
    records["segment"] = turn // _PER_SEGMENT
    records["segment_txn"] = turn % _PER_SEGMENT
    records["at"] = POWER_LOSS - _PAST + number * (_PAST - 61_000_000) // total
    return records


def _set_applied(txn: Path, expected: int, seq_txn: int) -> None:
    """Set seqTxn in the current record of `_txn`, and the lag checksum that depends on it."""
    data = bytearray(txn.read_bytes())
    version = struct.unpack_from("<q", data)[0]
    base = struct.unpack_from("<i", data, 8 if version % 2 == 0 else 32)[0]
    own_version = struct.unpack_from("<q", data, base)[0]
    applied, _, lag_txns, lag_rows, lag_min, lag_max = struct.unpack_from("<qiiiqq", data, base + _SEQ_TXN)
    if own_version != version or applied != expected or lag_txns or lag_rows:
        raise StationError(f"{txn} is not that of a wholly applied table: seqTxn {applied:,}, {lag_txns} in the lag")
    checksum = lag_min
    for value in (lag_max, version, seq_txn, lag_rows, lag_txns):
        checksum = (checksum * 31 + value) & 0xFFFFFFFFFFFFFFFF
    struct.pack_into("<q", data, base + _SEQ_TXN, seq_txn)
    struct.pack_into("<I", data, base + _LAG_CHECKSUM, (checksum ^ checksum >> 32) & 0xFFFFFFFF)
    with txn.open("r+b") as stream:
        stream.write(data)
