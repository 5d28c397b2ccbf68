"""Tables struck once, each in a way that no rule was written for: what is announced is so, or the plan is refused.

The longer list, of what held from the start, is in test_adversary_held.py.
"""

from pathlib import Path

import pytest

from console.recovery.server.jvm import ServerBinary
from tests.real.adversary_strikes import (
    DEDUP,
    PLAIN,
    WIDE,
    all_of,
    gone,
    rows,
    together,
    txn_field,
    wide,
    zeroed,
)
from tests.real.adversary_world import Case, Ended, hold, play

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


CASES = (
    _count("counted_low", 2, repaired=False),
    _count("counted_lower", 1, repaired=False),
    _count("counted_none", 0, repaired=False),
    _count("counted_high", 4, repaired=True),
    _count("counted_far_too_high", 9, repaired=True),
    _count("counted_low_with_keys", 2, repaired=True, suffix=DEDUP),
    Case("counted_low_of_two", PLAIN, (together(0, 24),), (together(48, 72),), all_of(txn_field(80, "<q", 1), gone),
         repaired=False),
    _lag("lag_of_one", 1),
    _lag("lag_unordered", -2),
    _lag("lag_with_rows", 2, 3),
    _page("array_entries", "a.i", log=True),
    _page("array_values", "a.d", log=True),
    _page("array_entries_alone", "a.i", log=False),
    _page("array_values_alone", "a.d", log=False),
    _page("cube_entries", "b.i", log=True),
    _page("cube_values", "b.d", log=True),
    Case("whole", PLAIN, _APPLIED, _PENDING, gone, repaired=True),
    Case("whole_wide", WIDE, (wide(0), wide(24)), (wide(48), wide(72)), gone, repaired=True),
)  # fmt: skip


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """All cases, played together."""
    return play(tmp_path_factory.mktemp("adversary") / "work", CASES, questdb)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_what_is_lost_was_announced_or_the_plan_is_refused(name: str, ended: dict[str, Ended]) -> None:
    hold(ended[name])


def test_nothing_of_a_run_is_left(tmp_path_factory: pytest.TempPathFactory, ended: dict[str, Ended]) -> None:
    """The directories of a run are removed; only what was said is kept."""
    assert ended
    assert not list(Path(tmp_path_factory.getbasetemp()).glob("adversary*/work"))
