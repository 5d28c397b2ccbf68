"""Builds a station: loads it, breaks it as far as the scenario says, and leaves its processes running."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import redis

from console import settings
from console.questdb.formats.sequencer import LOG_RECORD
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import Settings
from console.station import answers, downloads, incident, power_loss, sequencer, tables
from console.station.configuration import write_server_conf, write_settings, write_supervisor_conf
from console.station.downloads import Say
from console.station.layout import ORDERBOOK, STREAMS, TRADES, Layout, StationError, lay_out
from console.station.place import a_place, write_record
from console.station.processes import Processes, marked, undisturbed
from console.station.scenario import Scenario
from console.station.tables import RowCounts
from console.text import clean_line
from console.waiting import looks

_TRUE_LOGS = {TRADES: 15_300_000, ORDERBOOK: 7_607_751}
_LEAST_LOG = 4 << 20  # bytes: smaller logs crash the server only sometimes
_PER_PAGES = 1024  # records in seven pages: the same remainder loses the same number of records with the last page


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What is true of a table at the end of the build, for who checks a recovery later."""

    table: str
    rows_applied: int
    rows_unapplied: int
    applied_txn: int
    logged_txn: int
    records_lost: int  # with the last page of the log
    rows_lost: int = 0  # with a partition that is gone
    values_lost: int = 0  # of column `power_loss.TORN_COLUMN`


@dataclass(frozen=True, slots=True)
class Station:
    """A running station."""

    layout: Layout
    scenario: Scenario
    tables: tuple[TableFacts, ...]
    processes: Processes

    def settings(self) -> Settings:
        return settings.load(self.layout.settings_file, environment={})

    def facts(self, table: str) -> TableFacts:
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
    with a_place(directory) as place:
        layout = lay_out(place)
        processes = Processes(layout)
        try:
            try:
                with marked(layout.directory):
                    built = _build(layout, processes, binary, redis_server, scenario, scale, true_size, say)
            except (OSError, psycopg.Error, redis.RedisError) as error:
                message = clean_line(str(error)) or type(error).__name__
                raise StationError(f"the station could not be built in {place}: {message}") from error
            yield built
        finally:
            with undisturbed():
                processes.close()
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
    processes.wait_for("redis", "binance-trades", "binance-bookticker")
    _make_groups(layout)
    say("Redis and both collectors run")
    if scenario is Scenario.HEALTHY:
        processes.start("questdb")
    elif scenario is not Scenario.POWER_LOSS:
        incident.crash_loop(layout, processes, say)
    if scenario in (Scenario.LOG_REMOVED, Scenario.INCIDENT):
        incident.remove_logs(layout, processes, _applied(facts), say)
    if scenario is Scenario.INCIDENT:
        incident.remove_sequencers(layout, processes, say)
    if scenario not in (Scenario.CRASH_LOOP, Scenario.POWER_LOSS):
        answers.wait_until_read(layout, _applied(facts))
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
    with PrivateServer(root, binary, settings=prepared, whole_log=True) as server:
        tables.create(server)
        tables.load_applied(server, counts, say)
        days = power_loss.Days.counted_by(server)
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
    waiting = {**prepared, "cairo.wal.apply.enabled": "false"}
    with PrivateServer(root, binary, settings=waiting, http=True, whole_log=True) as server:
        tables.write_unapplied(server, counts, say)
        _wait_for_purge(layout)
        server.kill()
    # The log of that run is the station's log of the minute before the power loss.
    server.log.replace(layout.questdb_log)
    lost = incident.lose_power(layout, say)
    trades = TableFacts(TRADES, counts.trades, 0, applied[TRADES], lengths[TRADES], 0)
    book = TableFacts(ORDERBOOK, counts.orderbook, counts.unapplied, applied[ORDERBOOK], lengths[ORDERBOOK], lost)
    if scenario is Scenario.POWER_LOSS:
        power_loss.break_files(layout, days, say)
        return replace(trades, values_lost=days.values_lost), replace(book, rows_lost=days.gone)
    return trades, book


def _log_lengths(scale: int, true_size: bool) -> dict[str, int]:
    """Return the transactions in each log: the incident's true ones, or as many as crash a server for sure."""
    if true_size:
        return dict(_TRUE_LOGS)
    least = _LEAST_LOG // LOG_RECORD.size + _PER_PAGES
    orderbook = max(_TRUE_LOGS[ORDERBOOK] // scale, least)
    orderbook += (_TRUE_LOGS[ORDERBOOK] - orderbook) % _PER_PAGES
    return {TRADES: max(_TRUE_LOGS[TRADES] // scale, least), ORDERBOOK: orderbook}


def _wait_for_purge(layout: Layout) -> None:
    """Wait until the WAL of the applied rows is gone, as it is on a station that has run for long."""
    old = sequencer.PAST_WALS
    for late in looks(60, 0.05):
        left = [
            path
            for table in (TRADES, ORDERBOOK)
            for path in layout.table_dir(table).glob("wal*")
            if path.is_dir() and int(path.name.removeprefix("wal")) <= old
        ]
        if not left:
            return
        if late:
            raise StationError(f"the server did not purge {left[0]}, whose rows are all applied")


def _applied(facts: tuple[TableFacts, ...]) -> dict[str, int]:
    return {each.table: each.rows_applied for each in facts}


def _make_groups(layout: Layout) -> None:
    client = redis.Redis(host="127.0.0.1", port=layout.redis_port)
    for stream in STREAMS:
        client.xgroup_create(stream.name, stream.group, id="0", mkstream=True)


def _check_segments(built: Station) -> None:
    """See that the unapplied rows are still on disk. Raises StationError: without them there is nothing to recover."""
    if built.facts(ORDERBOOK).rows_unapplied and not any(built.layout.table_dir(ORDERBOOK).glob("wal*/*/_event")):
        raise StationError(f"the server purged the WAL of {ORDERBOOK}: its unapplied rows are gone, build it again")


def _record(built: Station, scale: int, true_size: bool) -> None:
    document: dict[str, Any] = {
        "scenario": built.scenario.value,
        "scale": scale,
        "true_size": true_size,
        "tables": [asdict(facts) for facts in built.tables],
        "processes": built.processes.pids(),
    }
    write_record(built.layout.directory, document)
