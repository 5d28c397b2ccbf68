"""Bytes of the sequencer's files for a repair: pure functions, the counterpart of the readers; they write nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.formats.sequencer import LOG_HEADER, WAL_INDEX
from console.questdb.txn_log import PAGE, RECORD, RECORD_V2


def encode_log_header(max_txn: int, created_us: int, *, part_size: int = 0) -> bytes:
    """Return the 76 bytes of a `_txnlog`: V2 where `part_size` (records per part) is given, else V1.

    Raises ValueError for a negative maxTxn or part size.
    """
    if max_txn < 0 or part_size < 0:
        raise ValueError(f"maxTxn {max_txn}, part size {part_size}")
    return LOG_HEADER.pack(version=1 if part_size else 0, max_txn=max_txn, created_us=created_us, part_size=part_size)


def encode_records(records: NDArray[np.void], *, v2: bool = False) -> bytes:
    """Return `records` (any array with the field names of RECORD) as V1 or V2 records, one after another."""
    dtype = RECORD_V2 if v2 else RECORD
    if records.dtype == dtype:
        return records.tobytes()
    encoded: NDArray[Any] = np.zeros(len(records), dtype)
    for name in dtype.names or ():
        if name in (records.dtype.names or ()):
            encoded[name] = records[name]
    return encoded.tobytes()


def encode_wal_index(highest: int) -> bytes:
    """Return the 4,096 bytes of a `_wal_index.d`. Raises ValueError where `highest` is no WAL id."""
    if not 0 <= highest < 1 << 31:
        raise ValueError(f"WAL id {highest}")
    return WAL_INDEX.pack(highest=highest).ljust(PAGE, b"\0")


def encode_event_index(events: NDArray[np.void]) -> bytes:
    """Return the entries of a `_event.i` for all events of a segment: where each begins, then where the last ends.

    Little-endian i64 each. Source: WalEventWriter.appendIndex.
    """
    ends = events["offset"] + events["length"]
    return np.append(events["offset"], ends[-1:]).astype("<i8").tobytes()
