"""Statements and damages of the adversary's cases: short, so that a case is one line."""

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from console.questdb.segment import read_segment
from tests.real.adversary_world import Step, Table
from tests.real.ledger_cases import BACKUP, segment_of, write

Strike = Callable[[Path, Path], object]
"""Damages the table in the first directory; the second one holds what was kept aside."""

PLAIN: Final = "ts TIMESTAMP, id LONG, px DOUBLE, sym SYMBOL"
WIDE: Final = (
    "ts TIMESTAMP, id LONG, u UUID, v VARCHAR, s STRING, a DOUBLE[], b DOUBLE[][][], sym SYMBOL, bin BINARY, "
    "g GEOHASH(20b), ip IPV4, l LONG256, d DATE"
)
DEDUP: Final = "PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, sym)"


def rows(hour: float = 0, count: int = 5, px: str = "1.{n}", sym: str = "'S{n}'") -> Step:
    """Return an INSERT into a PLAIN table."""
    return lambda table: table.rows("px, sym", f"{px}, {sym}", count, hour)


def together(*hours: float, count: int = 5) -> Step:
    """Return INSERTs that are open at once, each with a WAL of its own, committed in this order."""
    return lambda table: tuple(table.rows("px, sym", "1.{n}, 'S{n}'", count, hour) for hour in hours)


def wide(hour: float, count: int = 100) -> Step:
    """Return an INSERT into a WIDE table."""
    names = "u, v, s, a, b, sym, g, ip, l, d"
    values = (
        "'11111111-1111-1111-1111-{i:012d}', 'long enough to spill {i}', 'text {i}', ARRAY[1.0, {i}.0], "
        "ARRAY[[[1.0], [{n}.5]]], 'sym{n}', #sp052, '10.0.1.{n}', rnd_long256(), {i}"
    )
    return lambda table: table.rows(names, values, count, hour)


def without(*names: str) -> Step:
    """Return an INSERT that leaves columns out."""

    def step(table: Table) -> Step:
        left = [name for name in ("px", "sym") if name not in names]
        values = {"px": "2.0", "sym": "'later'"}
        return table.rows(", ".join(left), ", ".join(values[name] for name in left), 5, 96)

    return step


def gone(table: Path, _: Path) -> None:
    """The sequencer is removed."""
    shutil.rmtree(table / "txn_seq")


def log_gone(table: Path, _: Path) -> None:
    """Only the log is removed."""
    (table / "txn_seq" / "_txnlog").unlink()


def nothing(_: Path, __: Path) -> None:
    """Do no damage."""


def all_of(*strikes: Strike) -> Strike:
    """Return all of them in turn."""

    def strike(table: Path, kept: Path) -> None:
        for each in strikes:
            each(table, kept)

    return strike


def txn_field(offset: int, form: str, value: int) -> Strike:
    """Overwrite a field of the area of `_txn` that is in force."""

    def strike(table: Path, _: Path) -> None:
        data = (table / "_txn").read_bytes()
        (version,) = struct.unpack_from("<q", data)
        base = struct.unpack_from("<i", data, 32 if version & 1 else 8)[0]
        write(table / "_txn", base + offset, struct.pack(form, value))

    return strike


def header(difference: int) -> Strike:
    """Move the last transaction that the log's header counts."""

    def strike(table: Path, _: Path) -> None:
        log = table / "txn_seq" / "_txnlog"
        (top,) = struct.unpack_from("<q", log.read_bytes(), 4)
        write(log, 4, struct.pack("<q", top + difference))

    return strike


def zeroed(name: str) -> Strike:
    """Zero the first page of a file of the newest segment of wal1."""

    def strike(table: Path, _: Path) -> None:
        path = segment_of(table) / name
        write(path, 0, bytes(min(4096, path.stat().st_size)))

    return strike


def cut(name: str, size: int = 40) -> Strike:
    """Cut a file of the newest segment of wal1."""
    return lambda table, _: os.truncate(segment_of(table) / name, size)


def exchanged(one: str, other: str) -> Strike:
    """Exchange two files of the newest segment of wal1."""

    def strike(table: Path, _: Path) -> None:
        first, second = segment_of(table) / one, segment_of(table) / other
        held = first.read_bytes(), second.read_bytes()
        first.write_bytes(held[1])
        second.write_bytes(held[0])

    return strike


