"""Pieces of an array put one after another, whatever their order, their length and their number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.questdb.row_values import gather, items_at

_DATA = np.arange(2000, dtype=np.uint16)


def _pieces(starts: np.ndarray, lengths: np.ndarray) -> list[int]:
    return [value for low, count in zip(starts, lengths, strict=True) for value in _DATA[low : low + count].tolist()]


@given(st.lists(st.tuples(st.integers(0, 1900), st.integers(0, 100)), max_size=60))
def test_pieces_in_any_order(pieces: list[tuple[int, int]]) -> None:
    starts, lengths = np.array(pieces, np.int64).reshape(-1, 2).T
    assert gather(_DATA, starts, lengths).tolist() == _pieces(starts, lengths)


@pytest.mark.parametrize("gaps", [0, 1, 40, 5000])
def test_many_pieces_with_few_and_many_gaps(gaps: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 200, 5000)
    data = rng.integers(0, 256, int(lengths.sum()) + gaps, np.uint8)
    skipped = np.zeros(len(lengths), np.int64)
    np.add.at(skipped, rng.integers(0, len(lengths), gaps), 1)
    starts = np.cumsum(lengths) - lengths + np.cumsum(skipped)
    expected = b"".join(data[low : low + count].tobytes() for low, count in zip(starts, lengths, strict=True))
    assert gather(data, starts, lengths).tobytes() == expected, f"seed {seed}"


def test_items_that_overlap() -> None:
    block = np.arange(10, dtype=np.uint8)
    assert items_at(block, np.array([0, 1, 6]), "<u4").tobytes() == bytes([0, 1, 2, 3, 1, 2, 3, 4, 6, 7, 8, 9])
    assert len(items_at(block[:2], np.array([], np.int64), "<u4")) == 0
