"""A segment's transactions: what the two event files say, together and where one of them is damaged."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.reading import Problem, ProblemKind
from console.questdb.segment import DedupMode, EventType, Segment, read_segment
from console.questdb.segment_details import read_statement, read_symbols


def _record(txn: int, kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<iqb", 13 + len(body), txn, kind) + body


def _data(txn: int, start: int, end: int) -> bytes:
    return _record(txn, 0, struct.pack("<qqqqbi", start, end, 100, 200, 0, -1))


def _write(folder: Path, records: list[bytes], *, last: int | None = None, padded: bool = False) -> Segment:
    """Write the two event files of `records` and read them; `padded`: as a writer has them that is still open."""
    folder.mkdir(parents=True, exist_ok=True)
    offsets = np.cumsum([8, *(len(record) for record in records)]).astype("<i8")
    header = struct.pack("<ii", len(records) - 1 if last is None else last, 0)
    event = header + b"".join(records) + struct.pack("<i", -1)
    (folder / "_event").write_bytes(event.ljust(131_072, b"\0") if padded else event)
    index = offsets.tobytes()
    (folder / "_event.i").write_bytes(index.ljust(32_768, b"\0") if padded else index)
    return read_segment(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a segment may be written."""
    return tmp_path.resolve() / "wal4" / "2"


def test_a_segment_of_the_server_is_decoded_whole(v1: DatabaseRoot) -> None:
    """Rows, spans, types, closed files; ids from the path."""
    segment = read_segment(v1.table("altered").path / "wal1" / "0")
    assert (segment.wal_id, segment.segment_id, segment.max_txn, segment.format) == (1, 0, 1, 0)
    assert (segment.whole, segment.closed, segment.beyond, segment.rows, segment.problems) == (True, True, 0, 9, ())
    assert segment.events["start_row"].tolist() == [0, 8]
    assert segment.events["end_row"].tolist() == [8, 9]
    assert segment.events["type"].tolist() == [EventType.DATA, EventType.DATA]
    assert segment.metadata is not None
    assert [column.name for column in segment.metadata.columns] == ["ts", "sym", "v"]


@pytest.mark.parametrize("kind", [EventType.SQL, EventType.TRUNCATE, EventType.MAT_VIEW_INVALIDATE])
@pytest.mark.parametrize("at", [0, 1])
def test_rows_whose_type_became_another_valid_one_are_not_believed(v1: DatabaseRoot, kind: EventType, at: int) -> None:
    """A server would truncate the table, or suspend it."""
    folder = v1.table("altered").path / "wal1" / "0"
    event = bytearray((folder / "_event").read_bytes())
    event[int(read_segment(folder).events["offset"][at]) + 12] = kind
    (folder / "_event").write_bytes(event)
    segment = read_segment(folder)
    assert segment.events["type"][at] == EventType.UNREADABLE
    assert not segment.whole
    assert f"segment transaction {at} cannot be decoded" in segment.problems[0].what


def test_a_view_s_segment_has_replaced_ranges(v1: DatabaseRoot) -> None:
    """Footer and base transaction of a materialised view's data."""
    segment = read_segment(v1.table("hourly").path / "wal1" / "0")
    data = segment.events[segment.data]
    assert segment.format == 1
    assert set(data["dedup_mode"].tolist()) == {DedupMode.REPLACE_RANGE}
    assert (data["replace_low"] <= data["min_ts"]).all()
    assert (data["replace_high"] > data["max_ts"]).all()
    assert (data["base_txn"] > 0).all()


def test_zero_for_the_last_transaction_may_mean_none(folder: Path) -> None:
    """A fresh segment and one with a single event have the same header."""
    none = _write(folder, [], last=0, padded=True)
    assert (none.max_txn, len(none.events), none.whole, none.problems[1:]) == (-1, 0, True, ())
    one = _write(folder, [_data(0, 0, 5)], padded=True)
    assert (one.max_txn, len(one.events), one.rows, one.closed) == (0, 1, 5, False)