def event_cut(wal: int = 1, back: int = 1) -> Strike:
    """Cut `_event` inside its last record but `back` - 1."""

    def strike(table: Path, _: Path) -> None:
        segment = segment_of(table, wal)
        offsets = read_segment(segment).events["offset"]
        os.truncate(segment / "_event", int(offsets[len(offsets) - back]) + 20)

    return strike


def older_events(label: str, *names: str) -> Strike:
    """Put the event files back as they were when they were kept aside."""

    def strike(table: Path, kept: Path) -> None:
        for old in (kept / label).glob("wal*/*/_event"):
            segment = table / old.parent.relative_to(kept / label)
            for name in names:
                shutil.copy(old.parent / name, segment / name)

    return strike


def older_sequencer(label: str, *, place: str = "txn_seq") -> Strike:
    """Put `txn_seq` back as it was when it was kept aside, or beside as a backup."""

    def strike(table: Path, kept: Path) -> None:
        shutil.rmtree(table / "txn_seq")
        shutil.copytree(kept / label / "txn_seq", table / place)

    return strike


def beside(label: str) -> Strike:
    """Leave only a backup of an older sequencer."""
    return older_sequencer(label, place=BACKUP)


def events_of_sibling(table: Path, _: Path) -> None:
    """The event files of wal1 lie in wal2 too."""
    for name in ("_event", "_event.i"):
        shutil.copy(segment_of(table, 1) / name, segment_of(table, 2) / name)


def wals_exchanged(table: Path, _: Path) -> None:
    """wal1 and wal2 change their names."""
    (table / "wal1").rename(table / "walx")
    (table / "wal2").rename(table / "wal1")
    (table / "walx").rename(table / "wal2")


def segment_removed(wal: int) -> Strike:
    """Remove the newest segment of a WAL."""
    return lambda table, _: shutil.rmtree(segment_of(table, wal))


def wal_removed(wal: int) -> Strike:
    """Remove a WAL."""
    return lambda table, _: shutil.rmtree(table / f"wal{wal}")


def segment_renamed(table: Path, _: Path) -> None:
    """The newest segment of wal1 has the next number."""
    segment = segment_of(table)
    segment.rename(segment.with_name(str(int(segment.name) + 1)))


def segment_timestamp(index: int) -> Strike:
    """Let `_meta` of the newest segment of wal1 name another designated timestamp (SequencerMetadata, offset 20)."""
    return lambda table, _: write(segment_of(table) / "_meta", 20, struct.pack("<i", index))


def wals_closed(table: Path, _: Path) -> None:
    """Cut the event files of every newest segment to their end, as a writer does that ends in order."""
    for wal in sorted(table.glob("wal*/")):
        segment = max(wal.glob("*/"), key=lambda path: int(path.name))
        read = read_segment(segment)
        last = (read.max_txn or 0) + 2
        end = struct.unpack_from("<q", (segment / "_event.i").read_bytes(), 8 * (last - 1))[0]
        os.truncate(segment / "_event", end + 4)
        os.truncate(segment / "_event.i", 8 * last)


def segment_copied(table: Path, _: Path) -> None:
    """A copy of the newest segment of wal1 has the next number."""
    segment = segment_of(table)
    shutil.copytree(segment, segment.with_name(str(int(segment.name) + 1)))


def wal_copied(name: str) -> Strike:
    """A copy of wal1 has another name."""
    return lambda table, _: shutil.copytree(table / "wal1", table / name)


def other_stations_wal(at: int) -> Strike:
    """Put a WAL of another table in the place of walN; its table id is this one's, and it has no symbol files."""

    def strike(table: Path, _: Path) -> None:
        target = table / f"wal{at}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(next(table.parent.glob("donor~*/")) / "wal1", target)
        for path in target.glob("sym.*"):
            path.unlink()
        for path in target.glob("*/_meta"):
            write(path, 24, struct.pack("<i", int(table.name.rpartition("~")[2])))

    return strike


def converting(table: Path, _: Path) -> None:
    """SET TYPE BYPASS WAL was asked for."""
    (table / "_convert").write_bytes(b"\0")
