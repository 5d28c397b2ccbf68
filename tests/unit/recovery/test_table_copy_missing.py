"""What a copy lacks, as multisets of rows: hashes that tell rows apart, and partners that are used once."""

import random
from collections import Counter

import numpy as np

from console.questdb.column_types import ColumnTag
from console.questdb.row_hashes import row_hashes
from console.questdb.row_values import ArrayValues, BytesValues, FixedValues, Values
from console.recovery.actions.copy_table.missing import _not_among


def _texts(*texts: str | None) -> BytesValues:
    raw = [(text or "").encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in raw])]).astype(np.int64)
    null = np.array([text is None for text in texts])
    return BytesValues(int(ColumnTag.STRING), np.frombuffer(b"".join(raw), np.uint8), offsets, null)


def _numbers(*values: int | None) -> FixedValues:
    null = np.array([value is None for value in values])
    return FixedValues(int(ColumnTag.LONG), np.array([value or 0 for value in values], "<i8"), null)


def _arrays(*rows: list[float]) -> ArrayValues:
    shapes = np.array([[len(row)] for row in rows], np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    values = np.array([value for row in rows for value in row], np.float64)
    return ArrayValues(int(ColumnTag.ARRAY), shapes, values, offsets, np.zeros(len(rows), np.bool_))


def test_rows_that_differ_in_one_value_have_other_hashes() -> None:
    columns: list[Values] = [
        _numbers(1, 1, 1, 2, 1, None, 0, 1, 1),
        _texts("ab", "ab", "ba", "ab", None, "ab", "ab", "", "ab"),
        _arrays([1.0], [1.0], [1.0], [1.0], [1.0], [1.0], [1.0], [1.0], [1.0, 0.0]),
    ]
    found = row_hashes(columns, 9).tolist()
    assert found[0] == found[1]
    assert len(set(found)) == 8


def test_a_hash_does_not_depend_on_where_the_rows_lie() -> None:
    one = row_hashes([_texts("x", "a long text of some length", "y")], 3)
    other = row_hashes([_texts("a long text of some length", "x")], 2)
    assert one[1] == other[0]
    assert one[0] == other[1]


def test_every_partner_is_used_once() -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for _ in range(200):
        mine = [rng.randrange(6) for _ in range(rng.randrange(1, 20))]
        others = [rng.randrange(6) for _ in range(rng.randrange(20))]
        lacking = _not_among(np.array(mine, np.uint64), np.array(others, np.uint64))
        left = Counter(value for value, lacks in zip(mine, lacking.tolist(), strict=True) if lacks)
        assert left == Counter(mine) - Counter(others), f"seed {seed}: {mine} {others}"
