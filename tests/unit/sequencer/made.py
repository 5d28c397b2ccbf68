"""Inventories, logs and names made by hand, for tests of pure decisions."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.log_encoding import encode_log_header, encode_records
from console.questdb.segment import EventType
from console.questdb.txn_log import RECORD_V2, read_log
from console.table.inventory import EVENT, Inventory
from console.table.log_scan import LogScan, scan_log
from console.table.names import Names, put_together

Address = tuple[int, int, int]


def inventory(*addresses: Address, rows: int = 10, structure: int = 0, kind: int = EventType.DATA) -> Inventory:
    """Return an inventory with one data event of `rows` rows at each (wal, segment, txn)."""
    events = np.zeros(len(addresses), EVENT)
    for at, (wal, segment, txn) in enumerate(addresses):
        events[at]["wal"], events[at]["segment"], events[at]["txn"] = wal, segment, txn
        events[at]["start"], events[at]["end"] = rows * txn, rows * (txn + 1)
        events[at]["min_ts"] = events[at]["max_ts"] = 1000 * at
    events["type"], events["structure"], events["opens"] = kind, structure, True
    return Inventory.of(events)


def record(address: Address | None, structure: int = 0, commit_us: int = 7, rows: int = 0) -> NDArray[Any]:
    """Return one record; None makes a structure change to version `structure`."""
    made = np.zeros(1, RECORD_V2)
    wal, segment, txn = address if address is not None else (-1, -1, -1)
    made["structure_version"], made["commit_us"], made["row_count"] = structure, commit_us, rows
    made["wal_id"], made["segment_id"], made["segment_txn"] = wal, segment, txn
    return made


def written_log(
    folder: Path, records: Sequence[NDArray[Any]], *, max_txn: int | None = None, part_size: int = 0, pad: int = 0
) -> Path:
    """Write a log of `records` (zeros: an empty one) into `folder` and return it. `pad`: zero bytes behind them."""
    folder.mkdir(parents=True, exist_ok=True)
    joined = np.concatenate(records) if records else np.zeros(0, RECORD_V2)
    top = len(joined) if max_txn is None else max_txn
    header = encode_log_header(max(0, top), 1, part_size=part_size)
    header = header[:4] + struct.pack("<q", top) + header[12:]
    if not part_size:
        (folder / "_txnlog").write_bytes(header + encode_records(joined) + bytes(pad))
        return folder
    (folder / "_txnlog").write_bytes(header)
    (folder / "_txn_parts").mkdir()
    for part in range(-(-len(joined) // part_size)):
        content = encode_records(joined[part * part_size : (part + 1) * part_size], v2=True)
        (folder / "_txn_parts" / str(part)).write_bytes(content.ljust(60 * part_size, b"\0"))
    return folder


def scanned(folder: Path, of: Inventory, applied: int) -> LogScan:
    """Return the scan of the log in `folder`, which must be readable."""
    found = scan_log(read_log(folder), of, applied, dedup=False)
    assert found is not None
    return found


def named(of: Inventory, applied: int, *scans: LogScan) -> Names:
    """Return what `scans` say together."""
    return put_together(of, applied, [(f"log {at}", scan) for at, scan in enumerate(scans)])
