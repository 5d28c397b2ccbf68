"""Which events are applied: by names, by the order within a WAL, by the count, by rows; what stays open is refused."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.segment import EventType
from console.recovery.sequencer.applied_prefix import Cuts, Look, Seen, decide
from console.table.inventory import Index, Inventory
from tests.unit.sequencer.made import inventory, named, record, scanned, written_log

ONE_WAL = tuple((1, 0, txn) for txn in range(5))
TWO_WALS = (*((1, 0, txn) for txn in range(3)), *((2, 0, txn) for txn in range(3)))


def _without_names(
    of: Inventory, applied: int, look: Look | None = None, structure: int = 0, highest: int | None = None
) -> Cuts:
    return decide(of, named(of, applied), applied, structure, look, highest_wal=highest)


def _seeing(*values: Seen) -> Look:
    def look(events: Index, applied: Index, waiting: Index) -> NDArray[Any]:
        del applied, waiting
        return np.array([values[at] for at in events], np.int64)

    return look


P, A, U = Seen.PRESENT, Seen.ABSENT, Seen.UNKNOWN


def test_names_decide_alone(tmp_path: Path) -> None:
    of = inventory(*TWO_WALS)
    records = [record(a) for a in ((2, 0, 0), (1, 0, 0), (2, 0, 1))]
    cuts = decide(of, named(of, 2, scanned(written_log(tmp_path / "a", records), of, 2)), 2, 0, None)
    assert cuts.applied.tolist() == [True, False, False, True, False, False]
    assert (cuts.evidence, cuts.refusals) == (("named by log 0",), ())


def test_an_unnamed_event_before_an_applied_one_of_its_wal_is_applied(tmp_path: Path) -> None:
    of = inventory(*ONE_WAL)
    records = [np.zeros_like(record(None)), record((1, 0, 1)), record((1, 0, 2))]
    cuts = decide(of, named(of, 2, scanned(written_log(tmp_path / "a", records), of, 2)), 2, 0, None)
    assert cuts.applied.tolist() == [True, True, False, False, False]


def test_nothing_applied_needs_no_other_evidence() -> None:
    cuts = _without_names(inventory(*TWO_WALS), 0)
    assert not cuts.applied.any()
    assert not cuts.refusals


def test_the_count_decides_for_one_wal_when_the_index_proves_that_nothing_was_purged() -> None:
    cuts = _without_names(inventory(*ONE_WAL), 4, structure=1, highest=1)
    assert int(cuts.applied.sum()) == 3  # one of the four was a structure change
    assert "the count" in cuts.evidence[-1]


def test_the_count_alone_is_no_evidence_when_the_newest_wal_may_have_been_purged() -> None:
    cuts = _without_names(inventory(*ONE_WAL), 3)
    assert [r.code for r in cuts.refusals] == ["applied-ambiguous"]


def test_the_count_does_not_choose_between_two_wals() -> None:
    cuts = _without_names(inventory(*TWO_WALS), 3, highest=2)
    assert [r.code for r in cuts.refusals] == ["applied-ambiguous"]
    assert "wal1" in cuts.refusals[0].reason
    assert "wal2" in cuts.refusals[0].reason


def test_all_or_none_by_count_needs_no_choice() -> None:
    assert _without_names(inventory(*TWO_WALS), 6, highest=2).applied.all()


def test_a_gap_in_segments_tells_of_a_purge() -> None:
    cuts = _without_names(inventory((1, 1, 0), (1, 1, 1)), 2, highest=1)
    assert [r.code for r in cuts.refusals] == ["applied-ambiguous"]


def test_rows_decide_between_wals() -> None:
    cuts = _without_names(inventory(*TWO_WALS), 3, _seeing(P, P, A, P, A, A))
    assert cuts.applied.tolist() == [True, True, False, True, False, False]
    assert "rows compared with the table's partitions" in cuts.evidence


def test_what_rows_leave_open_the_count_settles_only_if_it_is_unique() -> None:
    of = inventory(*TWO_WALS)
    of.events["type"][2] = EventType.SQL
    settled = _without_names(of, 4, _seeing(P, P, U, P, A, A), highest=2)
    assert settled.applied.tolist() == [True, True, True, True, False, False]
    unsure = _without_names(of, 4, _seeing(P, P, U, P, A, A))  # wal3 may have been purged unseen, and be the fourth
    assert [r.code for r in unsure.refusals] == ["applied-ambiguous"]
    purged = inventory((1, 1, 0), (1, 1, 1), (1, 1, 2))
    purged.events["type"][1] = EventType.SQL
    cuts = _without_names(purged, 40, _seeing(P, U, A))
    assert [r.code for r in cuts.refusals] == ["applied-ambiguous"]
    assert "1 transaction from segment 1 transaction 1" in cuts.refusals[0].reason


def test_rows_of_a_later_transaction_without_those_of_an_earlier_are_a_contradiction() -> None:
    cuts = _without_names(inventory(*ONE_WAL), 3, _seeing(P, A, P, A, A))
    assert [r.code for r in cuts.refusals] == ["rows-contradict"]


def test_more_rows_in_the_table_than_transactions_applied_contradict() -> None:
    cuts = _without_names(inventory(*TWO_WALS), 2, _seeing(P, P, A, P, A, A))
    assert [r.code for r in cuts.refusals] == ["rows-contradict"]


def test_skipped_transactions_do_not_contradict_rows() -> None:
    cuts = _without_names(inventory(*ONE_WAL), 2_000_000, _seeing(P, P, A, A, A), highest=1)
    assert cuts.applied.tolist() == [True, True, False, False, False]
    assert not cuts.refusals


def test_holes_bound_how_much_can_be_applied(tmp_path: Path) -> None:
    of = inventory(*ONE_WAL)
    records = [record((1, 0, 0)), record((1, 0, 1))]
    names = named(of, 3, scanned(written_log(tmp_path / "a", records, max_txn=5), of, 3))
    cuts = decide(of, names, 3, 0, _seeing(P, P, U, U, U))
    assert [r.code for r in cuts.refusals] == ["applied-ambiguous"]
    assert "1 transaction from segment 0 transaction 2" in cuts.refusals[0].reason  # one hole, so at most one of three


def test_what_is_torn_costs_its_rows_and_doubles_none_so_it_need_not_be_decided() -> None:
    of = inventory(*TWO_WALS)
    wal2 = np.arange(6) >= 3

    def cuts(last: Seen) -> Cuts:
        look = _seeing(P, P, A, U, U, last)
        return decide(of, named(of, 5), 5, 0, look, torn=lambda events: wal2 & np.isin(np.arange(6), events))

    decided = cuts(U)
    assert (decided.refusals, decided.applied.tolist()) == ((), [True, True, False, False, False, False])
    assert decided.undecided.tolist() == wal2.tolist()
    assert cuts(A).undecided.tolist() == [False, False, False, True, True, False]
    wal2[3] = False  # this one would come back, perhaps twice
    assert [each.code for each in cuts(U).refusals] == ["applied-ambiguous"]
