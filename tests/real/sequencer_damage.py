"""Damages to a sequencer, as power losses and responders make them; each says by which action it is to be repaired."""

import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console.questdb.segment import EventType, read_segment
from tests.real.generated_tables import applied_txn, log_records

BACKUP = "txn_seq.backup.20251110_032030"
OLDER = "txn_seq.corrupted.20251110_032025"


@dataclass(frozen=True, slots=True)
class Damage:
    """`strike` changes the table's directory; `action` is the repair to be tried, `second` another for the same."""

    name: str
    action: str
    strike: Callable[[Path, random.Random], None]


def tear(table: Path, rng: random.Random) -> list[int]:
    """Zero the timestamps of one transaction that waits, as pages that never reached the disk.

    Return the timestamps (µs) that it had; nothing where no transaction with rows waits.
    """
    waiting = log_records(table)[1][applied_txn(table) :]
    rng.shuffle(waiting)
    for _, wal, segment_id, txn in waiting:
        if wal < 1:
            continue
        segment = table / f"wal{wal}" / str(segment_id)
        event = read_segment(segment).events[txn]
        start, stop = int(event["start_row"]), int(event["end_row"])
        if event["type"] == EventType.DATA and stop > start:
            with (segment / "ts.d").open("r+b") as stream:
                stream.seek(16 * start)
                had = np.frombuffer(stream.read(16 * (stop - start)), "<i8")[::2].tolist()
                stream.seek(16 * start)
                stream.write(bytes(16 * (stop - start)))
            return [int(ts) for ts in had]
    return []


def _log(table: Path) -> Path:
    return table / "txn_seq" / "_txnlog"


def _backup(table: Path, name: str = BACKUP) -> Path:
    shutil.copytree(table / "txn_seq", table / name)
    return table / name


def _set_max(log: Path, value: int) -> None:
    data = bytearray(log.read_bytes())
    struct.pack_into("<q", data, 4, value)
    log.write_bytes(data)


