"""Builds a station: loads it, breaks it as far as the scenario says, and leaves its processes running."""

import contextlib
import enum
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from console import paths, settings
from console.recovery.private_server import PrivateServer, ServerBinary
from console.settings import Settings
from console.station import downloads, incident, sequencer, tables
from console.station.configuration import MARK, write_server_conf, write_settings, write_supervisor_conf
from console.station.downloads import Say
from console.station.layout import ORDERBOOK, STREAMS, TRADES, Layout, StationError, lay_out
from console.station.processes import Processes, end_processes_of
from console.station.tables import RowCounts

_RECORD = "station.json"
_TRUE_LOGS = {TRADES: 15_300_000, ORDERBOOK: 7_607_751}
_LEAST_LOG = 4 << 20  # bytes: smaller logs crash the server only sometimes
_PER_PAGES = 1024  # records in seven pages: the same remainder loses the same number of records with the last page
SCALES = (1, 10_000)


class Scenario(enum.StrEnum):
    """How far the station is broken."""

    HEALTHY = "healthy"
    CRASH_LOOP = "crash-loop"
    LOG_REMOVED = "log-removed"
    INCIDENT = "incident"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What is true of a table at the end of the build, for who checks a recovery later."""

    table: str
    rows_applied: int
    rows_unapplied: int
    applied_txn: int
    logged_txn: int
    records_lost: int  # with the last page of the log


@dataclass(frozen=True, slots=True)
class Station:
    """A running station."""

    layout: Layout
    scenario: Scenario
    tables: tuple[TableFacts, ...]
    processes: Processes

    def settings(self) -> Settings:
        """Return the station's settings as its file says them."""
        return settings.load(self.layout.settings_file, environment={})

    def facts(self, table: str) -> TableFacts:
        """Return the facts of one table."""
        return next(facts for facts in self.tables if facts.table == table)


@contextlib.contextmanager
def station(
    scenario: Scenario = Scenario.INCIDENT,
    *,
    directory: Path | None = None,
    scale: int = 100,
    true_size: bool = False,
    say: Say = lambda _: None,
) -> Iterator[Station]:
    """Build a station and yield it; at the end stop every process of it.

    Without `directory` it lives in a new one under the cache, which is removed at the end. Raises StationError,
    DownloadError or ServiceError where it cannot be built; nothing is left running then either.
    """
    downloads.require_packages()
    binary, redis_server = downloads.questdb_binary(say), downloads.redis_server(say)
    with _place(directory) as place:
        layout = lay_out(place)
        processes = Processes(layout)
        # What this process starts from here on (also servers of rehearsals) can be told by the mark.
        os.environ[MARK] = str(layout.directory)
        try:
            yield _build(layout, processes, binary, redis_server, scenario, scale, true_size, say)
        finally:
            processes.close()
            os.environ.pop(MARK, None)
            if layout.socket.parent != layout.directory:
                shutil.rmtree(layout.socket.parent, ignore_errors=True)


def _build(
    layout: Layout,
    processes: Processes,
    binary: ServerBinary,
    redis_server: Path,
    scenario: Scenario,
    scale: int,
    true_size: bool,
    say: Say,
) -> Station:
    counts = RowCounts.at_scale(scale)
    facts = _fill(layout, binary, scenario, counts, _log_lengths(scale, true_size), say)
    write_server_conf(layout)
    write_supervisor_conf(layout, binary, redis_server)
    write_settings(layout, binary)
    processes.start_supervisord()
    processes.start("redis")
    _make_groups(layout)
    processes.start("binance-trades", "binance-bookticker")
    say("Redis and both collectors run")
    if scenario is Scenario.HEALTHY:
        processes.start("questdb")
    else:
        incident.crash_loop(layout, processes, say)
    if scenario in (Scenario.LOG_REMOVED, Scenario.INCIDENT):
        incident.remove_logs(layout, processes, say)
    if scenario is Scenario.INCIDENT:
        incident.remove_sequencers(layout, processes, say)
    if scenario is not Scenario.CRASH_LOOP:
        _wait_until_read(layout, facts)
    # The writer comes last: what it writes in a server's last second would make the counts another's than the story's.
    processes.start("batch-writer")
    built = Station(layout, scenario, facts, processes)
    _check_segments(built)
    _record(built, scale, true_size)
    return built


def _fill(
    layout: Layout,
    binary: ServerBinary,
    scenario: Scenario,
    counts: RowCounts,
    lengths: dict[str, int],
    say: Say,
) -> tuple[TableFacts, ...]:
    """Load both tables, and where the scenario asks for it the rows that are committed and not applied."""
    root = layout.data_root
    prepared = {"cairo.wal.purge.interval": "200"}
    with PrivateServer(root, binary, settings=prepared) as server:
        tables.create(server)
        tables.load_applied(server, counts, say)
    if scenario is Scenario.HEALTHY:
        server.log.unlink()
        return (
            TableFacts(TRADES, counts.trades, 0, 0, 0, 0),
            TableFacts(ORDERBOOK, counts.orderbook, 0, 0, 0, 0),
        )
    applied = {TRADES: lengths[TRADES], ORDERBOOK: lengths[ORDERBOOK] - counts.unapplied_transactions}
    for table, transactions in applied.items():
        sequencer.give_past(layout.table_dir(table), transactions)
    server.log.unlink()
    with PrivateServer(root, binary, settings={**prepared, "cairo.wal.apply.enabled": "false"}) as server:
        tables.write_unapplied(server, counts, say)
        _wait_for_purge(layout)
        server.kill()
    # The log of that run is the station's log of the minute before the power loss.
    server.log.replace(layout.questdb_log)
    lost = incident.lose_power(layout, say)
    return (
        TableFacts(TRADES, counts.trades, 0, applied[TRADES], lengths[TRADES], 0),
        TableFacts(ORDERBOOK, counts.orderbook, counts.unapplied, applied[ORDERBOOK], lengths[ORDERBOOK], lost),
    )


