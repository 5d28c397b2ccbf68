"""Damages whose loss is hard to count: each strikes one table, whose rows the undamaged twin then tells."""

import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.segment import read_segment
from tests.real.generated_tables import applied_txn, log_records

ROWS: Final = 10
"""Rows of one transaction."""
BACKUP: Final = "txn_seq.backup.20251110_032030"


@dataclass(frozen=True, slots=True)
class Case:
    """One table: what is in it, what happens to it, which action is planned.

    `lost` are the rows that the twin has and the repaired table may lack at most; None: the plan must be refused.
    `back` is the least that must come back.
    """

    name: str
    strike: Callable[[Path], None]
    lost: int | None
    action: str = "rebuild-sequencer"
    back: int = 0
    writers: int = 1
    applied: int = 3
    pending: int = 5
    rows: int = ROWS
    dedup: bool = False
    update_at: int | None = None  # this pending round is an UPDATE


def no_log(table: Path) -> None:
    """Remove the sequencer: nothing tells what was applied but segments and rows."""
    shutil.rmtree(table / "txn_seq")


def segment_of(table: Path, wal: int = 1) -> Path:
    """Return the last segment of a WAL."""
    return max((p for p in (table / f"wal{wal}").iterdir() if p.is_dir()), key=lambda p: int(p.name))


def write(path: Path, at: int, data: bytes) -> None:
    """Write bytes over what is there."""
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def offset(table: Path, txn: int, wal: int = 1) -> int:
    """Return where an event begins."""
    return int(read_segment(segment_of(table, wal)).events["offset"][txn])


def event_cut(table: Path, *, txn: int, inside: bool, wal: int = 2, keep: bool = False, backup: bool = False) -> None:
    """Cut `_event` at the record `txn`, or inside it."""
    segment = segment_of(table, wal)
    at = offset(table, txn, wal) + (20 if inside else 0)
    with (segment / "_event").open("r+b") as stream:
        stream.truncate(at)
    if backup:
        shutil.copytree(table / "txn_seq", table / BACKUP)
    if not keep:
        no_log(table)


def type_unknown(table: Path, *txns: int) -> None:
    """The type byte of events is none that there is."""
    for txn in txns:
        write(segment_of(table) / "_event", offset(table, txn) + 12, b"\x7b")
    no_log(table)


def length_zero(table: Path, txn: int) -> None:
    """The length of an event is zero: the chain of records breaks."""
    write(segment_of(table) / "_event", offset(table, txn), bytes(4))
    no_log(table)


def index_zero(table: Path, *, first: int = 0, keep: int = 0, log: bool = False) -> None:
    """The entries of `_event.i` from `first` on are zeros, or the file ends there (`keep`)."""
    path = segment_of(table) / "_event.i"
    size = path.stat().st_size
    if keep:
        path.write_bytes(path.read_bytes()[: 8 * keep])
    else:
        write(path, 8 * first, bytes(size - 8 * first))
    if not log:
        no_log(table)


def rows_wrong(table: Path, txn: int, end: int) -> None:
    """An event says that its rows end elsewhere than the next one begins."""
    write(segment_of(table) / "_event", offset(table, txn) + 21, struct.pack("<q", end))
    no_log(table)


def header_says(table: Path, last: int, *, keep: bool = False) -> None:
    """The header of `_event` names another last transaction than its records do."""
    write(segment_of(table) / "_event", 0, struct.pack("<i", last))
    if not keep:
        no_log(table)


def index_and_record_gone(table: Path, txn: int) -> None:
    """The header is behind, and the records that it does not count are zeros: only `_event.i` still counts them."""
    segment = segment_of(table)
    at = offset(table, txn + 1)
    size = (segment / "_event").stat().st_size
    write(segment / "_event", at, bytes(size - at))
    header_says(table, txn)


def event_gone(table: Path, wal: int = 2, *, index: bool = False) -> None:
    """`_event` of a segment is gone, perhaps its index too; the columns are there."""
    (segment_of(table, wal) / "_event").unlink()
    if index:
        (segment_of(table, wal) / "_event.i").unlink()
    no_log(table)


def linked(table: Path, *, segment: bool = False, backup: bool = False, keep: bool = False) -> None:
    """A `walN`, or one segment of it, was moved to another disk and linked."""
    path = segment_of(table, 2) if segment else table / "wal2"
    other = table.parent.parent / "other disk" / table.name
    other.mkdir(parents=True)
    shutil.move(path, other / path.name)
    path.symlink_to(other / path.name)
    if backup:
        shutil.copytree(table / "txn_seq", table / BACKUP)
    if not keep:
        no_log(table)


def converting(table: Path) -> None:
    """SET TYPE BYPASS WAL was asked for; the next start carries it out."""
    (table / "_convert").write_bytes(b"\x00")
    no_log(table)


def set_back(table: Path, *, backup: bool = False) -> None:
    """The version of `_txn` is that of the commit before: its other area is in force again."""
    (version,) = struct.unpack("<q", (table / "_txn").read_bytes()[:8])
    write(table / "_txn", 0, struct.pack("<q", version - 1))
    if backup:
        shutil.copytree(table / "txn_seq", table / BACKUP)
    no_log(table)


def zero_page(table: Path, column: str = "px", *, page: int = 1, pages: int = 1, backup: bool = False) -> None:
    """A page of a column of unapplied rows never reached the disk."""
    zeros_at(table, column, page, pages)
    if backup:
        shutil.copytree(table / "txn_seq", table / BACKUP)
    no_log(table)


def zero_page_counted(table: Path) -> None:
    """The first page of a column is lost, and of the sequencer the log alone: the count of WALs is still known."""
    zeros_at(table, "px", 0)
    (table / "txn_seq" / "_txnlog").unlink()


def zeros_at(table: Path, column: str, page: int, pages: int = 1) -> None:
    """Write pages of zeros over a column of the last segment."""
    write(segment_of(table) / f"{column}.d", 4096 * page, bytes(4096 * pages))


def column_gone(table: Path) -> None:
    """A column of a segment is gone, with values of applied rows and of others."""
    (segment_of(table, 2) / "px.d").unlink()
    no_log(table)


def symbols_of_table_zero(table: Path) -> None:
    """The symbols of the applied rows never reached the disk."""
    (partition,) = (p for p in table.iterdir() if p.name.startswith("20"))
    (path,) = partition.glob("sym.d*")
    write(path, 0, bytes(min(4096, path.stat().st_size)))
    no_log(table)


def statement_cut(table: Path) -> None:
    """An UPDATE and the rows behind it are cut off, and the index with them: nothing tells that there was one."""
    segment = segment_of(table)
    at = offset(table, 4)
    for path, size in ((segment / "_event", at), (segment / "_event.i", 8 * 4)):
        with path.open("r+b") as stream:
            stream.truncate(size)
    no_log(table)


def copy_ends_at_applied(table: Path, *, zeroed: bool) -> None:
    """A copy ends at the applied transaction; the log in place is gone, or zeros."""
    applied = applied_txn(table)
    top = len(log_records(table)[1])
    copy = table / BACKUP
    shutil.copytree(table / "txn_seq", copy)
    write(copy / "_txnlog", 4, struct.pack("<q", applied))
    write(copy / "_txnlog", 76 + 28 * applied, bytes(28 * (top - applied)))
    if zeroed:
        log = table / "txn_seq" / "_txnlog"
        log.write_bytes(bytes(log.stat().st_size))
    else:
        no_log(table)
