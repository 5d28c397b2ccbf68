"""Names of symbols that `.c` no longer has: from the WAL's events that are applied, from links, from copies.

A name is taken only if the index of the map, which is whole then, leaves it one key; or if it stands at that key in a
copy of the same table that was not truncated since.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from console.diagnosis.model import Code
from console.diagnosis.table import examine_table
from console.questdb.layout import TableDirectory
from console.questdb.reading import DamageError, Problem
from console.questdb.segment import EventType
from console.questdb.segment_details import read_symbols
from console.questdb.table_metadata import TableColumn
from console.questdb.table_name import SEQUENCER
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from console.recovery.evidence.index import EvidenceIndex
from console.recovery.guard.copies import copies_of
from console.recovery.table_repair.symbol_map import SymbolMap, hashes_of, mask_of, read_symbol_map
from console.table.log_life import forked
from console.table.unapplied import State


def names_of_wal(table: TableDirectory, column: TableColumn, known: SymbolMap) -> dict[int, bytes]:
    """Return names by key that events of applied transactions brought; none without a whole index of the map."""
    if known.buckets is None or not known.capacity or table.wal is False:
        return {}
    brought = {name: clean for name, clean in _brought(table, column) if name not in set(known.names)}
    names = list(brought)
    hashes = (hashes_of(names) & mask_of(known.capacity)).tolist()
    by_hash: defaultdict[int, list[bytes]] = defaultdict(list)
    for name, each in zip(names, hashes, strict=True):
        by_hash[each].append(name)
    open_: defaultdict[int, list[int]] = defaultdict(list)
    for key in known.unknown:
        open_[int(known.buckets[key])].append(key)
    return {
        open_[each][0]: candidates[0]
        for each, candidates in by_hash.items()
        if len(candidates) == 1 and len(open_[each]) == 1 and open_[each][0] >= brought[candidates[0]]
    }


def names_of_copies(
    table: TableDirectory, column: TableColumn, known: SymbolMap, name_txn: int, evidence: EvidenceIndex
) -> dict[int, bytes]:
    """Return names by key that copies have, the guard's or the evidence's, the newest first.

    Each is of the same table, not truncated since, and at odds with no name known here or in a newer copy.
    """
    now = read_table_txn(table.path).current
    found: dict[int, bytes] = {}
    newer: dict[int, bytes] = {}
    for folder, proven in _copies(table, evidence):
        then = read_table_txn(folder).current
        if now is None or then is None or then.truncate_version != now.truncate_version or then.txn > now.txn:
            continue
        try:
            copy = read_symbol_map(folder, column.raw_name, known.count, name_txn, known.capacity)
        except (DamageError, OSError):
            continue
        held = {key: name for key, name in enumerate(copy.names) if name is not None}
        if any(newer.get(key, name) != name for key, name in held.items()):
            continue
        if _agrees(copy, known) or (_nothing_of(known) and (proven or copy.buckets is not None)):
            newer = {**held, **newer}
            found = {**{key: held[key] for key in known.unknown if key in held}, **found}
            if len(found) == len(known.unknown):
                break
    return found


def _copies(table: TableDirectory, evidence: EvidenceIndex) -> Iterator[tuple[Path, bool]]:
    """Yield where copies of the table lie, and whether their files are those that were taken, by their digests."""
    yield from ((copy.folder, True) for copy in copies_of(table) if copy.symbols_whole)
    for capture in reversed(evidence.captures()):
        folder = capture.folder / "db" / table.directory
        if table.directory in capture.stamps and forked(table, read_log(folder / SEQUENCER), folder) is None:
            yield folder, False


def names_of_links(table: TableDirectory, column: TableColumn, known: SymbolMap) -> dict[int, bytes]:
    """Return names by key that a WAL directory still has: its symbol files are links to the table's own.

    A link keeps the names when the table's file is gone. If nothing of the table's map is known, a TRUNCATE or a WAL of
    another table would not be noticed: then only a table without either is trusted.
    """
    if table.wal is False:
        return {}
    found = examine_table(table)
    current = found.facts.txn.current
    foreign = any(finding.code is Code.WAL_FOREIGN for finding in found.findings)
    plain = current is not None and not current.truncate_version and not foreign
    for wal in reversed(table.wals()):
        try:
            copy = read_symbol_map(wal.path, column.raw_name, known.count, -1, known.capacity)
        except (DamageError, OSError):
            continue
        named = {key: name for key in known.unknown if (name := copy.names[key]) is not None}
        # With an index of its own a link proves its names; without one its values may be of any age.
        if named and (_agrees(copy, known) if not _nothing_of(known) else plain and copy.buckets is not None):
            return named
    return {}


def _nothing_of(known: SymbolMap) -> bool:
    return known.buckets is None and all(name is None for name in known.names)


def _agrees(copy: SymbolMap, known: SymbolMap) -> bool:
    """Return whether a copy contradicts nothing that is known: no name, and no hash."""
    for key, name in enumerate(copy.names):
        ours = known.names[key]
        if name is not None and ours is not None and name != ours:
            return False
    if known.buckets is None or not known.capacity:
        return any(name is not None and name == known.names[key] for key, name in enumerate(copy.names))
    named = [(key, name) for key, name in enumerate(copy.names) if name is not None]
    hashes = hashes_of([name for _, name in named]) & mask_of(known.capacity)
    return bool(named) and bool(np.all(hashes == known.buckets[[key for key, _ in named]]))


def _brought(table: TableDirectory, column: TableColumn) -> Iterator[tuple[bytes, int]]:
    """Yield each name that an applied event brought, and how many symbols the table had at least before it.

    A TRUNCATE empties a symbol map: only what came after the last one counts, and nothing if one cannot be placed.
    """
    found = examine_table(table)
    inventory, seq_txn = found.facts.inventory, found.unapplied.seq_txn
    applied = found.unapplied.state == State.APPLIED
    truncated = applied & (inventory.events["type"] == EventType.TRUNCATE)
    current = found.facts.txn.current
    if current is None or current.truncate_version > int(truncated.sum()) or (seq_txn[truncated] == 0).any():
        return
    if truncated.any():
        applied &= seq_txn > int(seq_txn[truncated].max())
    sure = {tuple(event) for event in inventory.events[applied][["wal", "segment", "txn"]].tolist()}
    for (wal, number), segment in inventory.segments.items():
        diffs = read_symbols(segment)
        if isinstance(diffs, Problem):
            continue
        for txn, each in diffs.items():
            if (wal, number, txn) in sure:
                for diff in each:
                    if diff.column == column.index:
                        names = (value for value in diff.values if value is not None)
                        yield from ((name.encode("utf-16-le", "surrogatepass"), diff.clean_count) for name in names)
