"""The databases of the damage matrix: filled by a real server, killed, damaged, diagnosed, and run again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from console.diagnosis.database import diagnose, diagnose_table
from console.diagnosis.model import TableReport
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.damage_matrix import Case, cases
from tests.real.damage_strikes import APPLIED, CHANGE, LAST, LATE, PART, ROWS, lag_overflow, waiting_segment
from tests.real.generated_tables import wait_until_applied

SLOW_PURGE = {"cairo.wal.purge.interval": "600000", "dev.mode.enabled": "true"}
FAST_PURGE = {"cairo.wal.purge.interval": "1000"}
LIVE = "lag_overflow_under_a_live_server"


@dataclass
class World:
    """One database: its reports before the server saw the damage, and what the server said and did afterwards."""

    reports: dict[str, TableReport] = field(default_factory=dict)
    offsets: dict[str, int | None] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    wal_tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    alter_errors: dict[str, str] = field(default_factory=dict)
    after_insert: dict[str, int] = field(default_factory=dict)
    wal_kept: dict[str, bool] = field(default_factory=dict)
    strange: dict[str, int] = field(default_factory=dict)
    live: TableReport | None = None


def build_world(version: int, binary: ServerBinary, root: Path) -> World:
    """Fill, kill, damage, diagnose and run the database whose logs have format `version`."""
    wanted = cases(version)
    parts = {"cairo.default.sequencer.part.txn.count": str(PART)} if version == 2 else {}
    with PrivateServer(root, binary, settings={**SLOW_PURGE, **parts}) as server:
        _fill(server, wanted)
        server.kill()
    world = World()
    database = DatabaseRoot.locate(root)
    folders = {case.table: database.table(case.table).path for case in wanted}
    segments = {name: waiting_segment(folder) for name, folder in folders.items()}
    for case in wanted:
        place = case.at[1] if case.at else None
        world.offsets[case.table] = place(folders[case.table]) if callable(place) else place
        case.strike(folders[case.table])
    world.reports = {report.table: report for report in diagnose(database).tables}
    with PrivateServer(root, binary, settings={**FAST_PURGE, **parts}) as server:
        _look(server, world, wanted, segments, folders[LIVE])
    return world


def _statement(case: Case, number: int) -> bytes:
    if case.altered and number == CHANGE:
        return f"alter table {case.table} add column extra int".encode()
    if case.late and number == LATE:
        return f"alter table {case.table} add column late int".encode()
    return (
        f"insert into {case.table} (ts, sym, price) select timestamp_sequence('2025-01-01T{number:02d}:{number:02d}', "
        f"1000), 's' || (x % 3), x * 0.5 from long_sequence({ROWS})"
    ).encode()


def _fill(server: PrivateServer, wanted: Sequence[Case]) -> None:
    with server.connect() as connection:
        for case in wanted:
            connection.execute(
                f"create table {case.table} (ts timestamp, sym symbol, price double) timestamp(ts) "
                "partition by day wal".encode()
            )
            for number in range(1, APPLIED + 1):
                connection.execute(_statement(case, number))
        wait_until_applied(server)
        for case in wanted:
            if case.pending:
                connection.execute(f"alter table {case.table} suspend wal".encode())
            for number in range(APPLIED + 1, LAST + 1):
                connection.execute(_statement(case, number))
    eager = {case.table for case in wanted if not case.pending}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = {row[0]: (row[2], row[4]) for row in server.query("wal_tables()")}
        if all(said[name] == (LAST, LAST) for name in eager):
            return
        time.sleep(0.05)
    raise AssertionError(f"not applied in time: {said}")


def _look(server: PrivateServer, world: World, wanted: Sequence[Case], segments: dict[str, Path], live: Path) -> None:
    """Wait until the server did what it will, and two purge sweeps; write a row to each table; wait; alter each."""
    expected = {
        case.table: world.reports[case.table].rows_applied if case.reaches < 0 else case.rows(1, case.reaches)
        for case in wanted
    }
    _await(lambda: _counts(server, world.rows, wanted) == expected, 30)
    time.sleep(3)
    lag_overflow(live)
    world.live = diagnose_table(DatabaseRoot.locate(live.parent), DatabaseRoot.locate(live.parent).table(LIVE))
    world.wal_kept = {name: path.is_dir() for name, path in segments.items()}
    with server.connect() as connection:
        rows = psycopg.ClientCursor(connection).execute(b"wal_tables()")
        names = [column.name for column in rows.description or ()]
        world.wal_tables = {row[0]: dict(zip(names, row, strict=True)) for row in rows.fetchall()}
        for case in wanted:
            world.strange[case.table] = server.query(f"select count() from {case.table} where year(ts) <> 2025")[0][0]
            if case.written:
                row = f"insert into {case.table} (ts, sym, price) values ('2025-01-03', 'new', 1.0)"
                world.errors[case.table] = _error_of(connection, row)
        after = {case.table: (expected[case.table] or 0) + int(case.arrives and not case.refusal) for case in wanted}
        _await(lambda: _counts(server, world.after_insert, wanted) == after, 15)
        for case in wanted:
            if case.written:
                world.alter_errors[case.table] = _error_of(connection, f"alter table {case.table} add column more int")


def _await(holds: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)


def _counts(server: PrivateServer, into: dict[str, int], wanted: Sequence[Case]) -> dict[str, int]:
    into.update({case.table: int(server.query(f"select count() from {case.table}")[0][0]) for case in wanted})
    return into


def _error_of(connection: psycopg.Connection[Any], statement: str) -> str:
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        return str(error)
    return ""
