"""Proof by values: each column of the partitions that unapplied rows touched is read through the server and from disk.

Through the server an aggregate touches every value; counts and sums of whole numbers must be the predicted ones. The
files of the same partitions must hold, bit by bit, what the table held before and what the log added.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from console.errors import WalmedicError
from console.questdb.column_types import ColumnTag, tag_of
from console.questdb.layout import TableDirectory
from console.questdb.partition_rows import TableRows
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError
from console.records import of_json
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim
from console.recovery.server.expectation import Expectation
from console.recovery.server.sql import Server, SqlError, quoted
from console.recovery.server.table_values import predicted_sums, sums_now
from console.recovery.server.value_sums import WHOLE_NUMBERS, ColumnSum, PartitionSums, TableSums
from console.text import clean_line, plural

_AT_ONCE: Final = 40  # columns in one statement
_DEADLINE: Final = 300.0  # seconds for one statement
_ATTEMPTS: Final = 5  # a server may move files of a partition while they are read
_MOST_LISTED: Final = 5
_DECIMALS: Final = (
    ColumnTag.DECIMAL8, ColumnTag.DECIMAL16, ColumnTag.DECIMAL32, ColumnTag.DECIMAL64, ColumnTag.DECIMAL128,
    ColumnTag.DECIMAL256,
)  # fmt: skip
_COUNTED: Final = (
    *WHOLE_NUMBERS[1:], *_DECIMALS, ColumnTag.STRING, ColumnTag.VARCHAR, ColumnTag.SYMBOL, ColumnTag.UUID,
)  # fmt: skip
# What touches every byte of a type's values, `{}` being the column; every version from 7.3.10 on has these functions.
_READ: Final = {
    ColumnTag.BOOLEAN: "sum(cast({} AS long))",
    ColumnTag.FLOAT: "sum({})",
    ColumnTag.DOUBLE: "sum({})",
    ColumnTag.CHAR: "max({})",
    ColumnTag.SYMBOL: "max({})",
    ColumnTag.STRING: "sum(length(upper({})))",
    ColumnTag.VARCHAR: "sum(length(upper({})))",
    ColumnTag.BINARY: "sum(length(base64({}, 100000000)))",
    ColumnTag.UUID: "sum(length(cast({} AS string)))",
    ColumnTag.LONG256: "sum({})",
    ColumnTag.IPV4: "sum(cast({} AS int))",
    ColumnTag.GEOBYTE: "count({})",
    ColumnTag.GEOSHORT: "count({})",
    ColumnTag.GEOINT: "count({})",
    ColumnTag.GEOLONG: "count({})",
    ColumnTag.ARRAY: "sum(array_sum({}))",
    **dict.fromkeys(_DECIMALS, "max({})"),
}
# Their sum is a time for 7.3, one that lies too far ahead to be shown.
_TIMES: Final = (ColumnTag.DATE, ColumnTag.TIMESTAMP)
# Of each unit the longest there is, in seconds: whatever partition begins there, the next one begins within it.
_LONGEST: Final = {
    "HOUR": 3600, "DAY": 86_400, "WEEK": 7 * 86_400, "MONTH": 31 * 86_400, "YEAR": 366 * 86_400,
}  # fmt: skip


def sums_before(
    table: TableDirectory,
    *,
    first: int | None = None,
    last: int | None = None,
    also: frozenset[str] | None = frozenset(),
) -> TableSums | str:
    """Return what the partitions of `table` will hold, or why that is not known; `also` as in `predicted_sums`."""
    try:
        return predicted_sums(table, first=first, last=last, also=also)
    except (DamageError, OSError, WalmedicError) as error:
        return clean_line(error.what if isinstance(error, DamageError) else str(error), 300)


def value_claims(
    server: Server, table: TableDirectory, expected: Expectation, before: TableSums | str, *, grew: bool = False
) -> list[Claim]:
    """Return what is claimed of the values of `table`; `grew`: others have written since, so that they are only read.

    A read that fails is a claim that does not hold, with the server's words.
    """
    name = clean_line(expected.table)
    try:
        rows = TableRows(table.path)
    except (DamageError, OSError) as error:
        why = clean_line(error.what if isinstance(error, DamageError) else str(error), 200)
        return [Claim(ClaimKey.VALUES_READ, f"{name}: its files can be read", "yes", why, ok=False, table=name)]
    if isinstance(before, str):  # at least the partition that is written most is read
        last = {each.start: before for each in rows.partitions[-1:]}
        before = TableSums(table.directory, {each.raw_name: each.type_code for each in rows.columns}, (), last)
    reader = _Reader(server, expected, rows.partitioning, before.columns)
    wanted = {each.start: each for each in before.partitions}
    claims = []
    if starts := [*wanted, *before.open_]:
        wrong = [noted for start in starts for noted in reader.wrong(start, None if grew else wanted.get(start))]
        claim = f"{name}: each value of {plural(len(starts), 'partition')} read through the server"
        due, found = plural(len(reader.columns) * len(starts), "column"), _listed(wrong) or "all read, none differs"
        claims.append(Claim(ClaimKey.VALUES_READ, claim, due, found, not wrong, table=name))
    if wanted and not grew:
        claims.append(_on_disk(name, table, wanted))
    return [*claims, *_notes(name, before, reader, grew=grew)]


def _notes(name: str, before: TableSums, reader: "_Reader", *, grew: bool) -> Iterator[Claim]:
    noted = [(f"values of {reader.partitioning.name(start)} not compared", why) for start, why in before.open_.items()]
    if before.partitions and grew:
        noted.append(("values not compared", "rows were written since"))
    if unread := [clean_line(each) for each in before.columns if each not in reader.columns]:
        noted.append(("columns of types that no aggregate reads, not read through the server", ", ".join(unread)))
    yield from (
        Claim.note(ClaimKey.NOT_COMPARED, f"{name}: {what}", clean_line(why, 200), table=name) for what, why in noted
    )


def noted_value_claims(
    server: Server,
    table: TableDirectory,
    expected: Expectation,
    remembered: Any,
    row: Mapping[str, Any] | None,
    *,
    grew: bool = False,
) -> list[Claim]:
    """Return the claims by what was noted before the start: a document of TableSums, or why there is none.

    `row` is the table's row of `wal_tables()`: others have written where the sequencer is ahead of what was expected.
    """
    before = (
        of_json(TableSums, remembered)
        if isinstance(remembered, Mapping)
        else str(remembered or "nothing was noted before the start")
    )
    grew = grew or row is None or int(row["sequencerTxn"]) > expected.logged_txn
    return value_claims(server, table, expected, before, grew=grew)


def _on_disk(name: str, table: TableDirectory, wanted: Mapping[int, PartitionSums]) -> Claim:
    claim, due = f"{name}: values of {plural(len(wanted), 'partition')}", "as table and log held them"
    try:
        found = _settled_sums(table, list(wanted))
    except (DamageError, OSError) as error:
        why = error.what if isinstance(error, DamageError) else str(error)
        return Claim(ClaimKey.VALUES, claim, due, f"cannot be read: {clean_line(why, 200)}", ok=False, table=name)
    have = {each.start: each for each in found.partitions}
    wrong = [noted for start, each in wanted.items() for noted in _different(each, have.get(start))]
    return Claim(ClaimKey.VALUES, claim, due, _listed(wrong) or "equal", not wrong, table=name)


def _settled_sums(table: TableDirectory, starts: list[int]) -> TableSums:
    for attempt in range(_ATTEMPTS):
        try:
            return sums_now(table, starts)
        except (DamageError, OSError):
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(1.0)
    raise AssertionError  # pragma: no cover


def _different(wanted: PartitionSums, found: PartitionSums | None) -> Iterator[str]:
    if found is None:
        yield f"{wanted.name} is not there"
    elif found.rows != wanted.rows:
        yield f"{wanted.name} has {found.rows:,} of {plural(wanted.rows, 'row')}"
    else:
        columns = [each for each, sums in wanted.columns.items() if found.columns.get(each) != sums]
        yield from (f"{wanted.name}: {clean_line(each)} differs" for each in columns)
        if not columns and found.hashes != wanted.hashes:
            yield f"{wanted.name}: its values are in other rows"


def _listed(wrong: list[str]) -> str:
    more = f" and {len(wrong) - _MOST_LISTED:,} more" if len(wrong) > _MOST_LISTED else ""
    return clean_line("; ".join(wrong[:_MOST_LISTED]), 400) + more


class _Reader:
    """Reads partitions of one table through the server, some columns at a time."""

    def __init__(
        self, server: Server, expected: Expectation, partitioning: Partitioning, columns: Mapping[str, int]
    ) -> None:
        self._server, self._expected, self.partitioning = server, expected, partitioning
        self._types = columns
        self.columns = [column for column, code in columns.items() if _reads(code)]

    def wrong(self, start: int, wanted: PartitionSums | None) -> Iterator[str]:
        """Yield what does not hold of one partition: with `wanted` also where a count or a sum is another."""
        name = self.partitioning.name(start)
        for at in range(0, len(self.columns), _AT_ONCE):
            some = self.columns[at : at + _AT_ONCE]
            parts = [
                f"{expression.format(quoted(column))} AS r{index}_{number}"
                for index, column in enumerate(some)
                for number, expression in enumerate(_reads(self._types[column]))
            ]
            try:
                row = self._server.rows(
                    f"SELECT {', '.join(parts)} FROM {quoted(self._expected.table)}{self._within(start)}",  # noqa: S608
                    (),
                    _DEADLINE,
                )[0]
            except SqlError as error:
                yield f"{name}: {error}"
                continue
            for index, column in enumerate(some):
                found = [row[f"r{index}_{number}"] for number in range(len(_reads(self._types[column])))]
                if wanted is not None and not _as_predicted(tag_of(self._types[column]), found, wanted.columns[column]):
                    yield f"{name}: {column} differs"

    def _within(self, start: int) -> str:
        unit, per_second = self.partitioning.unit, self.partitioning.per_second
        if unit == "NONE" or not self._expected.timestamp:
            return ""
        end = int(self.partitioning.floors(np.array([start + _LONGEST[unit] * per_second], np.int64))[0])
        at, kind = quoted(self._expected.timestamp), "timestamp_ns" if self._expected.nanos else "timestamp"
        return f" WHERE {at} >= cast({start} AS {kind}) AND {at} < cast({end} AS {kind})"


def _reads(type_code: int) -> tuple[str, ...]:
    """Return the aggregates that read a column: what is compared first. Empty for a type that none is known for."""
    tag = tag_of(type_code)
    if tag in _TIMES:
        return ("sum(cast({} AS long))", "count({})")
    if tag in WHOLE_NUMBERS[1:]:
        return ("sum({})", "count({})")
    if tag not in _READ:
        return ()
    return (_READ[tag], "count({})") if tag in _COUNTED else (_READ[tag],)


def _as_predicted(tag: ColumnTag | None, found: list[object], wanted: ColumnSum) -> bool:
    if tag in _COUNTED and int(str(found[-1])) != wanted.present:
        return False
    if wanted.total is None:
        return True
    total = 0 if found[0] is None else int(str(found[0]))
    return (total - wanted.total) % (1 << 64) == 0
