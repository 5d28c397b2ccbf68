"""The guard's copies of `_event` files: they grow with the log, and nothing that is damaged is appended."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from console.questdb.fields import Fields
from console.questdb.formats.segment import EVENT_HEADER
from console.questdb.segment import Segment, read_segment
from console.questdb.segment_chain import END_MARK
from console.questdb.segment_copy import put_before
from console.questdb.txn_log import RECORD_V2
from console.recovery.guard.events import follow_events
from console.table.event_copies import copy_place, read_copy, read_note, with_copy
from tests.data.samples import sample_database


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    """The segment with the most transactions of all that a real server wrote."""
    wals = [wal for table in sample_database("v1", tmp_path / "root").tables() for wal in table.wals()]
    read = [read_segment(wal.segment(number)) for wal in wals for number in wal.segments]
    return max(read, key=lambda each: len(each.events))


def _follow(segment: Segment, mirror: Path, last: int) -> int:
    """Let the guard see records of the log that name transactions up to `last`."""
    records = np.zeros(last + 1, RECORD_V2)
    records["wal_id"], records["segment_id"] = segment.wal_id, segment.segment_id
    records["segment_txn"] = np.arange(last + 1)
    return follow_events(segment.path.parent.parent, mirror, [records])


def _copy(segment: Segment, mirror: Path) -> Path:
    return copy_place(mirror, segment.wal_id, segment.segment_id)


def _end(segment: Segment, txn: int) -> int:
    return int(segment.events["offset"][txn] + segment.events["length"][txn])


def test_it_grows_with_the_log(segment: Segment, tmp_path: Path) -> None:
    last = len(segment.events) - 1
    events = (segment.path / "_event").read_bytes()
    assert last >= 2
    for txn in (0, 1, last):
        assert _follow(segment, tmp_path, txn) > 0
        assert read_copy(_copy(segment, tmp_path)) == events[: _end(segment, txn)]
        assert read_note(_copy(segment, tmp_path)).count == txn + 1
    assert _follow(segment, tmp_path, last) == 0


def test_what_was_cut_off_is_written_again(segment: Segment, tmp_path: Path) -> None:
    """The guard was killed between the records and their note."""
    events = (segment.path / "_event").read_bytes()
    _follow(segment, tmp_path, 0)
    copy = _copy(segment, tmp_path)
    copy.write_bytes(copy.read_bytes() + b"half a record")
    assert read_copy(copy) == events[: _end(segment, 0)]
    _follow(segment, tmp_path, 1)
    assert read_copy(copy) == events[: _end(segment, 1)]


@pytest.mark.parametrize("at", [0, 4])
def test_a_damaged_record_is_not_appended(segment: Segment, tmp_path: Path, at: int) -> None:
    """Of a wrong length, of a wrong number."""
    _follow(segment, tmp_path, 0)
    before = read_copy(_copy(segment, tmp_path))
    path = segment.path / "_event"
    content = bytearray(path.read_bytes())
    content[int(segment.events["offset"][1]) + at] ^= 0x55
    path.write_bytes(content)
    assert _follow(segment, tmp_path, 1) == 0
    assert read_copy(_copy(segment, tmp_path)) == before


def test_a_purged_segment_is_forgotten(segment: Segment, tmp_path: Path) -> None:
    _follow(segment, tmp_path, 1)
    other = segment.path.with_name("77")
    shutil.copytree(segment.path, other)
    shutil.rmtree(segment.path)
    assert _follow(segment, tmp_path, 1) == 0
    _follow(read_segment(other), tmp_path, 1)
    assert not _copy(segment, tmp_path).exists()
    assert read_copy(copy_place(tmp_path, segment.wal_id, 77))


def test_a_copy_gives_back_what_the_disk_lost(segment: Segment, tmp_path: Path) -> None:
    """All of it, and where the copy ends earlier the records behind it from disk."""
    last = len(segment.events) - 1
    for known in (last, 1):
        mirror = tmp_path / str(known)
        _follow(segment, mirror, known)
        path = segment.path / "_event"
        content = path.read_bytes()
        path.write_bytes(bytes(_end(segment, known)) + content[_end(segment, known) :])
        found = with_copy(read_segment(segment.path), segment.wal_id, segment.segment_id, [mirror])
        assert (found.events["offset"] == segment.events["offset"]).all()
        assert len(found.unbroken) == last + 1
        assert found.problems
        assert not found.opens.any()
        path.write_bytes(content)
    assert with_copy(read_segment(segment.path), segment.wal_id, segment.segment_id, [tmp_path / "1"]).copied == b""


def test_a_copy_of_another_segment_is_not_taken(segment: Segment, tmp_path: Path) -> None:
    """The disk has records in the same places, and none of them is the same."""
    _follow(segment, tmp_path, 1)
    copy = read_copy(_copy(segment, tmp_path))
    event = np.fromfile(segment.path / "_event", np.uint8)
    index = np.fromfile(segment.path / "_event.i", "<i8")
    put = put_before(copy, event, index)
    assert put is not None
    assert (put[0][8:] == event[8:]).all()
    other = event.copy()
    for txn in range(2):
        other[_end(segment, txn) - 1] ^= 1
    assert put_before(copy, other, index) is None


def test_the_header_and_the_end_are_made_where_nothing_is(segment: Segment, tmp_path: Path) -> None:
    _follow(segment, tmp_path, 1)
    none = np.empty(0, np.uint8)
    put = put_before(read_copy(_copy(segment, tmp_path)), none, np.empty(0, np.int64))
    assert put is not None
    event, index = put
    assert EVENT_HEADER.value("last_txn", Fields(event[:8].tobytes())) == 1
    assert event[-4:].tobytes() == END_MARK
    assert index.tolist() == [*segment.events["offset"][:2].tolist(), _end(segment, 1)]
