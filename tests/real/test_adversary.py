"""Tables struck once, each in a way that no rule was written for: what is announced is so, or the plan is refused.

The longer list, of what held from the start, is in test_adversary_held.py.
"""

from pathlib import Path

import pytest

from console.recovery.server.jvm import ServerBinary
from console.table.ledger import Evidence
from tests.real.adversary_strikes import (
    DEDUP,
    PLAIN,
    WIDE,
    Strike,
    all_of,
    exchanged,
    gone,
    header,
    nothing,
    older_events,
    older_sequencer,
    other_stations_wal,
    rows,
    segment_copied,
    segment_removed,
    segment_timestamp,
    together,
    txn_field,
    wal_copied,
    wal_removed,
    wals_closed,
    wide,
    zeroed,
)
from tests.real.adversary_world import Case, Played, Step, Table, hold, play

pytestmark = pytest.mark.timeout(900)  # one fixture plays all cases

_APPLIED = (rows(0), rows(24), rows(48))
_PENDING = (rows(72), rows(96))


def _count(name: str, seq_txn: int, *, repaired: bool, suffix: str = "PARTITION BY DAY WAL") -> Case:
    """`_txn` counts another number of applied transactions than 3."""
    strike = all_of(txn_field(80, "<q", seq_txn), gone)
    return Case(name, PLAIN, _APPLIED, _PENDING, strike, repaired=repaired, suffix=suffix)


def _lag(name: str, txns: int, held: int = 0) -> Case:
    """`_txn` counts a lag that its checksum does not cover."""
    strike = all_of(txn_field(92, "<i", txns), txn_field(96, "<i", held), gone)
    return Case(name, PLAIN, _APPLIED, _PENDING, strike, repaired=True)


def _page(name: str, file: str, *, log: bool) -> Case:
    """The first page of an array column is zeros; arrays of zeros are NULL, or have no shape."""
    strike = zeroed(file) if log else all_of(zeroed(file), gone)
    return Case(name, WIDE, (wide(0), wide(24)), (wide(48), wide(72)), strike, repaired=True)


def _one(name: str, strike: Strike, *, repaired: bool | None = None) -> Case:
    return Case(name, PLAIN, _APPLIED, _PENDING, strike, repaired=repaired)


def _keyed(name: str, strike: Strike) -> Case:
    return Case(name, PLAIN, _APPLIED, _PENDING, strike, suffix=DEDUP)


def _two(name: str, strike: Strike, *, repaired: bool | None = None) -> Case:
    """Two WALs, each with a transaction applied and one not."""
    return Case(name, PLAIN, (together(0, 24),), (together(48, 72),), strike, repaired=repaired)


def _aged(name: str, strike: Strike, *, repaired: bool | None = None) -> Case:
    """Event files were kept aside one transaction before the end."""
    return Case(name, PLAIN, (rows(0), rows(24)), (rows(48), "KEEP old", rows(72)), strike, repaired=repaired)


def _older(name: str, *last: Step, strike: Strike = nothing, repaired: bool | None = None) -> Case:
    """The sequencer is one of an earlier moment: nothing but the segments has the last transactions.

    The last one of one writer can be what a kill leaves: then no action is planned, and the rows are an unknown number.
    Of several writers their rows are at risk, and come back.
    """
    strike = all_of(strike, older_sequencer("old"))
    return Case(name, PLAIN, (rows(0), together(12, 24, 36)), ("KEEP old", *last), strike, repaired=repaired)


def _same_batch(table: Table) -> Step:
    """Two writers send rows that differ in nothing but their id."""
    return tuple(table.rows("px, sym", "1.0, 'x'", 5, 100) for _ in range(2))


def _changed(name: str, *pending: Step, suffix: str = "PARTITION BY DAY WAL") -> Case:
    """A structure change waits that nothing but `txn_seq` tells of: no segment was begun with it.

    A connection that ALTERs a table writes to the sequencer alone. A writer begins a segment with the new structure
    when it writes next, and a change of dedup keys begins none. So the plan can only say that there may be a change.
    """
    return Case(name, PLAIN, (rows(0), rows(24)), pending, gone, repaired=True, suffix=suffix, unseen=True)


