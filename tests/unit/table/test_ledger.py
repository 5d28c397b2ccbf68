"""The sum of a ledger, and what gives an entry its kind."""

import pytest

from console.records import of_json, to_json
from console.table.ledger import Entry, Evidence, Fate, RowsLost, rows_lost, rows_unapplied

EXACT, BOUND, UNKNOWN = RowsLost.exact(10), RowsLost.at_most(5), RowsLost.unknown()


def _lost(rows: RowsLost, fate: Fate = Fate.LOST, evidence: Evidence = Evidence.EVENT_UNDECODABLE) -> Entry:
    return Entry(fate, evidence, 1, rows)


@pytest.mark.parametrize(
    ("parts", "phrase"),
    [
        ((), "0"),
        ((EXACT, EXACT), "20"),
        ((EXACT, BOUND), "up-to-15"),
        ((EXACT, BOUND, UNKNOWN), "unknown"),
        ((UNKNOWN, RowsLost.exact(0)), "unknown"),
        ((RowsLost.at_most(0),), "0"),
    ],
)
def test_one_unknown_entry_makes_the_sum_unknown_and_one_bound_a_bound(
    parts: tuple[RowsLost, ...], phrase: str
) -> None:
    assert rows_lost(tuple(_lost(rows) for rows in parts)).phrase == phrase


def test_what_is_applied_or_comes_back_is_no_loss() -> None:
    ledger = (
        _lost(RowsLost.exact(7), Fate.APPLIED, Evidence.DECIDED),
        _lost(RowsLost.exact(30), Fate.COMES_BACK, Evidence.ON_DISK),
        _lost(RowsLost.at_most(4), Fate.LOST, Evidence.ZERO_PAGES),
        _lost(RowsLost.exact(2)),
    )
    assert rows_lost(ledger).phrase == "up-to-6"
    assert rows_unapplied(ledger).phrase == "32"


def test_an_entry_survives_json() -> None:
    entry = Entry(Fate.UNKNOWN, Evidence.NOT_FOLLOWED, None, RowsLost.unknown(), "wal2: a link")
    assert of_json(Entry, to_json(entry)) == entry
