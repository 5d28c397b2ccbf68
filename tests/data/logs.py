"""Whole logs for tests, and a plain check of a log, written from the format's description."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.log_check import LogCheck, LogChecker
from console.questdb.log_encoding import encode_log_header, encode_records
from console.questdb.txn_log import (
    HEADER_SIZE,
    MAX_SEGMENT_ID,
    PAGE,
    RECORD,
    RECORD_SIZE,
    TxnLog,
    expected_v1_size,
)  # fmt: skip

_CHUNK: Final = 1 << 16
Record = tuple[int, int, int, int, int]
"""Structure version, WAL, segment, segment transaction, commit time."""
CHECKED: Final = ("zeroed", "wal_zero", "invalid", "structure_regress", "repeated", "order")
"""What the check of the product tells; the plain one tells more."""
_NEVER_WRITTEN: Final = (*CHECKED, "structure_step", "gap")


def v1_log_chunks(
    max_txn: int, created_us: int, records: Iterator[NDArray[np.void]], *, page: int = PAGE
) -> Iterator[bytes]:
    """Yield the bytes of a whole V1 `_txnlog`, padded to `page`, from its records in order.

    Raises ValueError at the end where there were not exactly `max_txn` of them.
    """
    yield encode_log_header(max_txn, created_us)
    written = 0
    for part in records:
        for at in range(0, len(part), _CHUNK):
            yield encode_records(part[at : at + _CHUNK])
        written += len(part)
    if written != max_txn:
        raise ValueError(f"{written} records for maxTxn {max_txn}")
    yield b"\0" * (expected_v1_size(max_txn, page) - HEADER_SIZE - RECORD_SIZE * max_txn)


def check_log(log: TxnLog, *, first: int = 1, last: int | None = None) -> LogCheck:
    """Check the records `first`..`last` (default: the header's maxTxn) so far as the files hold them."""
    end = (log.max_txn or 0) if last is None else last
    checker = LogChecker()
    checker.feed_from(log, first, end)
    return checker.finish(log.missing_parts(first, end) if log.readable else ())


def odd_records(log: TxnLog) -> dict[str, list[int]]:
    """Return the transactions up to the header's maxTxn whose records no server writes, by kind; plainly checked."""
    records = log.records(1, log.max_txn or 0)
    found = plain_check(records[list(RECORD.names or ())].tolist())
    missing = {"missing": [first for first, _ in log.missing_parts(1, log.max_txn or 0)]}
    return {name: txns for name, txns in (missing | found).items() if txns and name in (*_NEVER_WRITTEN, "missing")}


def plain_check(records: Sequence[Record]) -> dict[str, list[int]]:
    """Return the positions of everything worth telling, one record after another."""
    found: dict[str, list[int]] = {
        name: []
        for name in (
            "zeroed", "wal_zero", "invalid", "dropped", "structure_changes", "structure_regress", "structure_step",
            "time_missing", "time_backwards", "repeated", "order", "gap",
        )
    }  # fmt: skip
    breaks, last_version, last_time = 0, (0, 0), 0
    wals: dict[int, tuple[int, int, int]] = {}
    for txn, (version, wal, segment, segment_txn, time) in enumerate(records, 1):
        data = wal >= 1 and 0 <= segment <= MAX_SEGMENT_ID and segment_txn >= 0
        change = (wal, segment, segment_txn) == (-1, -1, -1)
        dropped = (wal, segment, segment_txn) == (-2, 0, 0)
        if wal == 0:
            found["zeroed" if not any((version, segment, segment_txn, time)) else "wal_zero"].append(txn)
        elif not (data or change or dropped) or (version < 0 and not dropped):
            found["invalid"].append(txn)
        if wal == 0 or txn in found["invalid"]:
            breaks += 1
            found["dropped"] += [txn] if dropped and wal else []
            continue
        if time <= 0:
            found["time_missing"].append(txn)
        elif time < last_time:
            found["time_backwards"].append(txn)
        last_time = time
        if dropped:
            found["dropped"].append(txn)
            continue
        if change:
            found["structure_changes"].append(txn)
        if version < last_version[0]:
            found["structure_regress"].append(txn)
        elif version - last_version[0] != change and last_version[1] == breaks:
            found["structure_step"].append(txn)
        last_version = version, breaks
        if change:
            continue
        before = wals.get(wal, (-1, -1, 0))
        if (segment, segment_txn) == before[:2]:
            found["repeated"].append(txn)
        elif (segment, segment_txn) < before[:2]:
            found["order"].append(txn)
        elif before[2] == breaks and segment_txn != (before[1] + 1 if segment == before[0] else 0):
            found["gap"].append(txn)
        wals[wal] = segment, segment_txn, breaks
    return found
