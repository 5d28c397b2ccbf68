"""The vectorised check of a log against a plain one, a record at a time, written from the format's description."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from console.questdb import log_check
from console.questdb.log_check import LogChecker
from console.questdb.log_encoding import encode_log_header, encode_records
from console.questdb.ranges import RangeCollector
from console.questdb.txn_log import MAX_SEGMENT_ID, RECORD, expected_v1_size, read_log
from tests.data.logs import CHECKED, Record, check_log, plain_check, v1_log_chunks

# Small numbers, so that repeats, steps back and gaps are frequent; and the edges of what a field can hold.
_WAL = st.sampled_from((1, 1, 2, 3, 300, 70_000, -1, -2, 0, -3, (1 << 31) - 1, -(1 << 31)))
_SEGMENT = st.sampled_from((0, 0, 0, 1, 2, -1, -2, MAX_SEGMENT_ID, MAX_SEGMENT_ID + 1, (1 << 31) - 1))
_TXN = st.sampled_from((0, 1, 2, 3, 4, -1, (1 << 31) - 1, -(1 << 31)))
_VERSION = st.sampled_from((0, 0, 0, 1, 2, -1, 1 << 40))
_TIME = st.sampled_from((1, 2, 3, 0, -1))


@st.composite
def _logs(draw: st.DrawFn) -> list[Record]:
    """A log as a server writes it, with some records replaced by others, and some of zeros."""
    records: list[Record] = []
    version = 0
    at: dict[int, tuple[int, int]] = {}
    for number in range(draw(st.integers(0, 40))):
        wal = draw(st.sampled_from((1, 1, 1, 2, 3, -1)))
        if wal == -1:
            version += 1
            records.append((version, -1, -1, -1, number + 1))
            continue
        segment, txn = at.get(wal, (0, -1))
        segment, txn = (segment + 1, 0) if draw(st.integers(0, 9)) == 0 else (segment, txn + 1)
        at[wal] = segment, txn
        records.append((version, wal, segment, txn, number + 1))
    for _ in range(draw(st.integers(0, 4)) if records else 0):
        place = draw(st.integers(0, len(records) - 1))
        any_record = st.tuples(_VERSION, _WAL, _SEGMENT, _TXN, _TIME)
        records[place] = draw(st.one_of(any_record, st.just((0, 0, 0, 0, 0)), st.sampled_from(records)))
    return records


def _as_array(records: list[Record]) -> NDArray[Any]:
    return np.array(records, RECORD)


@settings(max_examples=1000)
@given(_logs(), st.integers(1, 50))
def test_chunks_and_vectors_change_nothing(records: list[Record], chunk: int) -> None:
    """Whatever the log and however it is cut: the same positions as the plain check."""
    checker = LogChecker()
    array = _as_array(records)
    for at in range(0, len(records), chunk):
        checker.feed(1 + at, array[at : at + chunk])
    check = checker.finish()
    expected = plain_check(records)
    for name in CHECKED:
        ranges = getattr(check, name)
        assert [txn for first, last in ranges for txn in range(first, last + 1)] == expected[name], name
        assert ranges.count == len(expected[name])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(records=_logs(), part=st.integers(1, 6), claimed=st.integers(-3, 60))
def test_a_file_gives_back_what_was_encoded(records: list[Record], part: int, claimed: int, tmp_path: Path) -> None:
    """V1 and V2 logs of any records, with a header that may claim too much or too little."""
    array = _as_array(records)
    (tmp_path / "_txnlog").write_bytes(b"".join(v1_log_chunks(len(array), 5, iter([array[:3], array[3:]]))))
    log = read_log(tmp_path)
    assert log.file_size == expected_v1_size(len(array)) == log.expected_size()
    assert log.records(1, len(array))[list(RECORD.names or ())].tolist() == array.tolist()
    parts = tmp_path / "_txn_parts"
    parts.mkdir(exist_ok=True)
    for old in parts.iterdir():
        old.unlink()
    for index in range(len(array) // part + 1):
        held = encode_records(array[index * part : (index + 1) * part], v2=True)
        (parts / str(index)).write_bytes(held.ljust(60 * part, b"\0"))
    (tmp_path / "_txnlog").write_bytes(encode_log_header(max(0, claimed), 5, part_size=part))
    log = read_log(tmp_path)
    assert log.v2
    assert log.max_txn == max(0, claimed)
    assert log.whole_records == (len(array) // part + 1) * part
    within = min(max(0, claimed), log.whole_records)
    assert len(log.records(1, log.max_txn)) == within
    assert log.records(1, len(array))[list(RECORD.names or ())].tolist() == array.tolist()[: len(array)]
    assert sum(len(block) for _, block in log.chunks(last=log.max_txn)) == within
    assert log.missing_parts(1, 100) == (() if log.whole_records >= 100 else ((log.whole_records + 1, 100),))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(records=_logs(), chunk=st.integers(1, 7))
def test_two_threads_find_what_one_finds(records: list[Record], chunk: int, tmp_path: Path) -> None:
    """A long log, which here begins with the first record: what is read next does not overwrite what is compared."""
    array = _as_array(records)
    (tmp_path / "_txnlog").write_bytes(b"".join(v1_log_chunks(len(array), 5, iter([array]))))
    with patch.multiple(log_check, _LONG=0, _CHUNK=chunk):
        check = check_log(read_log(tmp_path))
    expected = plain_check(records)
    for name in CHECKED:
        assert [txn for first, last in getattr(check, name) for txn in range(first, last + 1)] == expected[name], name


@given(st.sets(st.integers(1, 200)), st.integers(1, 7), st.integers(0, 200))
def test_ranges_are_the_sets_that_they_stand_for(ids: set[int], chunk: int, after: int) -> None:
    """Collected in any chunks; cut anywhere."""
    collector, ordered = RangeCollector(), np.array(sorted(ids), np.int64)
    for at in range(0, len(ordered), chunk):
        collector.add(ordered[at : at + chunk])
    ranges = collector.ranges()
    assert {txn for first, last in ranges for txn in range(first, last + 1)} == ids
    assert (ranges.count, ranges.complete, ranges.bounds[:1, 0].tolist()) == (len(ids), True, sorted(ids)[:1])
    rest = ranges.after(after)
    assert {txn for first, last in rest for txn in range(first, last + 1)} == {txn for txn in ids if txn > after}
    assert rest.count == sum(txn > after for txn in ids)


def test_more_ranges_than_are_kept_are_counted() -> None:
    """Ten thousand single ids and no more are kept; the rest is a number."""
    collector = RangeCollector(limit=100)
    for at in range(1, 1000, 10):
        collector.add(np.arange(at, at + 10, 2, dtype=np.int64))
    ranges = collector.ranges()
    assert (len(ranges.bounds), ranges.count, ranges.complete) == (100, 500, False)


def test_forgotten_wals_are_not_said_to_be_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more wals than are remembered, the first reference after forgetting is taken as it comes."""
    monkeypatch.setattr("console.questdb.wal_order.MAX_WALS", 2)
    records = [(0, wal, 0, 0, 1) for wal in (1, 2, 3)] + [(0, 1, 0, 1, 2)]
    checker = LogChecker()
    for at, record in enumerate(records, 1):
        checker.feed(at, _as_array([record]))
    check = checker.finish()
    assert not any(getattr(check, name) for name in CHECKED)
