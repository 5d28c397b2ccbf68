"""On a real server: what WalLocks holds the purge keeps, what it does not hold goes; what the disk predicts is so."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.diagnosis.server.liveness import exclusive_holders
from console.diagnosis.server.open_files import users_of
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.server.expectation import Expectation, expectation_of
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server, SqlError
from console.recovery.server.verification import purge_interval, table_claims, wait_until_applied
from console.recovery.store.locks import LockedError, ServerLock, server_is_down
from console.recovery.tree.wal_locks import WalLocks
from console.settings import QuestDBSettings
from tests.real.waiting import until

Running = tuple[PrivateServer, WalLocks, list[Expectation], dict[str, set[str]]]
_PURGE = {"cairo.wal.purge.interval": "1000"}
_UNITS = ("HOUR", "DAY", "WEEK", "MONTH", "YEAR", "NONE")


@pytest.fixture(scope="module")
def prepared(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with applied rows and, since applying was switched off, many WALs and segments of unapplied ones."""
    root = tmp_path_factory.mktemp("purge")
    with PrivateServer(root, questdb, settings=_PURGE) as server:
        for table in ("held", "loose", *(f"by_{unit.lower()}" for unit in _UNITS)):
            unit = table.removeprefix("by_").upper() if table.startswith("by_") else "DAY"
            # Without partitions there is no WAL: that one stays a table that needs no proof.
            kind = "" if unit == "NONE" else "WAL"
            server.query(
                f"CREATE TABLE {table} (ts TIMESTAMP, s SYMBOL, v LONG) TIMESTAMP(ts) PARTITION BY {unit} {kind}"
            )
            rows = "timestamp_sequence('2024-01-30', 3600000000L), 'a', x FROM long_sequence(50)"
            server.query(f"INSERT INTO {table} SELECT {rows}")
        server.query("CREATE TABLE nano (ts TIMESTAMP_NS, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
        until(lambda: all(r[1] == r[2] for r in server.query("SELECT name, writerTxn, sequencerTxn FROM wal_tables()")))
    rolling = {"cairo.wal.apply.enabled": "false", "cairo.wal.segment.rollover.row.count": "30"}
    with PrivateServer(root, questdb, settings={**_PURGE, **rolling}) as server:
        for table in ("held", "loose", *(f"by_{unit.lower()}" for unit in _UNITS if unit != "NONE"), "nano"):
            columns = "x" if table == "nano" else "'b', x"
            for start in ("2024-01-31T20:00:00", "2024-03-02", "2023-12-31T23:00:00"):
                sequence = f"timestamp_sequence('{start}', 1800000000L)"
                sequence = f"cast({sequence} AS TIMESTAMP_NS)" if table == "nano" else sequence
                server.query(f"INSERT INTO {table} SELECT {sequence}, {columns} FROM long_sequence(40)")
        server.kill()
    return root


@pytest.fixture
def database(prepared: Path) -> DatabaseRoot:
    """The prepared root."""
    return DatabaseRoot.locate(prepared)


def _segments(table: TableDirectory) -> set[str]:
    return {f"wal{wal.id}/{segment}" for wal in table.wals() for segment in wal.segments}


@pytest.fixture(scope="module")
def running(prepared: Path, questdb: ServerBinary) -> Iterator[Running]:
    """A server that applies everything while the WAL of all tables but `loose` is held; two lock files were missing."""
    database = DatabaseRoot.locate(prepared)
    expected = [expectation_of(table) for table in database.tables() if table.wal]
    before = {table.raw_name: _segments(table) for table in database.tables()}
    held = database.table("held")
    for lock in [*held.path.glob("wal*.lock"), *held.path.glob("wal*/*.lock")][:2]:
        lock.unlink()
    server_lock = ServerLock(database.db)
    server_lock.acquire()
    with WalLocks(database.db) as locks:
        for table in database.tables():
            if table.wal and table.raw_name != "loose":
                locks.hold(table)
        server_lock.release()
        with PrivateServer(prepared, questdb, settings=_PURGE) as server:
            yield server, locks, expected, before


def _server(running: PrivateServer) -> Server:
    return Server(QuestDBSettings(pg_port=running.pg_port))


def test_the_predicted_rows_are_what_the_server_shows(running: Running, database: DatabaseRoot) -> None:
    process, _, expected, _ = running
    server = _server(process)
    server.wait_until_up(database.db, 30)
    assert {each.table for each in expected} >= {"held", "loose", "nano", "by_week", "by_month"}
    for each in expected:
        assert each.exact, each
        claims = table_claims(server, each, wait_until_applied(server, each, lambda done, total: None))
        assert [claim for claim in claims if not claim.ok] == []
        assert len(claims) == 7


def test_a_prediction_that_is_off_is_not_proven(running: Running, database: DatabaseRoot) -> None:
    process, _, expected, _ = running
    server = _server(process)
    good = next(each for each in expected if each.table == "by_day")
    row = wait_until_applied(server, good, lambda done, total: None)
    first = next(iter(good.partitions))
    wrong = {
        "by_day: rows": replace(good, rows=good.rows + 1),
        "by_day: oldest row": replace(good, min_ts=0),
        "by_day: newest row": replace(good, max_ts=1),
        "by_day: rows of each partition": replace(good, partitions={**good.partitions, first: 0}),
        "by_day: everything logged is applied": replace(good, logged_txn=good.logged_txn + 1),
    }
    for claim, expectation in wrong.items():
        assert claim in [c.claim for c in table_claims(server, expectation, row) if not c.ok]


def test_the_purge_keeps_what_is_held_and_takes_what_is_not(running: Running, database: DatabaseRoot) -> None:
    process, locks, expected, before = running
    server = _server(process)
    assert purge_interval(server) == 1.0
    for each in expected:
        wait_until_applied(server, each, lambda done, total: None)
    loose, held = database.table("loose"), database.table("held")
    until(lambda: not _segments(loose) & before["loose"])
    time.sleep(2.5)  # two more sweeps
    assert _segments(held) == before["held"]
    assert len(before["held"]) >= 3
    process.query("INSERT INTO held VALUES ('2024-05-05', 'c', 1)")  # writes go on, into a WAL of their own
    until(lambda: process.query("SELECT count() FROM held WHERE s = 'c'") == [(1,)])
    assert before["held"] <= _segments(held)
    locks.release()
    until(lambda: not _segments(held) & before["held"])


def test_a_living_server_cannot_be_overlooked(running: Running, database: DatabaseRoot) -> None:
    process, _, _, _ = running
    assert server_is_down(database.db) is False
    assert exclusive_holders([database.lock]) == (process.pid,)
    with pytest.raises(LockedError, match=f"pid {process.pid}"):
        ServerLock(database.db).acquire()
    assert process.pid in {user.pid for user in users_of(database.db).processes}


def test_another_database_on_the_port_is_not_taken_for_ours(running: Running, tmp_path: Path) -> None:
    with pytest.raises(SqlError, match="another database"):
        _server(running[0]).prove_ours(tmp_path)
