"""The order in which unapplied transactions are named: what is known stays, what is lost fills the holes."""

from pathlib import Path

import numpy as np

from console.questdb.segment import DedupMode, EventType
from console.recovery.sequencer.order import CHANGE, Order, Wanted, arrange
from console.table.inventory import Inventory
from console.table.names import Names
from console.table.txn_set import TxnSet
from tests.unit.sequencer.made import inventory, named, record, scanned, written_log

TWO_WALS = (*((1, 0, txn) for txn in range(3)), *((2, 0, txn) for txn in range(3)))


def _wanted(of: Inventory, applied: int = 0, target: int = 0, dedup: bool = False, shared: bool = False) -> Wanted:
    return Wanted(np.arange(applied, len(of)), applied, 0, target, TxnSet(), dedup, shared)


def _arranged(of: Inventory, names: Names | None = None, **wanted: bool | int) -> Order:
    return arrange(of, names or named(of, 0), _wanted(of, **wanted))  # type: ignore[arg-type]


def test_without_names_the_order_follows_time_and_keeps_each_wal() -> None:
    of = inventory(*TWO_WALS)
    of.events["max_ts"] = [10, 5, 30, 7, 20, 25]  # wal1's second is older than its first: it still comes after it
    order = _arranged(of)
    assert order.event.tolist() == [3, 0, 1, 4, 5, 2]
    assert order.chosen
    assert not order.refusals


def test_one_writer_leaves_no_choice() -> None:
    order = _arranged(inventory(*((1, 0, txn) for txn in range(4))))
    assert order.event.tolist() == [0, 1, 2, 3]
    assert not order.chosen


def test_an_unnamed_event_fills_the_hole_between_its_neighbours(tmp_path: Path) -> None:
    of = inventory(*TWO_WALS)
    zero = np.zeros_like(record(None))
    records = [record((1, 0, 0)), record((2, 0, 0)), zero, record((2, 0, 1)), record((1, 0, 2)), record((2, 0, 2))]
    order = _arranged(of, named(of, 0, scanned(written_log(tmp_path / "a", records), of, 0)))
    assert order.event.tolist() == [0, 3, 1, 4, 2, 5]
    assert (order.empty, order.chosen) == (0, False)


def test_a_hole_that_nothing_fills_is_counted(tmp_path: Path) -> None:
    of = inventory((1, 0, 0), (1, 0, 1))
    records = [record((1, 0, 0)), np.zeros_like(record(None)), record((1, 0, 1))]
    order = _arranged(of, named(of, 0, scanned(written_log(tmp_path / "a", records), of, 0)))
    assert order.event.tolist() == [0, 1]
    assert order.empty == 1


def test_a_left_out_transaction_keeps_its_place(tmp_path: Path) -> None:
    of = inventory((1, 0, 0), (1, 0, 1), (2, 0, 0))
    zero = np.zeros_like(record(None))
    records = [record((1, 0, 0)), record((9, 0, 0)), zero, record((1, 0, 1))]
    names = named(of, 0, scanned(written_log(tmp_path / "a", records), of, 0))
    wanted = Wanted(np.arange(3), 0, 0, 0, names.lost, False, False)
    order = arrange(of, names, wanted)
    assert (list(names.lost.runs()), order.empty) == ([(2, 2)], 0)
    assert sorted(order.event.tolist()) == [0, 1, 2]


def test_places_between_lost_ones_that_nothing_fills_are_counted(tmp_path: Path) -> None:
    """Behind the last lost one only the header tells of transactions: those are not counted."""
    of = inventory((1, 0, 0))
    zero = np.zeros_like(record(None))
    records = [record((1, 0, 0)), record((9, 0, 0)), zero, record((9, 0, 1)), zero, record((9, 0, 2)), zero]
    names = named(of, 1, scanned(written_log(tmp_path / "a", records), of, 1))
    order = arrange(of, names, Wanted(np.arange(0), 1, 0, 0, names.lost, False, False))
    assert (list(names.lost.runs()), order.empty) == ([(2, 2), (4, 4), (6, 6)], 2)