def _record_place(sequencer: Path, txn: int) -> tuple[Path, int, int]:
    """Return file, offset and size of a record."""
    head = (sequencer / "_txnlog").read_bytes()[:24]
    if struct.unpack_from("<i", head)[0] == 0:
        return sequencer / "_txnlog", 76 + 28 * (txn - 1), 28
    (size,) = struct.unpack_from("<i", head, 20)
    return sequencer / "_txn_parts" / str((txn - 1) // size), 60 * ((txn - 1) % size), 60


def _zero_records(sequencer: Path, first: int, last: int) -> None:
    for txn in range(first, last + 1):
        path, offset, size = _record_place(sequencer, txn)
        if not path.exists():  # its part is purged
            continue
        data = bytearray(path.read_bytes())
        data[offset : offset + size] = bytes(size)
        path.write_bytes(data)


def _cut(sequencer: Path, keep: int) -> None:
    """Cut the log behind record `keep`, as lost pages do; the header stays."""
    top = len(log_records(sequencer.parent)[1]) if sequencer.name == "txn_seq" else _top(sequencer)
    path, offset, _ = _record_place(sequencer, keep + 1)
    if path.name == "_txnlog":
        with path.open("r+b") as stream:
            stream.truncate(offset)
        return
    _zero_records(sequencer, keep + 1, top)


def _top(sequencer: Path) -> int:
    return int(struct.unpack_from("<q", (sequencer / "_txnlog").read_bytes(), 4)[0])


def _somewhere(table: Path, rng: random.Random) -> int:
    """Return a transaction from a little before the applied one to the last."""
    return rng.randint(max(0, applied_txn(table) - 2), len(log_records(table)[1]))


def removed_with_backup(table: Path, rng: random.Random) -> None:
    """The directory removed; a whole backup in the table."""
    del rng
    _backup(table)
    shutil.rmtree(table / "txn_seq")


def removed_bare(table: Path, rng: random.Random) -> None:
    """The directory removed, no backup anywhere."""
    del rng
    shutil.rmtree(table / "txn_seq")


def removed_short_backup(table: Path, rng: random.Random) -> None:
    """The incident: the log ends before its header says, was copied so, and the directory removed."""
    _cut(table / "txn_seq", _somewhere(table, rng))
    _backup(table)
    shutil.rmtree(table / "txn_seq")


def removed_two_backups(table: Path, rng: random.Random) -> None:
    """Two backups: the one with the earlier name is whole, the other one was made after a page was lost."""
    _backup(table, OLDER)
    _cut(table / "txn_seq", _somewhere(table, rng))
    _backup(table)
    if rng.random() < 0.5:
        (table / OLDER).rename(table / "swap")
        (table / BACKUP).rename(table / OLDER)
        (table / "swap").rename(table / BACKUP)
    shutil.rmtree(table / "txn_seq")


def log_removed(table: Path, rng: random.Random) -> None:
    """Only the log removed, and the server started since: an empty file."""
    _log(table).unlink()
    if rng.random() < 0.5:
        _log(table).touch()


def header_past_end(table: Path, rng: random.Random) -> None:
    """The header counts more than there ever was."""
    _set_max(_log(table), _top(table / "txn_seq") + rng.choice((1, 5, 500, 50_000_000)))


def header_stale(table: Path, rng: random.Random) -> None:
    """The header counts less than there are; perhaps less than applied."""
    _set_max(_log(table), rng.randint(0, _top(table / "txn_seq")))


def header_zeroed(table: Path, rng: random.Random) -> None:
    """The header's page of a V1 log was lost, or the whole header."""
    del rng
    data = bytearray(_log(table).read_bytes())
    data[:76] = bytes(76)
    _log(table).write_bytes(data)


def records_zeroed(table: Path, rng: random.Random) -> None:
    """A run of records is zero, applied or not."""
    top = _top(table / "txn_seq")
    if top:
        first = min(top, max(1, _somewhere(table, rng)))
        _zero_records(table / "txn_seq", first, min(top, first + rng.randint(0, 3)))


def tail_cut(table: Path, rng: random.Random) -> None:
    """The end of the log in place is lost."""
    _cut(table / "txn_seq", _somewhere(table, rng))


def wal_index_lost(table: Path, rng: random.Random) -> None:
    """The index is gone, or lower than the WALs."""
    path = table / "txn_seq" / "_wal_index.d"
    if rng.random() < 0.5:
        path.unlink()
    else:
        path.write_bytes(bytes(4096))


DAMAGES = (
    Damage("removed with backup", "restore-sequencer", removed_with_backup),
    Damage("removed with backup, rebuilt", "rebuild-sequencer", removed_with_backup),
    Damage("removed, nothing left", "rebuild-sequencer", removed_bare),
    Damage("removed, nothing left (again)", "rebuild-sequencer", removed_bare),
    Damage("removed, backup short", "restore-sequencer", removed_short_backup),
    Damage("removed, two backups", "restore-sequencer", removed_two_backups),
    Damage("log removed", "rebuild-sequencer", log_removed),
    Damage("header past the end", "repair-log", header_past_end),
    Damage("header stale", "repair-log", header_stale),
    Damage("header zeroed", "repair-log", header_zeroed),
    Damage("records zeroed", "repair-log", records_zeroed),
    Damage("tail cut", "repair-log", tail_cut),
    Damage("wal index lost", "raise-wal-index", wal_index_lost),
)


def applied_records_zeroed(table: Path, rng: random.Random) -> None:
    """Records that were applied long ago are zero: nothing reads them any more."""
    last = applied_txn(table) - 1
    first = rng.randint(1, last)
    _zero_records(table / "txn_seq", first, min(last, first + rng.randint(0, 3)))


def header_counts_fewer(table: Path, rng: random.Random) -> None:
    """The header counts all that is applied, and not all that waits: the server shows what it counts."""
    _set_max(_log(table), rng.randint(applied_txn(table), _top(table / "txn_seq")))


def values_zeroed(table: Path, rng: random.Random) -> None:
    """The prices of a transaction that waits never reached the disk: its rows are there, with zeros."""
    for _, wal, segment_id, txn in rng.sample(waiting := log_records(table)[1][applied_txn(table) :], len(waiting)):
        segment = table / f"wal{wal}" / str(segment_id)
        if wal >= 1 and (event := read_segment(segment).events[txn])["type"] == EventType.DATA:
            with (segment / "px.d").open("r+b") as stream:
                stream.seek(8 * int(event["start_row"]))
                stream.write(bytes(8 * int(event["end_row"] - event["start_row"])))
            return


READABLE = (applied_records_zeroed, header_counts_fewer, wal_index_lost, values_zeroed)
"""Damages under which the server reads and applies what it counts, as if nothing were wrong."""
