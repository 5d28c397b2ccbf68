"""Proof by the server: rows, range and partitions as the events predicted, not suspended, nothing below applied."""

import datetime
import math
from collections.abc import Callable
from typing import Any

from console.errors import WalmedicError
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim
from console.recovery.server.expectation import Expectation
from console.recovery.server.sql import Server, SqlError, literal, quoted
from console.text import clean_line
from console.waiting import Standstill, looks

OnApplied = Callable[[int, int], None]
_STALLED = 60.0  # seconds without one more transaction applied after which waiting is given up
_UNLISTED = 10.0  # seconds for which a table may be missing from `wal_tables()`


def wait_until_applied(server: Server, expected: Expectation, on_applied: OnApplied) -> dict[str, Any] | None:
    """Wait until the server has applied all that was logged when it started; return its row of `wal_tables()`.

    Returns early where the server suspends the table or does not list it, or nothing moves for a minute. Raises
    SqlError where the server stops answering.
    """
    still = Standstill()
    row: dict[str, Any] | None = None
    for _ in looks(math.inf, 0.2):
        row = server.wal_table(expected.table)
        if row is None or (row["suspended"] and not expected.suspended):
            if row is not None or still.seconds(None) > _UNLISTED:
                break
        else:
            applied = int(row["writerTxn"])
            on_applied(min(applied, expected.logged_txn), expected.logged_txn)
            if applied >= expected.logged_txn or still.seconds(applied) > _STALLED:
                break
    return row


def table_claims(
    server: Server, expected: Expectation, row: dict[str, Any] | None, *, stops: bool = False, at_least: bool = False
) -> tuple[Claim, ...]:
    """Return what is claimed of one table and what the server says of each.

    `stops`: the server applies no further than expected, and may suspend the table there; `at_least`: it may go on.
    """
    name = clean_line(expected.table)
    if row is None:
        return (
            Claim(ClaimKey.LISTED, f"{name} is listed by wal_tables()", "listed", "not listed", ok=False, table=name),
        )
    writer, sequencer = int(row["writerTxn"]), int(row["sequencerTxn"])
    state = "suspended" if row["suspended"] else "not suspended"
    logged = expected.logged_txn
    going_on = f"{name} is not suspended"
    serves = Claim(ClaimKey.SUSPENDED, going_on, "not suspended", state, ok=not row["suspended"], table=name)
    if expected.suspended and row["suspended"]:
        told = f"{state}, as before the start: resume-wal comes next"
        serves = Claim.note(ClaimKey.SUSPENDED, going_on, told, table=name)
    claims = [
        *(() if stops else (serves,)),
        Claim.at_least(ClaimKey.SEQUENCER, f"{name}: sequencerTxn is not below writerTxn", writer, sequencer, name),
        Claim.at_least(ClaimKey.APPLIED, f"{name}: everything logged is applied", logged, writer, name),
    ]
    grew = at_least or (sequencer > expected.logged_txn and not stops)
    try:
        claims += row_claims(server, expected, grew=grew)
    except SqlError as error:
        claims.append(
            Claim(ClaimKey.READABLE, f"{name} can be read", "its rows", clean_line(str(error)), ok=False, table=name)
        )
    return tuple(claims)