CASES = (
    _changed("keys_added", rows(48), "ALTER TABLE {t} DEDUP ENABLE UPSERT KEYS(ts, sym)", rows(48)),
    _changed("keys_removed", "ALTER TABLE {t} DEDUP DISABLE", rows(24), rows(24), suffix=DEDUP),
    _changed("column_added_last", rows(48), "ALTER TABLE {t} ADD COLUMN z INT"),
    _changed("column_dropped_last", rows(48), "ALTER TABLE {t} DROP COLUMN px"),
    _aged("events_and_index_older", all_of(older_events("old", "_event", "_event.i"), gone), repaired=True),
    _one("columns_exchanged", all_of(exchanged("id.d", "px.d"), gone), repaired=False),
    _one("price_zeroed", all_of(zeroed("px.d"), gone), repaired=False),
    _one("symbols_zeroed", all_of(zeroed("sym.d"), gone), repaired=False),
    _keyed("columns_exchanged_keyed", all_of(exchanged("id.d", "px.d"), gone)),
    _keyed("price_zeroed_keyed", all_of(zeroed("px.d"), gone)),
    _keyed("price_zeroed_keyed_logged", all_of(zeroed("px.d"), header(-1))),
    _two("price_zeroed_of_two", all_of(zeroed("px.d"), gone), repaired=False),
    _count("counted_low", 2, repaired=True),
    _count("counted_lower", 1, repaired=True),
    _count("counted_none", 0, repaired=True),
    _count("counted_high", 4, repaired=True),
    _count("counted_far_too_high", 9, repaired=True),
    _count("counted_low_with_keys", 2, repaired=True, suffix=DEDUP),
    Case("counted_low_of_two", PLAIN, (together(0, 24),), (together(48, 72),), all_of(txn_field(80, "<q", 1), gone),
         repaired=True),
    _lag("lag_of_one", 1),
    _lag("lag_unordered", -2),
    _lag("lag_with_rows", 2, 3),
    _page("array_entries", "a.i", log=True),
    _page("array_values", "a.d", log=True),
    _page("array_entries_alone", "a.i", log=False),
    _page("array_values_alone", "a.d", log=False),
    _page("cube_entries", "b.i", log=True),
    _page("cube_values", "b.d", log=True),
    _two("segment_gone", all_of(segment_removed(2), gone), repaired=False),
    _two("wal_gone", all_of(wal_removed(2), gone), repaired=False),
    _two("first_wal_gone", all_of(wal_removed(1), gone), repaired=False),
    _one("only_wal_gone", all_of(wal_removed(1), gone), repaired=False),
    _one("segment_twice", all_of(segment_copied, gone), repaired=False),
    _one("segment_twice_logged", segment_copied, repaired=False),
    _one("wal_twice", all_of(wal_copied("wal7"), gone), repaired=False),
    _one("wal_twice_logged", wal_copied("wal7"), repaired=False),
    _one("wal_beside", all_of(wal_copied("wal1.bak"), gone), repaired=True),
    Case("batch_sent_twice", PLAIN, _APPLIED, (rows(72), _same_batch, _same_batch), gone, repaired=True),
    _aged("events_older_than_index", all_of(older_events("old", "_event"), gone), repaired=True),
    _aged("events_older_than_log", older_events("old", "_event")),
    _aged("index_older", all_of(older_events("old", "_event.i"), gone), repaired=True),
    Case("donor", PLAIN, (rows(0),), (rows(24), rows(48)), nothing),
    _two("strange_in_place", all_of(other_stations_wal(2), gone)),
    _two("strange_added", all_of(other_stations_wal(3), gone)),
    _one("strange_alone", all_of(other_stations_wal(1), gone)),
    _older("log_older_by_one", rows(48)),
    _older("log_older_by_one_each", together(48, 72, 96), repaired=True),
    _older("log_older_by_two", rows(48), rows(72), repaired=True),
    _older("log_older_than_closed", together(48, 72, 96), strike=wals_closed, repaired=True),
    _one("symbols_counted_low", txn_field(132, "<i", 3)),
    _one("symbols_counted_none", txn_field(132, "<i", 0)),
    _one("symbols_counted_high", txn_field(132, "<i", 9), repaired=True),
    _one("segment_timestamp_elsewhere", segment_timestamp(1)),
    _one("segment_timestamp_nowhere", segment_timestamp(200)),
    _one("segment_timestamp_without_log", all_of(segment_timestamp(3), gone), repaired=True),
    _one("counted_low_logged", txn_field(80, "<q", 2), repaired=True),
    _one("counted_none_logged", txn_field(80, "<q", 0), repaired=True),
    _one("counted_high_logged", txn_field(80, "<q", 4), repaired=True),
    _one("counted_all_logged", txn_field(80, "<q", 5), repaired=True),
    Case("counted_low_keyed", PLAIN, _APPLIED, _PENDING, txn_field(80, "<q", 2), repaired=True, suffix=DEDUP),
    Case("whole", PLAIN, _APPLIED, _PENDING, gone, repaired=True),
    Case("whole_wide", WIDE, (wide(0), wide(24)), (wide(48), wide(72)), gone, repaired=True),
)  # fmt: skip


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, workshop: Path) -> dict[str, Played]:
    """All cases, played together."""
    return play(workshop / "work", CASES, questdb)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_what_is_lost_was_announced_or_the_plan_is_refused(name: str, ended: dict[str, Played]) -> None:
    hold(ended[name])


@pytest.mark.parametrize("name", [case.name for case in CASES if case.name.startswith("strange_")])
def test_a_wal_of_which_only_times_tell_that_it_was_put_in_makes_the_loss_unknown(
    name: str, ended: dict[str, Played]
) -> None:
    each = ended[name]
    assert each.plan is not None, each
    evidence = {entry.evidence for entry in each.plan.ledger}
    assert each.plan.rows_lost.kind == "unknown", each
    assert Evidence.WAL_UNPROVEN in evidence or each.plan.refused, each
