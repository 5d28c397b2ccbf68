"""Sets of transactions against Python's own, and a longest rising run against a plain one; seeds are printed."""

import random
from itertools import pairwise

import numpy as np
import pytest

from console.table.log_order import longest_rising, undisputed
from console.table.txn_set import TxnSet

_TOP = 100_000  # four blocks


def _some(rng: random.Random) -> list[int]:
    """Return numbers in runs and alone, over several blocks."""
    found: set[int] = set()
    for _ in range(rng.randint(0, 30)):
        at = rng.choice((rng.randrange(_TOP), rng.choice((0, 32_767, 32_768, 65_535))))
        found.update(range(at, min(_TOP, at + rng.choice((1, 2, 40, 40_000)))))
    return sorted(found)


@pytest.mark.parametrize("seed", range(30))
def test_sets_say_what_sets_of_python_say(seed: int) -> None:
    rng = random.Random(seed)
    one, two = _some(rng), _some(rng)
    a, b = TxnSet(np.array(one, np.int64)), TxnSet()
    mask = np.zeros(_TOP, np.bool_)
    mask[two] = True
    start = rng.randrange(_TOP)
    b.add_mask(0, mask[:start])
    b.add_mask(start, mask[start:])
    run = TxnSet()
    run.add_run(7, _TOP - start)
    assert _members(run) == set(range(7, _TOP - start + 1))
    low = rng.randrange(_TOP)
    high = rng.randrange(low, _TOP)
    inside = {each for each in one if low <= each <= high}
    assert (len(a), bool(a), a.first(), a.last()) == (
        len(one),
        bool(one),
        min(one, default=None),
        max(one, default=None),
    )
    assert _members(a | b) == {*one, *two}
    assert _members(a - b) == {*one} - {*two}
    assert (a.count(low, high), _members(a.within(low, high))) == (len(inside), inside)
    assert (a == b, a == TxnSet(np.array(one, np.int64)), low in a) == (one == two, True, low in set(one))
    assert np.flatnonzero(a.mask(low, high)).tolist() == sorted(each - low for each in inside)
    numbers = np.array([low, high, 0, _TOP], np.int64)
    assert a.below(numbers).tolist() == [sum(each < n for each in one) for n in numbers.tolist()]
    gaps = list(a.gaps(low, high))
    assert {each for first, last in gaps for each in range(first, last + 1)} == set(range(low, high + 1)) - inside
    runs = list(a.within(low, high).runs())
    assert all(before[1] + 1 < after[0] for before, after in pairwise(runs))
    most = rng.randint(1, 4)
    assert list(a.last_runs(low, high, most)) == runs[-most:]


def _members(of: TxnSet) -> set[int]:
    return {each for first, last in of.runs() for each in range(first, last + 1)}


@pytest.mark.parametrize("seed", range(60))
def test_a_longest_rising_run_is_one_and_is_longest(seed: int) -> None:
    rng = random.Random(seed)
    values = [rng.randrange(12) if rng.random() < 0.4 else at for at in range(rng.randint(0, 14))]
    kept = longest_rising(np.array(values, np.int64))
    chosen = [value for value, keep in zip(values, kept.tolist(), strict=True) if keep]
    assert all(before < after for before, after in pairwise(chosen))
    lengths: list[int] = []
    for at, value in enumerate(values):
        lengths.append(1 + max((n for n, other in zip(lengths, values[:at], strict=True) if other < value), default=0))
    assert len(chosen) == max(lengths, default=0)
    assert kept[undisputed(np.array(values, np.int64))].all()
