"""Events that cannot be decoded: how many rows they have, and what of them the server cannot reach."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from console.questdb.layout import wal_directories
from console.questdb.log_encoding import encode_event_index
from console.questdb.segment import EventType, read_segment
from console.recovery.sequencer.applied_prefix import Cuts
from console.recovery.sequencer.found import Found
from console.recovery.sequencer.loss import ledger_of, left_out
from console.table.gaps import Gap, gaps_of, most_rows
from console.table.inventory import Inventory, read_inventory
from console.table.ledger import rows_lost
from console.table.torn import Wholeness
from tests.unit.questdb.test_segment import _data, _record, _write
from tests.unit.sequencer.made import named

TRUNCATE = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A segment of a table."""
    return tmp_path.resolve() / "wal1" / "0"


def _events(folder: Path) -> Path:
    return folder / "_event"


def _strike(folder: Path, txn: int, at: int, data: bytes) -> None:
    offset = int(np.frombuffer((folder / "_event.i").read_bytes(), "<i8")[txn])
    content = bytearray(_events(folder).read_bytes())
    content[offset + at : offset + at + len(data)] = data
    _events(folder).write_bytes(content)


def _inventory(folder: Path) -> Inventory:
    return read_inventory(wal_directories(folder.parent.parent))


def _gap(folder: Path) -> Gap:
    (found,) = gaps_of(_inventory(folder))
    return found


def _five(folder: Path) -> None:
    _write(folder, [_data(txn, 10 * txn, 10 * txn + 10) for txn in range(5)])


@pytest.mark.parametrize(("at", "data"), [(12, b"\x7b"), (0, bytes(4)), (0, struct.pack("<i", 1 << 30))])
def test_a_body_that_follows_the_rows_before_it_names_its_rows(folder: Path, at: int, data: bytes) -> None:
    """An unknown type, a length of zero, a length past the end: in the middle and at the end."""
    for txn in (2, 4):
        _five(folder)
        _strike(folder, txn, at, data)
        gap = _gap(folder)
        assert (gap.first, gap.stop, gap.rows, gap.sure, gap.statement) == (txn, txn + 1, 10, True, False)


def test_nothing_left_of_one_event_is_known_by_those_around_it(folder: Path) -> None:
    _five(folder)
    _strike(folder, 2, 0, bytes(46))
    gap = _gap(folder)
    assert (gap.rows, gap.sure, gap.statement) == (10, True, False)


def test_a_statement_has_no_rows_and_is_known_as_one(folder: Path) -> None:
    """What a TRUNCATE would have removed nobody knows: that is no loss of zero."""
    records = [_data(0, 0, 10), _record(1, TRUNCATE), _data(2, 10, 20)]
    _write(folder, records)
    _strike(folder, 1, 12, b"\x7b")
    assert _gap(folder).statement


def test_among_several_a_statement_is_possible_where_the_table_has_some(folder: Path) -> None:
    """But if the index says how long they are, and they are too short for a statement's text."""
    lost = [_data(2, 20, 30), _data(3, 30, 40)]
    for others, statement in (([_data(0, 0, 10), _data(1, 10, 20)], False), ([_data(0, 0, 20), _record(1, 2)], True)):
        _write(folder, [*others, *lost, _data(4, 40, 50)])
        _strike(folder, 2, 0, bytes(len(lost[0]) + len(lost[1])))
        gap = _gap(folder)
        assert (gap.first, gap.stop, gap.rows, gap.sure, gap.statement) == (2, 4, 20, False, False)
        assert most_rows(gap, 1000) == 20
        index = (folder / "_event.i").read_bytes()
        (folder / "_event.i").write_bytes(index[:24] + bytes(8) + index[32:])
        gap = _gap(folder)
        assert (gap.rows, gap.statement, gap.mixed) == (20, statement, True)
        assert most_rows(gap, 1000) == (None if statement else 1020)


@pytest.mark.parametrize(("length", "most"), [(0, 20), (26, 20), (27, 1020), (90, 1020)])
def test_a_record_as_long_as_a_statement_may_have_changed_any_row(folder: Path, length: int, most: int) -> None:
    """27 bytes of symbols make a record of rows as long as the shortest UPDATE."""
    longer = _data(3, 30, 40) + bytes(length)
    lost = [_data(2, 20, 30), struct.pack("<i", len(longer)) + longer[4:]]
    _write(folder, [_data(0, 0, 10), _data(1, 10, 20), *lost, _data(4, 40, 50)])
    _strike(folder, 2, 0, bytes(sum(map(len, lost))))
    assert most_rows(_gap(folder), 1000) == most