@pytest.mark.parametrize("event", [None, b"", bytes(131_072)], ids=["missing", "empty", "zeros"])
@pytest.mark.parametrize(
    "index",
    [None, b"", bytes(32_768), struct.pack("<q", 8).ljust(32_768, b"\0")],
    ids=["missing", "empty", "zeros", "begun"],
)
def test_a_segment_being_made_is_not_damaged(folder: Path, event: bytes | None, index: bytes | None) -> None:
    """Whatever stage its two event files have reached.

    Rows that are moved to it come before its event file; where there is one, and a row, its events were lost.
    """
    folder.mkdir(parents=True)
    for name, data in (("_event", event), ("_event.i", index), ("ts.d", bytes(4096))):
        if data is not None:
            (folder / name).write_bytes(data)
    segment = read_segment(folder)
    assert (segment.max_txn, len(segment.events), segment.problems, segment.whole) == (-1, 0, (), True)
    (folder / "ts.d").write_bytes(struct.pack("<qq", 1_700_000_000_000_000, 0).ljust(4096, b"\0"))
    assert read_segment(folder).whole == (not event)
    assert bool([each for each in read_segment(folder).problems if each.file.name == "_event"]) == bool(event)


def test_a_first_segment_with_rows_had_events(tmp_path: Path) -> None:
    """Rows are moved to a segment only from the one before it: where there is none, its event files were lost."""
    for number, whole in (("0", False), ("1", True)):
        folder = tmp_path.resolve() / "wal4" / number
        folder.mkdir(parents=True)
        (folder / "ts.d").write_bytes(struct.pack("<qq", 1_700_000_000_000_000, 0).ljust(4096, b"\0"))
        assert read_segment(folder).whole == whole


def test_a_zeroed_event_file_with_entries_in_its_index_is_damaged(folder: Path) -> None:
    """The index tells that there were events."""
    _write(folder, [_data(0, 0, 5), _data(1, 5, 6)], padded=True)
    (folder / "_event").write_bytes(bytes(131_072))
    segment = read_segment(folder)
    assert not segment.whole
    assert [problem for problem in segment.problems if problem.file.name == "_event"]


def test_a_rolled_back_transaction_is_not_one(folder: Path) -> None:
    """Its length is set to -1 and the header counts one less; its bytes stay."""
    records = [_data(0, 0, 5), struct.pack("<i", -1) + _data(1, 5, 6)[4:]]
    segment = _write(folder, records, last=0)
    assert (segment.max_txn, segment.rows, segment.beyond, segment.whole) == (0, 5, 0, True)


def test_records_behind_a_stale_header_are_counted(folder: Path) -> None:
    """The header page did not reach the disk: events that it does not count are whole, and told."""
    segment = _write(folder, [_data(0, 0, 5), _data(1, 5, 7), _data(2, 7, 9)], last=0)
    assert (segment.max_txn, len(segment.events), segment.beyond, segment.uncounted) == (0, 3, 2, 0)


def test_a_zeroed_record_does_not_hide_those_behind_it(folder: Path) -> None:
    """The index leads past it; it alone cannot be decoded."""
    records = [_data(txn, 5 * txn, 5 * txn + 5) for txn in range(6)]
    records[2] = bytes(len(records[2]))
    records[3] = bytes(len(records[3]))
    segment = _write(folder, records)
    assert segment.events["type"].tolist() == [0, 0, -1, -1, 0, 0]
    assert segment.events["start_row"].tolist() == [0, 5, 0, 0, 20, 25]
    broken = [problem for problem in segment.problems if "cannot be decoded" in problem.what]
    assert [(problem.offset, problem.kind) for problem in broken] == [(8 + 2 * len(records[0]), ProblemKind.SHORT)]
    assert "nor are the next 1" in broken[0].what
    assert not segment.whole


