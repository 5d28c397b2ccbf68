"""What the station's QuestDB answers over PGWire."""

from collections.abc import Mapping
from typing import Any

import psycopg

from console.questdb_client.connect import connect, tuples_of
from console.settings import QuestDBSettings
from console.station.layout import Layout, StationError
from console.text import clean_line
from console.waiting import looks

_PATIENCE = 60.0  # seconds


def query(layout: Layout, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows. Raises psycopg.Error."""
    with connect(QuestDBSettings(pg_port=layout.pg_port), 5) as connection:
        return tuples_of(connection, sql)


def row_count(layout: Layout, table: str) -> int:
    """Return the rows of `table` that a query sees. Raises psycopg.Error."""
    return int(query(layout, f"SELECT count() FROM {table}")[0][0])


def wait_until_read(layout: Layout, rows: Mapping[str, int]) -> None:
    """Wait until the server answers, and see that each table has that many rows. Raises StationError."""
    for late in looks(_PATIENCE, 0.1):
        try:
            for table, expected in rows.items():
                if (found := row_count(layout, table)) != expected:
                    raise StationError(f"{table} has {found:,} rows, not {expected:,}; see {layout.questdb_log}")
            return
        except psycopg.Error as error:
            if late:
                message = clean_line(str(error))
                raise StationError(f"the server does not answer: {message}; see {layout.questdb_log}") from error


def rows_between(layout: Layout, table: str, first: int, end: int) -> int:
    """Return the rows with `first` <= timestamp < `end`, microseconds since the epoch. Raises psycopg.Error."""
    sql = f"SELECT count() FROM {table} WHERE timestamp >= {first}::timestamp AND timestamp < {end}::timestamp"
    return int(query(layout, sql)[0][0])


def empty_values(layout: Layout, table: str, column: str, end: int) -> int:
    """Return the rows with timestamp < `end` (microseconds) whose `column` is NULL. Raises psycopg.Error."""
    sql = f"SELECT count() FROM {table} WHERE timestamp < {end}::timestamp AND {column} IS NULL"
    return int(query(layout, sql)[0][0])


def continuity(layout: Layout, table: str, column: str, first: int) -> tuple[int, int, int]:
    """Return rows, missing ids and repeated ids of `table` from `first` (microseconds) on. Raises psycopg.Error.

    The feeds number their events one by one, so a gap is an event that never arrived.
    """
    sql = (
        f"SELECT count(), count_distinct({column}), min({column}), max({column}) FROM {table} "
        f"WHERE timestamp >= {first}::timestamp"
    )
    rows, distinct, lowest, highest = query(layout, sql)[0]
    missing = int(highest) - int(lowest) + 1 - int(distinct) if rows else 0
    return int(rows), missing, int(rows) - int(distinct)
