"""The sequencer's log in both formats: states, sizes, places, and what a wild header may not cost."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.log_encoding import (
    encode_log_header,
    encode_records,
    encode_wal_index,
)
from console.questdb.reading import ProblemKind
from console.questdb.txn_log import (
    HEADER_SIZE,
    RECORD,
    RECORD_SIZE,
    RECORD_V2,
    LogState,
    expected_v1_size,
    parse_log_header,
    read_log,
)
from console.questdb.wal_index import read_wal_index
from tests.data.logs import CHECKED, check_log, v1_log_chunks


def _set_max_txn(log: Path, value: int) -> None:
    with log.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<q", value))


def test_what_there_is_of_a_log_is_distinguished(v1: DatabaseRoot) -> None:
    """Present, shortened, empty, missing, without sequencer, unreadable."""
    sequencer = v1.table("altered").sequencer
    log = sequencer / "_txnlog"
    assert read_log(sequencer).state is LogState.PRESENT
    for size, state in ((40, LogState.PRESENT), (12, LogState.PRESENT), (11, LogState.EMPTY), (0, LogState.EMPTY)):
        os.truncate(log, size)
        assert (read_log(sequencer).state, read_log(sequencer).whole_records) == (state, 0)
    log.unlink()
    assert read_log(sequencer).state is LogState.MISSING
    log.symlink_to("/etc/passwd")
    assert read_log(sequencer).state is LogState.UNREADABLE
    assert read_log(sequencer.with_name("none")).state is LogState.NO_SEQUENCER
    assert read_log(sequencer.with_name("none")).problems[0].kind is ProblemKind.MISSING


def test_a_hole_is_zeros_and_what_lies_behind_it_is_read(v1: DatabaseRoot) -> None:
    """A wild header makes the server grow the file: what no block holds is not read, and is zeros all the same."""
    sequencer = v1.table("altered").sequencer
    path = sequencer / "_txnlog"
    os.truncate(path, 30 << 20)
    with path.open("r+b") as file:
        file.seek(20_000_003)
        file.write(b"behind the hole")
    log = read_log(sequencer)
    for size in (1 << 10, 1 << 15, 1 << 17):
        got = b"".join(records.tobytes() for _, records in log.chunks(size, last=log.whole_records))
        assert got == path.read_bytes()[76 : 76 + 28 * log.whole_records]


def test_the_incident_s_offset_is_the_start_of_a_record(v1: DatabaseRoot) -> None:
    """0x0cb261f4 is where seqTxn 7,607,751 begins, in a log that is 213,020,672 bytes when whole."""
    log = read_log(v1.table("altered").sequencer)
    assert log.offset_of(7_607_751) == (log.path, 0x0CB261F4)
    assert expected_v1_size(7_607_751) == expected_v1_size(7_607_750) == 213_020_672
    assert expected_v1_size(14_607_000) == 408_997_888


@pytest.mark.parametrize("claimed", [1 << 40, (1 << 63) - 1, 147, -1, -(1 << 63)])
def test_a_wild_header_costs_nothing(v1: DatabaseRoot, claimed: int) -> None:
    """Records end with the file, whatever maxTxn says; what is missing is one range."""
    log_file = v1.table("altered").sequencer / "_txnlog"
    _set_max_txn(log_file, claimed)
    log = read_log(log_file.parent)
    assert log.max_txn == claimed
    assert log.whole_records == (4096 - HEADER_SIZE) // RECORD_SIZE == 143
    assert len(log.records(1, claimed)) == (143 if claimed > 0 else 0)
    assert log.missing_parts(1, claimed) == (((144, claimed),) if claimed > 0 else ())
    assert sum(len(block) for _, block in log.chunks(last=claimed)) == (143 if claimed > 0 else 0)


def test_the_zero_tail_is_distinguished_from_records(v1: DatabaseRoot) -> None:
    """Above maxTxn: how far the bytes still look like records, for a header that may be too low."""
    sequencer = v1.table("altered").sequencer
    count = read_log(sequencer).max_txn
    assert count is not None
    assert list(check_log(read_log(sequencer), first=count + 1, last=143).zeroed) == [(count + 1, 143)]
    _set_max_txn(sequencer / "_txnlog", 3)
    log = read_log(sequencer)
    tail = check_log(log, first=4, last=log.whole_records)
    assert list(tail.zeroed) == [(count + 1, log.whole_records)]
    assert not tail.invalid


def test_parts_may_be_missing_at_either_end_and_between(v2: DatabaseRoot) -> None:
    """Low ones are purged in life; others are damage."""
    sequencer = v2.table("altered").sequencer
    log = read_log(sequencer)
    assert (log.part_size, len(log.parts), log.whole_records) == (3, 3, 9)
    assert log.offset_of(4) == (sequencer / "_txn_parts" / "1", 0)
    assert log.records(1, 9).dtype == RECORD_V2
    (sequencer / "_txn_parts" / "0").unlink()
    log = read_log(sequencer)
    assert log.missing_parts(1, 8) == ((1, 3),)
    assert len(log.records(1, 8)) == 0
    assert [at for at, _ in log.chunks(2)] == [4, 6, 7, 9]
    os.truncate(sequencer / "_txn_parts" / "1", 119)
    assert read_log(sequencer).missing_parts(4, 20) == ((5, 6), (10, 20))
    assert check_log(read_log(sequencer)).missing == ((1, 3), (5, 6))


def test_an_unknown_version_is_read_no_further(v1: DatabaseRoot) -> None:
    """Neither version 2 nor V2 without a part size can be located."""
    for header in (struct.pack("<iq", 2, 5), struct.pack("<iqqi", 1, 5, 1, 0), struct.pack("<iq", -1, 5)):
        path = v1.table("altered").sequencer / "_txnlog"
        path.write_bytes(header.ljust(200, b"\0"))
        log = read_log(path.parent)
        assert (log.state, log.readable, log.whole_records) == (LogState.PRESENT, False, 0)
        assert list(log.chunks()) == []
        assert log.records(1, 5).size == 0


def test_headers_tell_zeros_from_content() -> None:
    """A header of zeros is a valid, empty log to the server; a reserved byte that is not zero is told."""
    zeroed = parse_log_header(bytes(76))
    assert zeroed is not None
    assert (zeroed.all_zero, zeroed.known, zeroed.max_txn) == (True, True, 0)
    reserved = parse_log_header(bytes(75) + b"\1")
    assert reserved is not None
    assert not reserved.reserved_zero
    assert parse_log_header(bytes(11)) is None


@pytest.mark.parametrize("table", ["altered", "kinds", "hourly"])
def test_encoding_gives_the_server_s_own_bytes(v1: DatabaseRoot, v2: DatabaseRoot, table: str) -> None:
    """Header, records, padding; V2 header and parts; WAL index."""
    sequencer = v1.table(table).sequencer
    log = read_log(sequencer)
    assert log.header is not None
    records = log.records(1, log.header.max_txn)
    chunks = v1_log_chunks(log.header.max_txn, log.header.created_us, iter([records[:2], records[2:]]))
    assert b"".join(chunks) == (sequencer / "_txnlog").read_bytes()
    assert encode_wal_index(1) == (sequencer / "_wal_index.d").read_bytes()
    sequencer = v2.table(table).sequencer
    log = read_log(sequencer)
    assert log.header is not None
    header = encode_log_header(log.header.max_txn, log.header.created_us, part_size=3)
    assert header == (sequencer / "_txnlog").read_bytes()
    for part in log.parts:
        kept = log.records(part.index * 3 + 1, part.index * 3 + 3)
        assert encode_records(kept, v2=True).ljust(180, b"\0") == part.path.read_bytes()


def test_encoding_refuses_what_cannot_be() -> None:
    """Negative numbers, WAL ids that do not fit, more or fewer records than the header says."""
    refusals: tuple[Callable[[], bytes], ...] = (
        lambda: encode_log_header(-1, 0),
        lambda: encode_log_header(0, 0, part_size=-1),
        lambda: encode_wal_index(1 << 31),
        lambda: b"".join(v1_log_chunks(2, 0, iter([np.zeros(1, RECORD)]))),
    )
    for refused in refusals:
        with pytest.raises(ValueError, match=r"\d"):
            refused()
    assert encode_records(np.zeros(2, RECORD)) == bytes(56)


def test_a_whole_index_may_follow_a_gap_of_ids(tmp_path: Path) -> None:
    """With commit mode sync the id lies far above the WALs that exist."""
    (tmp_path / "_wal_index.d").write_bytes(encode_wal_index(512))
    assert read_wal_index(tmp_path.resolve()).highest == 512


def test_positions_in_a_long_log_are_exact(tmp_path: Path) -> None:
    """One damaged record far behind many chunks is found where it is, and nowhere else."""
    count = 300_000
    records = np.zeros(count, RECORD)
    records["wal_id"] = np.arange(count) % 5 + 1
    records["segment_id"], records["segment_txn"] = np.divmod(np.arange(count) // 5, 1000)
    records["commit_us"] = np.arange(count) + 1
    path = tmp_path.resolve() / "_txnlog"
    with path.open("wb") as file:
        file.writelines(v1_log_chunks(count, 1, iter([records])))
    whole = check_log(read_log(path.parent))
    assert not any(getattr(whole, name) for name in CHECKED)
    with path.open("r+b") as file:
        file.seek(HEADER_SIZE + 251_000 * RECORD_SIZE)
        file.write(bytes(RECORD_SIZE * 2))
        file.seek(HEADER_SIZE + 270_000 * RECORD_SIZE + 16)
        file.write(struct.pack("<i", 999_999))
    check = check_log(read_log(path.parent))
    assert list(check.zeroed) == [(251_001, 251_002)]
    assert list(check.order) == [(270_006, 270_006)]
    assert not check.repeated
    assert not check.invalid
