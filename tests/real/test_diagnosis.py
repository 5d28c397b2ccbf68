"""Every damage that does not crash: one table each in one real server per log format. What `check` says of the dead
files, then what the server does when it is started on them, so that code, offset and count are held against it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from console.diagnosis.database import diagnose, diagnose_table
from console.diagnosis.model import Code, Severity, TableReport, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.private_server import PrivateServer, ServerBinary
from tests.real.damage_matrix import (
    ALL,
    APPLIED,
    CASES,
    LAST,
    PART,
    ROWS,
    Case,
    area,
    lag_overflow,
    place,
    waiting_segment,
)
from tests.real.generated_tables import wait_until_applied

SLOW_PURGE = {"cairo.wal.purge.interval": "600000", "dev.mode.enabled": "true"}
FAST_PURGE = {"cairo.wal.purge.interval": "1000"}
LIVE = "lag_overflow_under_a_live_server"
PAIRS = [(version, case) for version in (1, 2) for case in CASES if version in case.versions]


@dataclass
class World:
    """One database: its reports before the server saw the damage, and what the server said and did afterwards."""

    reports: dict[str, TableReport] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    wal_tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    after_insert: dict[str, int] = field(default_factory=dict)
    wal_kept: dict[str, bool] = field(default_factory=dict)
    oldest: dict[str, Any] = field(default_factory=dict)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    live: TableReport | None = None


def _insert(name: str, number: int) -> bytes:
    return (
        f"insert into {name} select timestamp_sequence('2025-01-01T{number % 24:02d}:{number:02d}', 1000), "
        f"'s' || (x % 3), x * 0.5 from long_sequence({ROWS})"
    ).encode()


def _fill(server: PrivateServer, cases: list[Case]) -> None:
    with server.connect() as connection:
        for case in cases:
            connection.execute(
                f"create table {case.name} (ts timestamp, sym symbol, price double) timestamp(ts) "
                "partition by day wal".encode()
            )
            for number in range(APPLIED):
                connection.execute(_insert(case.name, number))
        wait_until_applied(server)
        for case in cases:
            if case.pending:
                connection.execute(f"alter table {case.name} suspend wal".encode())
            for number in range(APPLIED, LAST):
                connection.execute(_insert(case.name, number))
        deadline = time.monotonic() + 30
        eager = [case.name for case in cases if not case.pending]
        while time.monotonic() < deadline:
            said = {row[0]: (row[2], row[4]) for row in server.query("wal_tables()")}
            if all(said[name] == (LAST, LAST) for name in eager):
                return
            time.sleep(0.05)
        raise AssertionError(f"not applied in time: {said}")


def _look(server: PrivateServer, world: World, cases: list[Case], segments: dict[str, Path], live: Path) -> None:
    """Wait until the server did what it will, and two purge sweeps; write a row to each table; wait again."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        world.rows = {case.name: int(server.query(f"select count() from {case.name}")[0][0]) for case in cases}
        if world.rows == {case.name: case.rows for case in cases}:
            break
        time.sleep(0.1)
    time.sleep(3)
    lag_overflow(live)
    world.live = diagnose_table(DatabaseRoot.locate(live.parent), DatabaseRoot.locate(live.parent).table(LIVE))
    world.wal_kept = {name: path.is_dir() for name, path in segments.items()}
    with server.connect() as connection:
        rows = psycopg.ClientCursor(connection).execute(b"wal_tables()")
        names = [column.name for column in rows.description or ()]
        world.wal_tables = {row[0]: dict(zip(names, row, strict=True)) for row in rows.fetchall()}
        for case in cases:
            world.oldest[case.name] = server.query(f"select min(ts) from {case.name}")[0][0]
            try:
                connection.execute(f"insert into {case.name} values ('2025-01-03', 'new', 1.0)".encode())
                world.errors[case.name] = ""
            except psycopg.Error as error:
                world.errors[case.name] = str(error)
    deadline = time.monotonic() + 10
    wanted = {case.name: case.rows + int(case.arrives and not case.refusal) for case in cases}
    while time.monotonic() < deadline:
        world.after_insert = {case.name: int(server.query(f"select count() from {case.name}")[0][0]) for case in cases}
        if world.after_insert == wanted:
            break
        time.sleep(0.1)