def test_rows_that_two_events_may_have_are_no_exact_loss_of_either(folder: Path) -> None:
    """A TRUNCATE between them has no rows: each may have all."""
    _write(folder, [_data(0, 0, 10), _data(1, 10, 20), _record(2, TRUNCATE), _data(3, 20, 30), _data(4, 30, 40)])
    for txn in (1, 3):
        _strike(folder, txn, 12, b"\x7b" + bytes(16))
    assert [(gap.rows, gap.sure) for gap in gaps_of(_inventory(folder))] == [(20, False), (20, False)]


def test_a_statement_that_is_left_out_takes_its_changes_along(folder: Path) -> None:
    """With the index cut no server opens the segment; it is made anew for what the header counts: one of three.

    The rows of the UPDATE's table are in the announced loss.
    """
    text = "UPDATE t SET a=1"
    update = _record(1, EventType.SQL, struct.pack("<ii", 3, len(text)) + text.encode("utf-16-le") + bytes(24))
    _write(folder, [_data(0, 0, 10), update, _data(2, 10, 20)])
    index = (folder / "_event.i").read_bytes()
    os.truncate(folder / "_event.i", 8)
    inventory = _inventory(folder)
    decided = Cuts(np.arange(3) < 0, (), undecided=np.zeros(3, np.bool_))
    whole = Wholeness(np.zeros(3, np.bool_), ())
    out, unindexed = left_out(inventory, named(inventory, 0), decided, whole)
    assert not out.any()
    assert unindexed.all()
    assert encode_event_index(read_segment(folder).events) == index[: 8 * 4]
    _events(folder).write_bytes(struct.pack("<i", 0) + _events(folder).read_bytes()[4:])
    inventory = _inventory(folder)
    out, unindexed = left_out(inventory, named(inventory, 0), decided, whole)
    assert (out.tolist(), unindexed.tolist()) == ([False, True, True], [True, False, False])
    nothing = named(inventory, 0)
    found = Found(
        inventory, nothing, decided, whole, (), out, np.empty(0, np.int64), 0, dedup=False, covered=True, present=500
    )
    assert rows_lost(ledger_of(found)).phrase == "up-to-510"


def test_the_header_the_index_and_the_end_mark_outvote_one_another(folder: Path) -> None:
    """Two of three: a header that is too high alone counts nothing, nor does an index that a rollback left behind."""
    _five(folder)
    whole = _events(folder).read_bytes()
    _events(folder).write_bytes(struct.pack("<i", 9) + whole[4:])
    assert read_segment(folder).uncounted == 0
    _events(folder).write_bytes(whole[: 8 + 3 * 50])  # header and index count five, three are left
    assert read_segment(folder).uncounted == 2
    assert len(_inventory(folder)) == 5
    _events(folder).unlink()
    assert (read_segment(folder).uncounted, len(_inventory(folder))) == (5, 5)
    assert _gap(folder).rows is None  # its _meta is not there, so that the timestamps are not known


@pytest.mark.parametrize(("rows", "count"), [(50, 5), (51, 10)])
def test_a_header_that_is_too_high_is_made_anew_unless_there_are_rows_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows: int, count: int
) -> None:
    """Rows behind the last record speak for a transaction of which nothing else is left: it is counted as lost."""
    _five(folder)
    _events(folder).write_bytes(struct.pack("<i", 9) + _events(folder).read_bytes()[4:])
    monkeypatch.setattr(read_inventory.__module__ + ".written_rows", lambda segment, first: rows)
    inventory = _inventory(folder)
    none = np.zeros(count, np.bool_)
    out, anew = left_out(inventory, named(inventory, 0), Cuts(none, (), undecided=none), Wholeness(none, ()))
    assert (len(inventory), int(out.sum()), bool(anew[:5].all())) == (count, count - 5, True)
    os.truncate(folder / "_event.i", 8 * 4)
    assert (read_segment(folder).records, len(_inventory(folder))) == (None, 10)


@pytest.mark.parametrize(
    ("bad", "applied", "out"),
    [(2, 0, [2, 3, 4]), (2, 2, [2]), (2, 3, []), (0, 0, [0]), (4, 1, [4])],
    ids=["in the middle", "the first that is not applied", "applied", "the first of all", "the last"],
)
def test_what_lies_behind_one_that_cannot_be_decoded_is_out_of_reach(
    folder: Path, bad: int, applied: int, out: list[int]
) -> None:
    """The server reads a segment event by event from the first that a record names."""
    _five(folder)
    _strike(folder, bad, 12, b"\x7b")
    inventory = _inventory(folder)
    cuts = Cuts(np.arange(5) < applied, (), undecided=np.zeros(5, np.bool_))
    mask = left_out(inventory, named(inventory, 0), cuts, Wholeness(np.zeros(5, np.bool_), ()))
    assert np.flatnonzero(mask).tolist() == out