def row_claims(server: Server, expected: Expectation, *, grew: bool = False) -> list[Claim]:
    """Return what is claimed of a table's rows; `grew`: there may be more by now. Raises SqlError."""
    name = clean_line(expected.table)
    columns = "count() AS n"
    if expected.timestamp:
        at = quoted(expected.timestamp)
        columns += f", cast(min({at}) AS long) AS low, cast(max({at}) AS long) AS high"
    found = server.rows(f"SELECT {columns} FROM {quoted(expected.table)}")[0]  # noqa: S608 - quoted
    count = int(found["n"])
    claims = [_counted(name, expected, count, grew=grew)]
    if not expected.timestamp or not expected.exact:
        return claims
    claims += _range_claims(name, expected, found["low"], found["high"], grew)
    listed = f"table_partitions({literal(expected.table)}) WHERE attached"  # the others are no rows of the table
    partitions = server.rows(f"SELECT name, numRows FROM {listed}")  # noqa: S608 - quoted
    have: dict[str, int] = {}
    length = len(next(iter(expected.partitions), ""))
    for row in partitions:
        if int(row["numRows"]):
            # A partition that was split off another begins with its name, and all names of a table are as long.
            unit = str(row["name"]).split(".")[0][: length or None]
            have[unit] = have.get(unit, 0) + int(row["numRows"])
    wrong = [
        f"{partition}: {have.get(partition, 0):,} of {rows:,}"
        for partition, rows in expected.partitions.items()
        if not _as_many(have.get(partition, 0), rows, grew)
    ]
    wrong += [f"{partition}: unexpected" for partition in have if partition not in expected.partitions and not grew]
    found_text = clean_line("; ".join(wrong)) if wrong else "as predicted"
    count_of = f"{len(expected.partitions):,} partitions as the events say"
    claims.append(
        Claim(ClaimKey.PARTITIONS, f"{name}: rows of each partition", count_of, found_text, not wrong, table=name)
    )
    return claims


def _range_claims(name: str, expected: Expectation, low: int | None, high: int | None, grew: bool) -> list[Claim]:
    # What was written since may lie before the oldest row as well as behind the newest.
    oldest, newest = low == expected.min_ts, high == expected.max_ts
    if grew and low is not None and high is not None:
        oldest = expected.min_ts is None or low <= expected.min_ts
        newest = expected.max_ts is None or high >= expected.max_ts
    first, last = (moment(each, nanos=expected.nanos) for each in (expected.min_ts, expected.max_ts))
    found = [moment(each, nanos=expected.nanos) for each in (low, high)]
    return [
        Claim(ClaimKey.MIN, f"{name}: oldest row", first, found[0], oldest, table=name),
        Claim(ClaimKey.MAX, f"{name}: newest row", last, found[1], newest, table=name),
    ]


def moment(value: int | None, *, nanos: bool) -> str:
    """Return a timestamp of a table as `2025-11-07 00:00:00.664650Z`, to its own unit; the number for no calendar."""
    if value is None:
        return "none"
    unit, digits = (1_000_000_000, 9) if nanos else (1_000_000, 6)
    try:
        second = datetime.datetime.fromtimestamp(value // unit, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{value:,}"
    return f"{second:%Y-%m-%d %H:%M:%S}.{value % unit:0{digits}d}Z"


def _as_many(found: int, expected: int, grew: bool) -> bool:
    return found == expected or (grew and found > expected)


def _counted(name: str, expected: Expectation, found: int, *, grew: bool) -> Claim:
    claim, rows = f"{name}: rows", expected.rows
    if not expected.exact and grew:
        found_text = f"{found:,}, with what was written since (at most {rows:,} without it)"
        return Claim.note(ClaimKey.ROWS, claim, found_text, table=name)
    if not expected.exact:
        return Claim(ClaimKey.ROWS, claim, f"at most {rows:,}", f"{found:,}", found <= rows, table=name)
    if grew:
        return Claim(ClaimKey.ROWS, claim, f"at least {rows:,}", f"{found:,}", found >= rows, table=name)
    return Claim.same(ClaimKey.ROWS, claim, rows, found, name)


def purge_interval(server: Server) -> float:
    """Return the seconds between two purge sweeps of the server (30 by default)."""
    value = server.parameter("cairo.wal.purge.interval") or "30000"
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if value.endswith(suffix) and value.removesuffix(suffix).isdigit():
            return int(value.removesuffix(suffix)) * factor
    if not value.isdigit():
        raise WalmedicError(f"the server's purge interval is {clean_line(value)!r}, which is not understood")
    return int(value) / 1000