@pytest.fixture(scope="module")
def worlds(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> dict[int, World]:
    """Both databases, damaged, diagnosed while dead, and then run."""
    made: dict[int, World] = {}
    for version in (1, 2):
        root = tmp_path_factory.mktemp(f"matrix{version}")
        cases = [case for case in CASES if version in case.versions]
        parts = {"cairo.default.sequencer.part.txn.count": str(PART)} if version == 2 else {}
        with PrivateServer(root, questdb, settings={**SLOW_PURGE, **parts}) as server:
            _fill(server, cases)
            server.kill()
        world, segments = World(), {}
        database = DatabaseRoot.locate(root)
        for case in cases:
            table = database.table(case.name).path
            segments[case.name] = waiting_segment(table)
            for txn in range(1, LAST + 4):
                world.offsets[case.name, txn] = place(table, txn)[1]
            case.strike(table)
            if case.name == "lag_overflow":
                world.offsets[case.name, -1] = area(table)[1] + 92
        world.reports = {report.table: report for report in diagnose(database).tables}
        with PrivateServer(root, questdb, settings={**FAST_PURGE, **parts}) as server:
            _look(server, world, cases, segments, database.table(LIVE).path)
        made[version] = world
    return made


@pytest.mark.parametrize(("version", "case"), PAIRS, ids=[f"v{version}-{case.name}" for version, case in PAIRS])
def test_what_check_says_of_the_dead_files(worlds: dict[int, World], version: int, case: Case) -> None:
    report = worlds[version].reports[case.name]
    grave = {finding.code for finding in report.findings if finding.severity is not Severity.NOTE}
    assert grave == case.codes, report.findings
    assert report.rows_applied == (APPLIED if case.pending else LAST) * ROWS
    assert report.rows_unapplied == case.unapplied, report.findings
    assert report.applied_txn == (LAST + 1 if case.name == "lag_overflow" else APPLIED if case.pending else LAST)
    healthy = not case.codes
    assert (report.verdict is Verdict.HEALTHY) == healthy
    assert (report.next_step.action is None) == (healthy or case.name == "lag_overflow")
    if case.at is not None:
        code, offset, txn = case.at
        found = next(finding for finding in report.findings if finding.code is code)
        if offset is not None and txn is not None and offset > 4 and code is not Code.LOG_PART_MISSING:
            offset = worlds[version].offsets[case.name, txn]
        if case.name == "lag_overflow":
            offset = worlds[version].offsets[case.name, -1]
        assert (found.offset, found.seq_txn) == (offset, txn)


@pytest.mark.parametrize(("version", "case"), PAIRS, ids=[f"v{version}-{case.name}" for version, case in PAIRS])
def test_what_the_server_does_with_them(worlds: dict[int, World], version: int, case: Case) -> None:
    world = worlds[version]
    assert world.rows[case.name] == case.rows
    said = world.wal_tables.get(case.name)
    assert (said is not None) == case.listed
    if said is not None and not case.refusal:
        assert said["suspended"] == case.suspended
    if case.refusal:
        assert case.refusal in world.errors[case.name]
    else:
        assert world.errors[case.name] == ""
        assert world.after_insert[case.name] == case.rows + int(case.arrives)
    if case.wal_kept is not None:
        assert world.wal_kept[case.name] == case.wal_kept
    report = world.reports[case.name]
    # What check promised: it can write exactly where an inserted row arrives, and reads worked everywhere.
    arrives = case.arrives and not case.refusal
    # Told otherwise: one still takes new rows while it loses the old ones, one is healed by the start itself.
    if case.name not in ("header_at_applied", "lag_overflow", LIVE):
        assert report.can_write is arrives
    assert report.can_read is not False or Code.LOG_MAX_TXN_PAST_END in case.codes


@pytest.mark.parametrize("version", [1, 2])
def test_torn_data_is_applied_without_complaint(worlds: dict[int, World], version: int) -> None:
    """Why `check` has to look at the columns: count and state are those of a healthy table."""
    world = worlds[version]
    assert world.rows["data_torn"] == ALL
    assert world.oldest["data_torn"].year == 1970
    assert world.oldest["intact"].year == 2025
    assert world.reports["data_torn"].rows_at_risk == 5 * ROWS


@pytest.mark.parametrize("version", [1, 2])
def test_a_lag_count_without_rows_is_healed_by_a_start_and_swallows_a_row_under_a_live_server(
    worlds: dict[int, World], version: int
) -> None:
    world = worlds[version]
    assert world.after_insert["lag_overflow"] == ALL + 1
    assert world.after_insert[LIVE] == ALL
    assert world.live is not None
    assert (world.live.has(Code.LAG_OVERFLOW), world.live.can_write) == (True, False)


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_below_applied_is_seen_in_wal_tables_alone(worlds: dict[int, World], version: int) -> None:
    said = worlds[version].wal_tables["header_below_applied"]
    assert said["sequencerTxn"] < said["writerTxn"]