def test_without_an_index_the_chain_is_enough(folder: Path) -> None:
    """And the index that leads the server astray is named with its first wrong entry."""
    records = [_data(txn, txn, txn + 1) for txn in range(5)]
    _write(folder, records)
    (folder / "_event.i").write_bytes(bytes(8 * 6))
    segment = read_segment(folder)
    assert segment.whole
    wrong = [problem for problem in segment.problems if problem.file.name == "_event.i"]
    assert [problem.offset for problem in wrong] == [0]
    (folder / "_event.i").unlink()
    segment = read_segment(folder)
    assert segment.whole
    assert [p.kind for p in segment.problems if p.file.name == "_event.i"] == [ProblemKind.MISSING]


def test_a_cut_file_has_the_events_before_the_cut(folder: Path) -> None:
    """Header and index promise more than is there."""
    records = [_data(txn, txn, txn + 1) for txn in range(5)]
    _write(folder, records)
    os.truncate(folder / "_event", 8 + 2 * len(records[0]) + 20)
    segment = read_segment(folder)
    assert segment.max_txn == 4
    assert segment.rows == 2
    assert segment.events["type"][:2].tolist() == [0, 0]
    assert not segment.whole
    assert any(problem.kind is ProblemKind.SHORT for problem in segment.problems)


def test_rows_that_do_not_follow_one_another_are_reported(folder: Path) -> None:
    """Overlap, gap, an end before its start."""
    for rows in ((4, 7), (6, 7), (5, 3)):
        segment = _write(folder, [_data(0, 0, 5), _data(1, *rows)])
        assert [p.what for p in segment.problems if "do not follow" in p.what], rows


@pytest.mark.parametrize("last", [(1 << 31) - 1, 1 << 20, -2, -(1 << 31)])
def test_a_wild_header_costs_nothing(folder: Path, last: int) -> None:
    """The file bounds what is looked at; a header below -1 is none."""
    segment = _write(folder, [_data(0, 0, 5)], last=last, padded=True)
    assert len(segment.events) < 10_000
    assert segment.max_txn == (last if last > 0 else None)
    assert segment.rows == (5 if last > 0 else 0)
    assert not segment.whole


def test_bodies_of_the_server_are_decoded(v1: DatabaseRoot) -> None:
    """Symbols and UPDATE."""
    altered = v1.table("altered").path / "wal1"
    first = read_segment(altered / "0")
    symbols = read_symbols(first)
    assert isinstance(symbols, dict)
    assert set(symbols) == {0, 1}
    assert {diff.column for diffs in symbols.values() for diff in diffs} == {1}
    assert {value for diffs in symbols.values() for diff in diffs for value in diff.values} <= {"k1", "k2", "k3"}
    assert read_statement(read_segment(altered / "1"), 1) == "update altered set v = 7 where sym = 'k1'"
    for txn, kind in ((0, ProblemKind.INVALID), (2, ProblemKind.SHORT)):  # rows, and behind the end
        none = read_statement(first, txn)
        assert isinstance(none, Problem)
        assert none.kind is kind


@pytest.mark.parametrize(
    ("entries", "last", "opens"),
    [
        (6, None, [True, True, True, True, True]),
        (5, None, [True, True, True, True, False]),  # the end is gone: the entry behind an event does for it
        (3, None, [True, True, False, False, False]),
        (1, None, [False, False, False, False, False]),
        (6, 9, [True, True, True, True, True]),  # a header that is too high
        (6, 511, [False, False, False, False, False]),  # the read lies behind the mapping
    ],
)
def test_a_server_begins_where_the_index_names_the_event_and_an_end(
    folder: Path, entries: int, last: int | None, opens: list[bool]
) -> None:
    """As measured on 9.1.0: with four entries it does not open the segment at the fourth event."""
    _write(folder, [_data(txn, txn, txn + 1) for txn in range(5)], last=last)
    os.truncate(folder / "_event.i", 8 * entries)
    assert read_segment(folder).opens[:5].tolist() == opens


def test_an_entry_of_another_event_opens_nothing(folder: Path) -> None:
    _write(folder, [_data(txn, txn, txn + 1) for txn in range(3)])
    index = (folder / "_event.i").read_bytes()
    (folder / "_event.i").write_bytes(index[:8] + index[:8] + index[16:])
    assert read_segment(folder).opens.tolist() == [True, False, True]
