"""How the tables of the damage matrix are laid out, and every damage that is done to their files.

Each table has APPLIED transactions in it and PENDING more that are committed and not applied, ROWS rows each. In an
altered table one of the applied transactions, CHANGE, is a column added instead, and where wanted a pending one, LATE.
"""

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

APPLIED, PENDING, ROWS = 12, 8, 10
LAST = APPLIED + PENDING
CHANGE, LATE = 4, 15
PART = 5

Strike = Callable[[Path], None]


def place(table: Path, txn: int) -> tuple[Path, int, int]:
    """Return file, offset and size of the record of `txn`; a reader of its own."""
    log = table / "txn_seq" / "_txnlog"
    version, _, _, part = struct.unpack("<iqqi", log.read_bytes()[:24])
    if version == 0:
        return log, 76 + 28 * (txn - 1), 28
    return table / "txn_seq" / "_txn_parts" / str((txn - 1) // part), 60 * ((txn - 1) % part), 60


def record_at(txn: int) -> Callable[[Path], int]:
    """Return what tells where in its file the record of `txn` begins."""
    return lambda table: place(table, txn)[1]


def put(path: Path, offset: int, form: str, *values: int) -> None:
    """Overwrite packed integers."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(form, *values))


def _record(table: Path, txn: int) -> bytes:
    path, at, size = place(table, txn)
    return path.read_bytes()[at : at + size]


def _put_record(table: Path, txn: int, record: bytes) -> None:
    path, at, size = place(table, txn)
    put(path, at, f"<{size}B", *record)


def zero(txn: int) -> Strike:
    """Zero a record."""
    return lambda table: _put_record(table, txn, bytes(place(table, txn)[2]))


def field(txn: int, offset: int, form: str, *values: int) -> Strike:
    """Overwrite part of a record."""

    def strike(table: Path) -> None:
        path, at, _ = place(table, txn)
        put(path, at + offset, form, *values)

    return strike


def copy_of(source: int, txn: int) -> Strike:
    """Make a record a copy of another one."""
    return lambda table: _put_record(table, txn, _record(table, source))


def swap(txn: int) -> Strike:
    """Exchange a record and the one after it."""

    def strike(table: Path) -> None:
        first, second = _record(table, txn), _record(table, txn + 1)
        _put_record(table, txn, second)
        _put_record(table, txn + 1, first)

    return strike


def header(value: int) -> Strike:
    """Set the header's maxTxn."""
    return lambda table: put(table / "txn_seq" / "_txnlog", 4, "<q", value)


def log_version(value: int) -> Strike:
    """Set the header's format version."""
    return lambda table: put(table / "txn_seq" / "_txnlog", 0, "<i", value)


def no_part_size(table: Path) -> None:
    put(table / "txn_seq" / "_txnlog", 20, "<i", 0)


def fresh_log(version: int) -> Strike:
    """Put the log of a new table, in the given format (1 or 2), in place of the real one."""

    def strike(table: Path) -> None:
        made = 1_700_000_000_000_000 + int(table.name.rpartition("~")[2])  # no two tables are made at once
        data = struct.pack("<iqqi52x", version - 1, 0, made, PART if version == 2 else 0)
        (table / "txn_seq" / "_txnlog").write_bytes(data.ljust(4096, b"\0") if version == 1 else data)

    return strike


def zero_header(table: Path) -> None:
    put(table / "txn_seq" / "_txnlog", 0, "<76b", *[0] * 76)


def remove(name: str) -> Strike:
    """Remove a file or directory of the table."""

    def strike(table: Path) -> None:
        path = table / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return strike


def truncate(name: str, size: int) -> Strike:
    """Cut a file of the table."""
    return lambda table: os.truncate(table / name, size)


def empty(name: str) -> Strike:
    """Zero a file of the table, at its length."""

    def strike(table: Path) -> None:
        (table / name).write_bytes(bytes((table / name).stat().st_size))

    return strike


def waiting_segment(table: Path) -> Path:
    """Return the segment that the last record names."""
    _, wal, segment, _ = struct.unpack_from("<qiii", _record(table, LAST))
    return table / f"wal{wal}" / str(segment)


def _segment_txn(table: Path, txn: int) -> int:
    return int(struct.unpack_from("<qiii", _record(table, txn))[3])


def remove_segment(table: Path) -> None:
    shutil.rmtree(waiting_segment(table))


def cut_column(table: Path) -> None:
    """Let the prices end with the second transaction that waits."""
    os.truncate(waiting_segment(table) / "price.d", 8 * ROWS * (_segment_txn(table, APPLIED + 3)))


def remove_column(table: Path) -> None:
    (waiting_segment(table) / "price.d").unlink()


def cut_events(table: Path) -> None:
    segment, txn = waiting_segment(table), _segment_txn(table, APPLIED + 5)
    index = struct.unpack(f"<{txn + 1}q", (segment / "_event.i").read_bytes()[: 8 * (txn + 1)])
    os.truncate(segment / "_event", index[txn] + 20)


def cut_event_index(table: Path) -> None:
    segment = waiting_segment(table)
    os.truncate(segment / "_event.i", 8 * _segment_txn(table, APPLIED + 5))


def torn_from(table: Path) -> int:
    """Return the offset in the timestamps at which the last five transactions begin."""
    return 16 * ROWS * (_segment_txn(table, LAST) - 4)


def tear_timestamps(table: Path) -> None:
    """Zero the timestamps of the last five transactions: pages that never reached the disk."""
    put(waiting_segment(table) / "ts.d", torn_from(table), f"<{16 * 5 * ROWS}b", *[0] * (16 * 5 * ROWS))


def area(table: Path) -> tuple[int, int, int]:
    """Return the version of `_txn`, and where its current and its other area begin."""
    data = (table / "_txn").read_bytes()
    (version,) = struct.unpack_from("<q", data)
    a, b = struct.unpack_from("<i", data, 8)[0], struct.unpack_from("<i", data, 32)[0]
    return version, *((b, a) if version & 1 else (a, b))


def in_area(offset: int) -> Callable[[Path], int]:
    """Return what tells where a field of the current area of `_txn` is."""
    return lambda table: area(table)[1] + offset


def in_other_area(offset: int) -> Callable[[Path], int]:
    """Return what tells where a field of the other area of `_txn` is."""
    return lambda table: area(table)[2] + offset


def lag_overflow(table: Path) -> None:
    put(table / "_txn", area(table)[1] + 92, "<i", -1)


def set_back(table: Path) -> None:
    """Put the other area of `_txn` in force again, with the WAL of what it lacks purged: as the disk kept it."""
    put(table / "_txn", 0, "<q", area(table)[0] - 1)
    for wal in table.glob("wal*"):
        if wal.is_dir():
            shutil.rmtree(wal)
            wal.with_name(f"{wal.name}.lock").unlink()  # as the purge does


def set_back_without_log(table: Path) -> None:
    set_back(table)
    (table / "txn_seq" / "_txnlog").unlink()


def convert_marker(table: Path) -> None:
    (table / "_convert").write_bytes(b"\0")


def missing_part(table: Path) -> None:
    (table / "txn_seq" / "_txn_parts" / str((LAST - 1) // PART)).unlink()