def test_records_that_leave_no_place_contradict_the_segments(tmp_path: Path) -> None:
    of = inventory((1, 0, 0), (1, 0, 1), (1, 0, 2))
    records = [record((1, 0, 0)), record((1, 0, 2))]
    order = _arranged(of, named(of, 0, scanned(written_log(tmp_path / "a", records), of, 0)))
    assert [r.code for r in order.refusals] == ["order-contradicts"]


def test_a_choice_is_refused_where_it_matters() -> None:
    for kind, word in ((EventType.SQL, "SQL"), (EventType.TRUNCATE, "TRUNCATE")):
        of = inventory(*TWO_WALS)
        of.events["type"][4] = kind
        assert word in _arranged(of).refusals[0].reason
    of = inventory(*TWO_WALS)
    of.events["mode"][4] = DedupMode.REPLACE_RANGE
    assert "replaces a range" in _arranged(of).refusals[0].reason
    assert _arranged(inventory(*TWO_WALS), dedup=True, shared=True).refusals[0].code == "order-ambiguous"
    assert not _arranged(inventory(*TWO_WALS), dedup=True, shared=False).refusals


def test_statements_of_a_single_writer_need_no_choice() -> None:
    of = inventory(*((1, 0, txn) for txn in range(4)))
    of.events["type"][2] = EventType.TRUNCATE
    assert not _arranged(of).refusals


def test_a_structure_change_stands_before_the_first_data_under_it() -> None:
    of = inventory((1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 1, 0))
    of.events["structure"] = [0, 1, 0, 1]
    order = _arranged(of, target=1)
    assert order.event.tolist() == [0, 2, CHANGE, 1, 3]
    assert order.version.tolist() == [0, 0, 1, 1, 1]


def test_data_under_a_structure_that_nothing_leads_to_is_refused() -> None:
    of = inventory((1, 0, 0), (1, 1, 0))
    of.events["structure"] = [0, 1]
    assert [r.code for r in _arranged(of).refusals] == ["structure-change-lost"]


def test_a_statement_beside_a_structure_change_without_records_is_refused() -> None:
    of = inventory((1, 0, 0), (1, 0, 1), (1, 1, 0))
    of.events["structure"] = [0, 0, 1]
    of.events["type"][1] = EventType.SQL
    assert [r.code for r in _arranged(of, target=1).refusals] == ["order-ambiguous"]


def test_a_named_structure_change_stays_where_it_was(tmp_path: Path) -> None:
    of = inventory((1, 0, 0), (1, 1, 0))
    of.events["structure"] = [0, 1]
    records = [record((1, 0, 0)), record(None, 1), record((1, 1, 0), 1)]
    order = _arranged(of, named(of, 0, scanned(written_log(tmp_path / "a", records), of, 0)), target=1)
    assert order.event.tolist() == [0, CHANGE, 1]
    assert not order.chosen


def test_a_hundred_thousand_transactions_are_ordered_in_a_moment() -> None:
    rng = np.random.default_rng(11)
    of = inventory(*((wal, 0, txn) for wal in (1, 2, 3) for txn in range(30_000)))
    of.events["max_ts"] = rng.integers(0, 10**9, len(of))
    order = _arranged(of)
    for wal in (1, 2, 3):
        mine = order.event[of.events["wal"][order.event] == wal]
        assert (np.diff(mine) > 0).all()


def test_rows_without_a_record_beside_a_change_of_dedup_keys_are_refused() -> None:
    of = inventory((1, 0, 0), (1, 0, 1))
    wanted = Wanted(np.arange(2), 0, 0, 1, TxnSet(), False, False, (1,))
    assert [refusal.code for refusal in arrange(of, named(of, 0), wanted).refusals] == ["order-ambiguous"]
    later = inventory((1, 1, 0), structure=1)  # written after it, as its segment says
    wanted = Wanted(np.arange(1), 0, 0, 1, TxnSet(), False, False, (1,))
    assert not arrange(later, named(later, 0), wanted).refusals
