"""Which WALs of others cannot have taken the place of an own one."""

import pytest

from console.table.belonging import Kinship, Verdict
from console.table.wal_origin import Origins, never_own

OTHERS = Origins(
    {},
    {
        2: Verdict(Kinship.FOREIGN, "is of another table"),
        9: Verdict(Kinship.EARLIER, "is of an earlier life"),
        10: Verdict(Kinship.UNPROVEN, "may be of an earlier life"),
    },
)


@pytest.mark.parametrize(
    ("own", "handed_out", "free"),
    [
        (8, 8, {9}),
        (1, 8, {9}),
        (8, 9, set()),  # wal9 was given out: it was there
        (8, None, set()),
        (8, 7, set()),  # an index below a WAL on disk is wrong
        (0, 0, set()),  # as a lost page says
        (0, 1, {2, 9}),
    ],
)
def test_an_id_that_was_never_given_out_replaced_nothing(own: int, handed_out: int | None, free: set[int]) -> None:
    assert never_own(OTHERS, own, handed_out) == free
