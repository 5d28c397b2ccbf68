"""The counting of rows: against its definition carried out slowly, and against the truth."""

import itertools
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from console.recovery.sequencer.multisets import Evidence, settle

_Wal = list[list[int]]  # the rows of each event
_WALS = st.lists(st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=3), min_size=1, max_size=3)


def _evidence(wals: list[_Wal], table: list[int], applied: list[int]) -> Evidence:
    events = [(wal, rows) for wal, each in enumerate(wals) for rows in each]
    values = np.array([row for _, rows in events for row in rows], np.uint64)
    there, known = np.array(table, np.uint64), np.array(applied, np.uint64)
    return Evidence(
        wal=np.array([wal for wal, _ in events], np.int64),
        event=np.repeat(np.arange(len(events)), [len(rows) for _, rows in events]),
        values=values, sure=values, table_values=there, table_sure=there, applied_values=known, applied_sure=known,
        decides=np.ones(len(values), np.bool_), free=np.ones(len(values), np.bool_),
        absent=np.zeros(len(events), np.bool_),
    )  # fmt: skip


def _ways(wals: list[_Wal]) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(len(wal) + 1) for wal in wals)))


def _held(wals: list[_Wal], cuts: tuple[int, ...]) -> Counter[int]:
    return Counter(row for wal, cut in zip(wals, cuts, strict=True) for rows in wal[:cut] for row in rows)


def _slowly(wals: list[_Wal], table: Counter[int], applied: Counter[int]) -> tuple[list[bool], list[bool]]:
    """Return what `settle` says, by its definition, event by event."""
    events = [(wal, number) for wal, each in enumerate(wals) for number in range(len(each))]
    present: set[tuple[int, int]] = set()
    absent: set[tuple[int, int]] = set()

    def until(marked: set[tuple[int, int]], wal: int) -> int:
        return max((number + 1 for w, number in marked if w == wal), default=0)

    def before(wal: int) -> int:
        return min((number for w, number in absent if w == wal), default=len(wals[wal]))

    while not any(until(present, wal) > before(wal) for wal in range(len(wals))):
        found_present, found_absent = set(present), set(absent)
        for wal, number in events:
            possible = [before(other) for other in range(len(wals))]
            sure = [until(present, other) for other in range(len(wals))]
            possible[wal] = sure[wal] = number + 1
            most, least = _held(wals, tuple(possible)) + applied, _held(wals, tuple(sure)) + applied
            rows = wals[wal][number]
            if rows and all(table[row] >= most[row] for row in rows):
                found_present.add((wal, number))
            if any(table[row] < least[row] for row in rows):
                found_absent.add((wal, number))
        if (found_present, found_absent) == (present, absent):
            break
        present, absent = found_present, found_absent
    return [each in present for each in events], [each in absent for each in events]


@settings(max_examples=500)
@given(_WALS, st.lists(st.integers(0, 4), max_size=4), st.lists(st.integers(0, 4), max_size=3))
def test_it_is_what_the_definition_says(wals: list[_Wal], table: list[int], applied: list[int]) -> None:
    present, absent = settle(_evidence(wals, table, applied))
    assert (present.tolist(), absent.tolist()) == _slowly(wals, Counter(table), Counter(applied))


@settings(max_examples=800)
@given(_WALS, st.lists(st.integers(0, 4), max_size=3), st.data())
def test_where_all_events_are_on_disk_it_is_the_truth(
    wals: list[_Wal], applied: list[int], data: st.DataObject
) -> None:
    """Rows of few values, so that many events have the same: what is decided is so, whatever stays open."""
    truth = data.draw(st.sampled_from(_ways(wals)))
    table = Counter(applied) + _held(wals, truth)
    present, absent = settle(_evidence(wals, list(table.elements()), applied))
    was_applied = [number < cut for wal, cut in zip(wals, truth, strict=True) for number in range(len(wal))]
    assert not [at for at, really in enumerate(was_applied) if (present[at] and not really) or (absent[at] and really)]


@settings(max_examples=400)
@given(_WALS, st.data())
def test_where_each_row_is_its_own_everything_is_decided(wals: list[_Wal], data: st.DataObject) -> None:
    """Rows that differ from all others leave nothing open but events without a row."""
    truth = data.draw(st.sampled_from(_ways(wals)))
    numbers = itertools.count()
    unlike = [[[next(numbers) for _ in rows] for rows in wal] for wal in wals]
    present, absent = settle(_evidence(unlike, list(_held(unlike, truth).elements()), []))
    wanted = [
        (bool(rows) and number < cut, bool(rows) and number >= cut)
        for wal, cut in zip(unlike, truth, strict=True)
        for number, rows in enumerate(wal)
    ]
    assert list(zip(present.tolist(), absent.tolist(), strict=True)) == wanted
