"""What zeros of a column are worth: those of a whole partition, and those at its edges, by what the others hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from typing import Final

from console.diagnosis.model import Code, Finding, Severity
from console.questdb.column_types import ColumnTag, storage_size
from console.questdb.partition_columns import StoredColumn

_LEAST_ROWS: Final = 64
_SELDOM: Final = 0.01
_HALF: Final = 0.5
"""Zero is a symbol like any other: of a SYMBOL more than so many in any other partition say that it is common."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of a column's values in one partition are zeros, from 0 to 1."""

    each: StoredColumn
    share: float


Shares = Mapping[int, Sequence[Share]]
"""The shares of each column by partition."""


def zero_columns(columns: Shares) -> Iterator[StoredColumn]:
    """Yield each column that is zeros throughout a partition, if it is hardly ever zero in as many other rows.

    That is worth no more than a note: nothing but the values says so.
    """
    for shares in columns.values():
        symbols = shares[0].each.column.tag is ColumnTag.SYMBOL
        if symbols and not any(0 < each.share < 1 for each in shares):
            shares = list(dropwhile(lambda each: each.share == 1, shares))  # the first symbol came first, and left
        zeros = [each.each for each in shares if each.share == 1 and each.each.rows >= _LEAST_ROWS]
        common = not symbols or any(_HALF < each.share < 1 for each in shares)
        if zeros and _seldom(shares, zeros, _SELDOM if common else _HALF):
            yield from zeros


def weighed(finding: Finding, columns: Shares) -> Finding:
    """Return a finding as a note, if it is about zeros that begin with the first row or end with the last one.

    A counter that begins anew each day has such zeros, and of some the other end lies at the border of a page. Only if
    hardly any other value of the column is zero they stay suspect.
    """
    if finding.code is not Code.SUSPECT_VALUES or finding.severity is Severity.NOTE or not finding.column:
        return finding
    for shares in columns.values():
        for own in (each.each for each in shares if each.each.span.name == finding.partition):
            if own.column.name == finding.column and _at_an_edge(own, finding):
                often = [each.each for each in shares if each.share >= _SELDOM or each.each is own]
                return finding if _seldom(shares, often) else replace(finding, severity=Severity.NOTE)
    return finding


def _seldom(shares: Sequence[Share], zeros: Sequence[StoredColumn], most: float = _SELDOM) -> bool:
    """Return whether hardly any value (a share of `most`) is zero in as many other rows as `zeros` have."""
    others = sum(each.each.rows for each in shares if each.share < most and each.each not in zeros)
    return others >= sum(each.rows for each in zeros)


def _at_an_edge(each: StoredColumn, finding: Finding) -> bool:
    """Return whether the rows of a finding are the first, or the last, of a column of fixed width in a partition."""
    first = (finding.offset or 0) // (storage_size(each.column.type_code) or 1)
    return not first or first + (finding.rows or 0) >= each.rows