def _log_lengths(scale: int, true_size: bool) -> dict[str, int]:
    """Return the transactions in each log: the incident's true ones, or as many as crash a server for sure."""
    if true_size:
        return dict(_TRUE_LOGS)
    least = _LEAST_LOG // sequencer.RECORD.itemsize + _PER_PAGES
    orderbook = max(_TRUE_LOGS[ORDERBOOK] // scale, least)
    orderbook += (_TRUE_LOGS[ORDERBOOK] - orderbook) % _PER_PAGES
    return {TRADES: max(_TRUE_LOGS[TRADES] // scale, least), ORDERBOOK: orderbook}


def _wait_for_purge(layout: Layout) -> None:
    """Wait until the WAL of the applied rows is gone, as it is on a station that has run for long."""
    deadline = time.monotonic() + 20
    old = sequencer.PAST_WALS
    while time.monotonic() < deadline:
        left = [
            path
            for table in (TRADES, ORDERBOOK)
            for path in layout.table_dir(table).glob("wal*")
            if path.is_dir() and int(path.name.removeprefix("wal")) <= old
        ]
        if not left:
            return
        time.sleep(0.05)
    raise StationError(f"the server did not purge {left[0]}, whose rows are all applied")


def _make_groups(layout: Layout) -> None:
    client = redis.Redis(host="127.0.0.1", port=layout.redis_port)
    for stream in STREAMS:
        client.xgroup_create(stream.name, stream.group, id="0", mkstream=True)


def _wait_until_read(layout: Layout, facts: tuple[TableFacts, ...]) -> None:
    """Wait until the server answers and check that every applied row can be read. Raises StationError."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(
                host="127.0.0.1", port=layout.pg_port, user="admin", password="quest", dbname="qdb",
                autocommit=True, connect_timeout=2,
            ) as connection:  # fmt: skip
                for each in facts:
                    row = connection.execute(f"SELECT count() FROM {each.table}".encode()).fetchone()
                    if row is None or row[0] != each.rows_applied:
                        raise StationError(f"{each.table} has {row and row[0]} rows, not {each.rows_applied:,}")
                return
        except psycopg.Error as error:
            if time.monotonic() > deadline:
                raise StationError(f"the server does not answer: {error}; see {layout.questdb_log}") from error
            time.sleep(0.1)


def _check_segments(built: Station) -> None:
    """See that the unapplied rows are still on disk. Raises StationError: without them there is nothing to recover."""
    if built.facts(ORDERBOOK).rows_unapplied and not any(built.layout.table_dir(ORDERBOOK).glob("wal*/*/_event")):
        raise StationError(f"the server purged the WAL of {ORDERBOOK}: its unapplied rows are gone, build it again")


def _record(built: Station, scale: int, true_size: bool) -> None:
    document: dict[str, Any] = {
        **_owner(),
        "scenario": built.scenario.value,
        "scale": scale,
        "true_size": true_size,
        "tables": [asdict(facts) for facts in built.tables],
        "processes": built.processes.pids(),
    }
    (built.layout.directory / _RECORD).write_text(json.dumps(document, indent=2) + "\n")


def _owner() -> dict[str, Any]:
    return {"schema": 1, "owner": {"pid": os.getpid(), "started": psutil.Process().create_time()}}


@contextlib.contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    """Yield an empty directory that is this station's alone.

    A directory of an earlier demo whose process is gone is emptied, its leftovers ended. Raises StationError where a
    demo still runs there, or where the directory holds anything else.
    """
    if directory is not None:
        place = directory.resolve()
        _reclaim(place)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise StationError(f"{place} is not empty and holds no demo station; name a new directory with --dir")
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / _RECORD).write_text(json.dumps(_owner()))
        yield place
        return
    stations = paths.cache_dir() / "stations"
    stations.mkdir(mode=0o700, parents=True, exist_ok=True)
    for earlier in stations.iterdir():
        with contextlib.suppress(StationError):
            _reclaim(earlier)
            if earlier.is_dir():
                earlier.rmdir()
    place = Path(tempfile.mkdtemp(dir=stations, prefix="station-"))
    (place / _RECORD).write_text(json.dumps(_owner()))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _reclaim(place: Path) -> None:
    """Empty a directory that an earlier demo left; do nothing where it is none of a demo. Raises StationError."""
    record = place / _RECORD
    if not record.is_file():
        return
    try:
        owner = json.loads(record.read_text())["owner"]
        running = psutil.Process(owner["pid"]).create_time() == owner["started"]
    except psutil.NoSuchProcess:
        running = False
    except (ValueError, KeyError, TypeError):
        raise StationError(f"{record} is not a demo station's record; name another directory with --dir") from None
    if running:
        raise StationError(f"a demo runs in {place} already (process {owner['pid']}); name another with --dir")
    end_processes_of(place)
    for path in place.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
