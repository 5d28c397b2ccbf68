"""Damages of a table's WAL files that do not crash the server: what `check` must say, and what the server then does.

Every table has APPLIED transactions in it and PENDING more that are committed and not applied, ROWS rows each.
"""

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.diagnosis.model import Code

APPLIED, PENDING, ROWS = 30, 10, 10
LAST = APPLIED + PENDING
ALL = LAST * ROWS
PART = 5

Strike = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One damage. `codes` are of the findings that are more than a note; `at` is (code, offset, seqTxn) of one.

    `unapplied` is what `check` must count. After a start: `rows` seen by SQL, whether the table is `suspended` and
    `listed` by wal_tables(); `refusal` is part of the error of an insert (empty: it is acknowledged), `arrives` says
    whether the inserted row is ever seen, `wal_kept` whether the unapplied WAL is still there after the sweeps.
    """

    name: str
    strike: Strike
    codes: frozenset[Code]
    at: tuple[Code, int | None, int | None] | None
    unapplied: int | None
    rows: int
    suspended: bool = False
    listed: bool = True
    refusal: str = ""
    arrives: bool = True
    wal_kept: bool | None = None
    versions: tuple[int, ...] = (1, 2)
    pending: bool = True  # False: the server applied all before the damage


def place(table: Path, txn: int) -> tuple[Path, int, int]:
    """Return file, offset and size of the record of `txn`; a reader of its own."""
    log = table / "txn_seq" / "_txnlog"
    version, _, _, part = struct.unpack("<iqqi", log.read_bytes()[:24])
    if version == 0:
        return log, 76 + 28 * (txn - 1), 28
    return table / "txn_seq" / "_txn_parts" / str((txn - 1) // part), 60 * ((txn - 1) % part), 60


def put(path: Path, offset: int, form: str, *values: int) -> None:
    """Overwrite packed integers."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(form, *values))


def _zero(txn: int) -> Strike:
    def strike(table: Path) -> None:
        path, offset, size = place(table, txn)
        put(path, offset, f"<{size}b", *[0] * size)

    return strike


def _field(txn: int, offset: int, form: str, *values: int) -> Strike:
    def strike(table: Path) -> None:
        path, at, _ = place(table, txn)
        put(path, at + offset, form, *values)

    return strike


def _header(value: int) -> Strike:
    return lambda table: put(table / "txn_seq" / "_txnlog", 4, "<q", value)


def _fresh_log(table: Path) -> None:
    log = table / "txn_seq" / "_txnlog"
    data = struct.pack("<iqqi52x", 0, 0, 1_700_000_000_000_000, 0)
    log.write_bytes(data.ljust(4096, b"\0"))


def _zero_header(table: Path) -> None:
    put(table / "txn_seq" / "_txnlog", 0, "<76b", *[0] * 76)


def _remove(name: str) -> Strike:
    def strike(table: Path) -> None:
        path = table / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return strike


def _empty_log(table: Path) -> None:
    os.truncate(table / "txn_seq" / "_txnlog", 0)


def _cut(txn: int) -> Strike:
    return lambda table: os.truncate(table / "txn_seq" / "_txnlog", 76 + 28 * txn)


def waiting_segment(table: Path) -> Path:
    """Return the segment that the last record names."""
    path, at, _ = place(table, LAST)
    _, wal, segment, _ = struct.unpack_from("<qiii", path.read_bytes(), at)
    return table / f"wal{wal}" / str(segment)


def _remove_segment(table: Path) -> None:
    shutil.rmtree(waiting_segment(table))


def _cut_events(table: Path) -> None:
    segment = waiting_segment(table)
    index = struct.unpack(f"<{LAST}q", (segment / "_event.i").read_bytes()[: 8 * LAST])
    os.truncate(segment / "_event", index[APPLIED + 5] + 20)


def _tear_timestamps(table: Path) -> None:
    """Zero the timestamps of the last five transactions: pages that never reached the disk."""
    first = (LAST - 5) * ROWS
    put(waiting_segment(table) / "ts.d", 16 * first, f"<{16 * 5 * ROWS}b", *[0] * (16 * 5 * ROWS))


