"""The deep sweep: bounded aggregates per partition and column, newest first, for what `count()` cannot see.

`count()` reads metadata. Reading every column of a partition shows what cannot be read at all, rows outside of their
partition, and zeros where the rest of the table has none: what pages look like that never reached the disk.
"""

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.server.sql import NoAnswer, ServerSql
from console.questdb.layout import TableDirectory
from console.text import clean_line, plural

PARTITIONS: Final = 60
"""Partitions of one table that are swept, the newest."""
SECONDS: Final = 60.0
_STATEMENT: Final = 15.0
_NUMBERS: Final = ("DOUBLE", "FLOAT")
_COUNTED: Final = ("INT", "LONG", "FLOAT", "DOUBLE", "TIMESTAMP", "TIMESTAMP_NS", "DATE", "SYMBOL", "STRING", "VARCHAR",
                   "UUID", "LONG256", "IPv4")  # fmt: skip
"""Types whose values `count` has to read one by one: the others have no null, or no such function in 9.1.0."""
_ROWS: Final = "rows"
_ZERO: Final = "zeros of "


@dataclass(frozen=True, slots=True)
class DeepSweep:
    """What the sweep of one table found, how many partitions it saw, and what it left out (empty: nothing)."""

    findings: tuple[Finding, ...]
    partitions: int
    left_out: str = ""


def sweep(server: ServerSql, table: TableDirectory) -> DeepSweep:
    """Read every column of the newest partitions of `table`, as far as SECONDS reach. Raises NoAnswer."""
    until = time.monotonic() + SECONDS
    attached = f"table_partitions({_text(table.raw_name)}) where attached"
    listed = server.rows(f"select * from {attached}")  # noqa: S608 - quoted
    named = server.rows(f"select * from table_columns({_text(table.raw_name)})")  # noqa: S608 - quoted
    timestamp = next((str(row["column"]) for row in named if row["designated"]), "")
    columns = [(str(row["column"]), str(row["type"])) for row in named]
    partitions = [row for row in sorted(listed, key=lambda row: -int(row["index"])) if int(row["numRows"] or 0)]
    findings: list[Finding] = []
    zeros: dict[str, dict[str, int]] = {}
    seen = 0
    for row in partitions[:PARTITIONS]:
        if time.monotonic() >= until:
            break
        seen += 1
        found = list(_read(server, table, row, columns, timestamp))
        findings += [each for each in found if isinstance(each, Finding)]
        for part in found:
            if isinstance(part, dict):
                findings += _miscounted(table, row, part)
                for key, value in part.items():
                    if key.startswith(_ZERO):
                        zeros.setdefault(key.removeprefix(_ZERO), {})[str(row["name"])] = int(value or 0)
    findings += _zeros(table, zeros, {str(row["name"]): int(row["numRows"]) for row in partitions})
    rest = len(partitions) - seen
    left_out = f"{plural(rest, 'older partition')} of {table.name}: the deep sweep is bounded" if rest else ""
    return DeepSweep(tuple(dict.fromkeys(findings)), seen, left_out)


def _read(
    server: ServerSql, table: TableDirectory, row: dict[str, Any], columns: list[tuple[str, str]], timestamp: str
) -> Iterator[dict[str, Any] | Finding]:
    """Yield the aggregates of one partition; where that fails go column by column, so that the guilty one is named."""
    where = _within(row, timestamp)
    try:
        yield _ask(server, table, columns, where)
        return
    except NoAnswer:
        pass
    for column in columns:
        try:
            yield _ask(server, table, [column], where)
        except NoAnswer as error:
            name = clean_line(str(row["name"]))
            message = f"partition {name}, column {clean_line(column[0])} cannot be read: {error}"
            yield Finding(Code.PARTITION_UNREADABLE, Severity.DAMAGE, message, f"{table.directory}/{name}")


def _within(row: dict[str, Any], timestamp: str) -> str:
    """Return the clause that selects the partition by its own bounds, which PGWire gives in microseconds, cut off."""
    low, high = row["minTimestamp"], row["maxTimestamp"]
    if not timestamp or low is None or high is None:
        return ""
    after = high + datetime.timedelta(microseconds=1)
    column = _name(timestamp)
    return f" where {column} >= {_text(low.isoformat())} and {column} < {_text(after.isoformat())}"


def _ask(server: ServerSql, table: TableDirectory, columns: list[tuple[str, str]], where: str) -> dict[str, Any]:
    aggregates = [f"count() {_name(_ROWS)}"]
    for column, kind in columns:
        if kind.split("(")[0] in _COUNTED:
            aggregates.append(f"count({_name(column)}) {_name('some ' + column)}")
        if kind in _NUMBERS:
            aggregates.append(f"sum(case when {_name(column)} = 0 then 1 else 0 end) {_name(_ZERO + column)}")
    sql = f"select {', '.join(aggregates)} from {_name(table.raw_name)}{where}"  # noqa: S608 - every name is quoted
    return server.rows(sql, _STATEMENT)[0]


def _miscounted(table: TableDirectory, row: dict[str, Any], part: dict[str, Any]) -> Iterator[Finding]:
    name, rows, stored = clean_line(str(row["name"])), int(part[_ROWS]), int(row["numRows"])
    if rows != stored:
        message = f"partition {name} has {stored:,} rows by its metadata and {rows:,} within its own time span"
        yield Finding(Code.PARTITION_UNREADABLE, Severity.DAMAGE, message, f"{table.directory}/{name}")


def _zeros(table: TableDirectory, zeros: dict[str, dict[str, int]], sizes: dict[str, int]) -> Iterator[Finding]:
    """Note zeros of a column in few partitions where the others, with as many rows or more, have none at all.

    It is no more than a note: zeros are values too, and only the full check sees whether they fill pages.
    """
    for column, by_partition in zeros.items():
        with_zeros = {name: count for name, count in by_partition.items() if count}
        without = sum(sizes[name] for name in by_partition if name not in with_zeros)
        if not with_zeros or without < sum(sizes[name] for name in with_zeros):
            continue
        for name, count in with_zeros.items():
            message = (
                f"partition {clean_line(name)}, column {clean_line(column)}: {count:,} of {sizes[name]:,} values are 0 "
                "and no other partition has a single one, as where pages never reached the disk; suspect only"
            )
            yield Finding(Code.SUSPECT_VALUES, Severity.NOTE, message, f"{table.directory}/{clean_line(name)}")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
