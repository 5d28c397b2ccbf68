"""A record above the applied transaction that names what is applied already: check and plan call it the same."""

from pathlib import Path

import numpy as np
import pytest

from console.recovery.sequencer import applied_prefix
from console.recovery.sequencer.applied_prefix import Cuts, Seen
from console.table.inventory import Inventory
from console.table.unapplied import State, Unapplied, decide
from tests.unit.sequencer.made import Address, inventory, named, record, scanned, written_log

ZEROS = np.zeros_like(record(None))
WAL1 = ((1, 0, 0), (1, 0, 1), (1, 0, 2))
TWO = (*WAL1, (2, 0, 0), (2, 0, 1))
A, W, U = State.APPLIED, State.WAITING, State.UNSURE


def _both(folder: Path, of: Inventory, applied: int, *records: Address | None) -> tuple[Unapplied, Cuts]:
    """Return what check says and what the plan says of a log of `records`; None makes zeros."""
    written = written_log(folder, [ZEROS if each is None else record(each) for each in records])
    scan = scanned(written, of, applied)
    checked = decide(of, applied, (("txn_seq", scan),), 0)
    return checked, applied_prefix.decide(of, named(of, applied, scan), applied, 0, None)


@pytest.mark.parametrize(
    ("on_disk", "applied", "records", "states"),
    [
        (WAL1, 2, ((1, 0, 0), (1, 0, 1), (1, 0, 1)), [A, A, W]),  # the replay stands where 0/2 was
        (WAL1, 2, ((1, 0, 0), (1, 0, 1), (1, 0, 0)), [A, A, W]),  # and of an earlier one
        (WAL1, 2, (None, (1, 0, 1), (1, 0, 0)), [A, A, W]),  # of one whose own record is lost
        (TWO, 4, ((1, 0, 0), (2, 0, 0), (2, 0, 1), (1, 0, 1), (2, 0, 0)), [A, A, W, A, A]),
        (TWO, 3, ((1, 0, 0), (2, 0, 0), (1, 0, 1), (1, 0, 1), (1, 0, 1)), [A, A, W, A, W]),  # named twice again
    ],
)
def test_check_and_plan_agree_about_a_replay(
    tmp_path: Path, on_disk: tuple[Address, ...], applied: int, records: tuple[Address | None, ...], states: list[State]
) -> None:
    checked, planned = _both(tmp_path / "log", inventory(*on_disk), applied, *records)
    assert (checked.state.tolist(), checked.exact) == (states, True)
    assert planned.refusals == ()
    assert planned.applied.tolist() == [state is A for state in states]


def test_a_replay_gives_no_number_to_what_is_applied(tmp_path: Path) -> None:
    checked, _ = _both(tmp_path / "log", inventory(*WAL1), 2, (1, 0, 0), (1, 0, 1), (1, 0, 1))
    assert checked.seq_txn.tolist() == [0, 0, 3]  # one place, and one transaction that it can be
    assert checked.lost == 0


def test_a_replay_with_nothing_left_to_stand_for_counts_as_lost(tmp_path: Path) -> None:
    checked, _ = _both(tmp_path / "log", inventory(*WAL1[:2]), 2, (1, 0, 0), (1, 0, 1), (1, 0, 1))
    assert (checked.state.tolist(), checked.lost) == ([A, A], 1)


@pytest.mark.parametrize("count", [1, 2])
def test_a_wal_that_may_have_been_made_anew_is_left_open(tmp_path: Path, count: int) -> None:
    """A sequencer that lost its `_wal_index.d` gives out wal1 again: old and new records have the same addresses."""
    of = inventory(*WAL1[:count], (2, 0, 0))
    records = (*WAL1[:count], (2, 0, 0), *WAL1[:count])
    checked, _ = _both(tmp_path / "log", of, count + 1, *records)
    assert checked.state.tolist() == [*[U] * count, A]
    assert (checked.exact, checked.rows(of), checked.bound(of)) == (False, None, 10 * count)
    assert "wal1" in checked.why


def test_with_a_wal_that_may_be_new_what_no_record_names_is_open_too(tmp_path: Path) -> None:
    records = ((1, 0, 0), (2, 0, 0), (1, 0, 1), (2, 0, 0), (2, 0, 1))
    checked, _ = _both(tmp_path / "log", inventory(*TWO), 3, *records)
    assert checked.state.tolist() == [A, A, U, U, W]


def test_the_rows_decide_where_only_the_record_of_an_old_wal_names_an_event(tmp_path: Path) -> None:
    """The third record is of the purged wal1. The sixth, of the new one, names the same: it decides, unless lost."""
    of = inventory(*WAL1, (1, 0, 3))
    records = [record(a) for a in (*WAL1, *WAL1[:2], (1, 0, 2), (1, 0, 3))]
    whole = scanned(written_log(tmp_path / "whole", records), of, 5)
    decided = decide(of, 5, (("txn_seq", whole),), 0)
    assert (decided.state.tolist(), decided.seq_txn.tolist(), decided.exact) == ([A, A, W, W], [0, 0, 6, 7], True)
    records[5] = ZEROS
    scan = scanned(written_log(tmp_path / "log", records), of, 5)
    assert decide(of, 5, (("txn_seq", scan),), 0).state.tolist() == [A, A, U, W]
    names = named(of, 5, scan)
    assert [each.code for each in applied_prefix.decide(of, names, 5, 0, None).refusals] == ["applied-ambiguous"]
    absent = applied_prefix.decide(of, names, 5, 0, lambda events, *_: np.full(len(events), Seen.ABSENT))
    assert (absent.applied.tolist(), absent.refusals) == ([True, True, False, False], ())
    assert names.where_new(~absent.applied).seq.tolist() == [4, 5, 0, 7]
    present = applied_prefix.decide(of, names, 5, 0, lambda events, *_: np.full(len(events), Seen.PRESENT))
    assert present.applied.tolist() == [True, True, True, False]
    assert names.where_new(~present.applied).seq.tolist() == [4, 5, 3, 7]


def test_an_old_copy_that_calls_a_new_event_applied_is_refused_by_the_rows(tmp_path: Path) -> None:
    of = inventory(*WAL1)
    names = named(of, 5, scanned(written_log(tmp_path / "log", [record(a) for a in WAL1]), of, 5))
    absent = applied_prefix.decide(of, names, 5, 0, lambda events, *_: np.full(len(events), Seen.ABSENT))
    assert [each.code for each in absent.refusals] == ["rows-contradict"]
    assert not applied_prefix.decide(of, names, 5, 0, lambda events, *_: np.full(len(events), Seen.UNKNOWN)).refusals
