"""What a table's WAL holds besides rows: UPDATE, ALTER and TRUNCATE, with their seqTxn, for whoever plays rows back.

The structure changes (ADD COLUMN …) are in the sequencer's log, the others in the segments. The seqTxn is the log's;
without a log that can be read it is not known (None).
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.layout import wal_directories
from console.questdb.reading import Problem
from console.questdb.segment import EventType
from console.questdb.segment_details import read_statement
from console.questdb.structure_log import read_structure_log
from console.questdb.table_name import SEQUENCER
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import STRUCTURE_CHANGE, TxnLog, as_v2, read_log
from console.table.inventory import Inventory, read_inventory
from console.text import clean

MOST: Final = 10_000
"""Most statements that a manifest lists."""
_LONGEST: Final = 10_000
_KINDS: Final = (EventType.SQL, EventType.TRUNCATE)


def statements_in(directory: Path) -> list[dict[str, Any]]:
    """Return the statements in the WAL of a directory: of a table, or where `walN` of one were copied to; at most
    `MOST`, in order of their seqTxn, those without one at the end.

    Keys: `seq_txn`, `kind` (`sql`, `truncate`, `structure`), `sql` (in words for a structure change), and `wal`,
    `segment`, `transaction` of one in a segment; `applied` is None if it is not known.
    """
    inventory = read_inventory(wal_directories(directory))
    area = read_table_txn(directory).current
    applied = area.applied_txn if area is not None else None
    structure = read_structure_log(directory / SEQUENCER)
    places = np.flatnonzero(np.isin(inventory.events["type"], _KINDS))[:MOST]
    numbers, changes = _numbered(read_log(directory / SEQUENCER), inventory, places)
    found = [_statement(inventory, int(place), numbers.get(int(place)), applied) for place in places]
    for seq_txn, version in changes:
        change = structure.change(version)
        said = change.what if isinstance(change, Problem) else change.summary
        found.append(
            {"seq_txn": seq_txn, "kind": "structure", "sql": clean(said)[:_LONGEST], "structure_version": version,
             "applied": _applied(seq_txn, applied)}
        )  # fmt: skip
    return sorted(found, key=lambda each: (each["seq_txn"] is None, each["seq_txn"] or 0))[:MOST]


def _statement(inventory: Inventory, place: int, seq_txn: int | None, applied: int | None) -> dict[str, Any]:
    event = inventory.events[place]
    wal, segment, txn = int(event["wal"]), int(event["segment"]), int(event["txn"])
    kind, sql = "truncate", "TRUNCATE TABLE"
    if int(event["type"]) == EventType.SQL:
        text = read_statement(inventory.segments[wal, segment], txn)
        kind, sql = "sql", "" if isinstance(text, Problem) else clean(text)[:_LONGEST]
    return {
        "seq_txn": seq_txn, "kind": kind, "sql": sql, "wal": wal, "segment": segment, "transaction": txn,
        "applied": _applied(seq_txn, applied),
    }  # fmt: skip


def _applied(seq_txn: int | None, applied: int | None) -> bool | None:
    return None if seq_txn is None or applied is None else seq_txn <= applied


def _numbered(
    log: TxnLog, inventory: Inventory, places: NDArray[np.int64]
) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """Return the seqTxn by place of an event, and (seqTxn, structure version) of each structure change in the log."""
    numbers: dict[int, int] = {}
    changes: list[tuple[int, int]] = []
    try:
        for first, chunk in log.chunks():
            records = as_v2(chunk)
            wal = records["wal_id"].astype(np.int64)
            own = np.flatnonzero(wal == STRUCTURE_CHANGE)[: MOST - len(changes)]
            changes += [(first + int(at), int(records["structure_version"][at])) for at in own]
            if not len(places):
                continue
            found = inventory.locate(
                wal, records["segment_id"].astype(np.int64), records["segment_txn"].astype(np.int64)
            )
            named = np.flatnonzero(np.isin(found, places))
            numbers.update((int(found[at]), first + int(at)) for at in named)
    except OSError:
        return numbers, changes
    return numbers, changes