def area(table: Path) -> tuple[int, int, int]:
    """Return the version of `_txn`, and where its current and its other area begin."""
    data = (table / "_txn").read_bytes()
    (version,) = struct.unpack_from("<q", data)
    a, b = struct.unpack_from("<i", data, 8)[0], struct.unpack_from("<i", data, 32)[0]
    return version, *((b, a) if version & 1 else (a, b))


def lag_overflow(table: Path) -> None:
    put(table / "_txn", area(table)[1] + 92, "<i", -1)


def _missing_part(table: Path) -> None:
    (table / "txn_seq" / "_txn_parts" / str((LAST - 1) // PART)).unlink()


GONE = frozenset({Code.SEQUENCER_MISSING})
LOWERED = frozenset({Code.LOG_MAX_TXN_BELOW_APPLIED, Code.LOG_TAIL_UNLOGGED, Code.WAL_AT_RISK_OF_PURGE})
WAITING = PENDING * ROWS

CASES = (
    Case("intact", lambda _: None, frozenset(), None, WAITING, ALL),
    Case("applied_record_zeroed", _zero(7), frozenset(), None, WAITING, ALL),
    Case("version_field_zeroed", _field(35, 0, "<q", 0), frozenset(), None, WAITING, ALL),
    Case(
        "record_zeroed", _zero(35), frozenset({Code.LOG_RECORD_ZEROED, Code.LOG_TAIL_UNLOGGED}),
        (Code.LOG_RECORD_ZEROED, 76 + 28 * 34, 35), WAITING, 34 * ROWS, suspended=True, arrives=False,
    ),
    Case(
        "wal_id_zeroed", _field(36, 8, "<i", 0), frozenset({Code.LOG_RECORD_ZEROED, Code.LOG_TAIL_UNLOGGED}),
        (Code.LOG_RECORD_ZEROED, 76 + 28 * 35, 36), WAITING, 35 * ROWS, suspended=True, arrives=False,
    ),
    Case(
        "unknown_segment_txn", _field(38, 16, "<i", 500),
        frozenset({Code.LOG_UNKNOWN_SEGMENT, Code.LOG_RECORD_INVALID, Code.LOG_TAIL_UNLOGGED}),
        (Code.LOG_UNKNOWN_SEGMENT, 76 + 28 * 37, 38), WAITING, APPLIED * ROWS, suspended=True, arrives=False,
    ),
    Case(
        "unknown_wal", _field(40, 8, "<i", 77), frozenset({Code.LOG_UNKNOWN_SEGMENT, Code.LOG_TAIL_UNLOGGED}),
        (Code.LOG_UNKNOWN_SEGMENT, 76 + 28 * 39, 40), WAITING, APPLIED * ROWS, suspended=True, arrives=False,
    ),
    Case("header_below_applied", _header(20), LOWERED, (Code.LOG_MAX_TXN_BELOW_APPLIED, 4, 20), WAITING,
         APPLIED * ROWS, arrives=False, wal_kept=False),
    Case(
        "header_at_applied", _header(APPLIED), frozenset({Code.LOG_TAIL_UNLOGGED, Code.WAL_AT_RISK_OF_PURGE}),
        (Code.LOG_TAIL_UNLOGGED, 76 + 28 * 30, 31), WAITING, APPLIED * ROWS, wal_kept=False,
    ),
    Case(
        "header_zeroed", _zero_header,
        frozenset({Code.LOG_HEADER_ZEROED, Code.LOG_TAIL_UNLOGGED, Code.WAL_AT_RISK_OF_PURGE}),
        (Code.LOG_HEADER_ZEROED, 0, None), WAITING, APPLIED * ROWS, arrives=False, wal_kept=False, versions=(1,),
    ),
    Case(
        "fresh_log", _fresh_log, frozenset({Code.LOG_MAX_TXN_BELOW_APPLIED, Code.WAL_AT_RISK_OF_PURGE}),
        (Code.LOG_MAX_TXN_BELOW_APPLIED, 4, 0), None, APPLIED * ROWS, arrives=False, wal_kept=False, versions=(1,),
    ),
    Case(
        "log_removed", _remove("txn_seq/_txnlog"), frozenset({Code.LOG_MISSING}), (Code.LOG_MISSING, None, None),
        WAITING, APPLIED * ROWS, refusal="cannot read version at offset 0", wal_kept=True,
    ),
    Case(
        "log_empty", _empty_log, frozenset({Code.LOG_EMPTY}), (Code.LOG_EMPTY, 0, None), WAITING, APPLIED * ROWS,
        refusal="cannot read version at offset 0", wal_kept=True,
    ),
    Case(
        "sequencer_removed", _remove("txn_seq"), GONE, (Code.SEQUENCER_MISSING, None, None), WAITING, APPLIED * ROWS,
        listed=False, refusal="_wal_index.d", wal_kept=True,
    ),
    Case(
        "wal_index_removed", _remove("txn_seq/_wal_index.d"), frozenset({Code.WAL_INDEX_MISSING}),
        (Code.WAL_INDEX_MISSING, 0, None), WAITING, ALL,
    ),
    Case(
        "wal_index_low", lambda table: put(table / "txn_seq" / "_wal_index.d", 0, "<q", 0),
        frozenset({Code.WAL_INDEX_LOW}), (Code.WAL_INDEX_LOW, 0, None), WAITING, ALL,
    ),
    Case(
        "metadata_removed", _remove("txn_seq/_meta"), frozenset({Code.SEQUENCER_METADATA_MISSING}),
        (Code.SEQUENCER_METADATA_MISSING, None, None), WAITING, APPLIED * ROWS, suspended=True,
        refusal="Timestamp index is outside of range",
    ),
    Case(
        "metadata_of_another_version", lambda table: put(table / "txn_seq" / "_meta", 4, "<i", 9),
        frozenset({Code.SEQUENCER_METADATA_INVALID}), (Code.SEQUENCER_METADATA_INVALID, 4, None), WAITING,
        APPLIED * ROWS, suspended=True, refusal="version does not match",
    ),
    Case(
        "segment_removed", _remove_segment, frozenset({Code.SEGMENT_MISSING}), (Code.SEGMENT_MISSING, None, 31), 0,
        APPLIED * ROWS, suspended=True, arrives=False,
    ),
    Case(
        "events_cut", _cut_events, frozenset({Code.SEGMENT_EVENT_TRUNCATED}), None, None, APPLIED * ROWS,
        suspended=True, arrives=False,
    ),
    Case(
        "data_torn", _tear_timestamps, frozenset({Code.SEGMENT_DATA_TORN}),
        (Code.SEGMENT_DATA_TORN, 16 * (LAST - 5) * ROWS, None), WAITING, ALL,
    ),
    Case(
        "tail_cut", _cut(35), frozenset({Code.LOG_MAX_TXN_PAST_END, Code.LOG_TAIL_UNLOGGED}),
        (Code.LOG_MAX_TXN_PAST_END, 76 + 28 * 39, 40), WAITING, 35 * ROWS, suspended=True, arrives=False, versions=(1,),
    ),
    Case(
        "header_a_little_too_high", _header(LAST + 3), frozenset({Code.LOG_RECORD_ZEROED}),
        (Code.LOG_RECORD_ZEROED, 76 + 28 * 40, 41), WAITING, ALL, suspended=True, arrives=False, versions=(1,),
    ),
    Case(
        "part_removed", _missing_part, frozenset({Code.LOG_PART_MISSING, Code.LOG_TAIL_UNLOGGED}),
        (Code.LOG_PART_MISSING, 0, LAST - PART + 1), WAITING, 35 * ROWS, suspended=True, arrives=False, versions=(2,),
    ),
    Case("lag_overflow_under_a_live_server", lambda _: None, frozenset(), None, 0, ALL, arrives=False, pending=False),
    Case(
        "lag_overflow", lag_overflow, frozenset({Code.LAG_OVERFLOW}), (Code.LAG_OVERFLOW, None, LAST + 1), 0, ALL,
        pending=False,
    ),
)  # fmt: skip
