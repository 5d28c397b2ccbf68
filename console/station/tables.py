"""The two tables: their schemas, the rows that are applied before the power loss, and those that are only in the WAL.

Applied rows end one second before the unapplied ones begin, as on a station whose writer ran until the lights went out.
"""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from questdb import QuestDBError, Sender, TimestampNanos

from console.recovery.server.private_server import PrivateServer
from console.station.downloads import Say
from console.station.layout import ORDERBOOK, TABLE_IDS, TRADES, StationError
from console.station.market import LISTED_LATE, SYMBOLS, Market, Quote
from console.text import plural
from console.waiting import looks

# 2025-11-09 21:26 EST, and three days before it. Microseconds since the epoch.
POWER_LOSS = int(datetime(2025, 11, 10, 2, 26, tzinfo=UTC).timestamp()) * 1_000_000
_FIRST_ROW = int(datetime(2025, 11, 7, tzinfo=UTC).timestamp()) * 1_000_000
UNAPPLIED_FROM = POWER_LOSS - 60_000_000
_LAST_APPLIED = UNAPPLIED_FROM - 1_000_000
_WRITERS = 3
_LOADS = 4
_FIRST_TRADE_ID, _FIRST_UPDATE_ID = 5_400_000_000, 81_000_000_000

_CREATE = {
    TRADES: f"CREATE TABLE {TRADES} (timestamp TIMESTAMP, symbol SYMBOL, side SYMBOL, price DOUBLE, size DOUBLE, "
    "trade_id LONG) TIMESTAMP(timestamp) PARTITION BY DAY WAL",
    ORDERBOOK: f"CREATE TABLE {ORDERBOOK} (timestamp TIMESTAMP, symbol SYMBOL, bid_price DOUBLE, bid_size DOUBLE, "
    "ask_price DOUBLE, ask_size DOUBLE, update_id LONG) TIMESTAMP(timestamp) PARTITION BY DAY WAL",
}


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of the station, from the incident's true numbers at `1:scale`."""

    trades: int
    orderbook: int
    unapplied: int  # order book rows committed and not applied
    unapplied_transactions: int

    @classmethod
    def at_scale(cls, scale: int) -> "RowCounts":
        """Return the counts of the incident divided by `scale`."""
        unapplied = max(635_900 // scale, 30)
        return cls(16_059_418 // scale, 40_608_669 // scale, unapplied, min(318, unapplied))


def create(server: PrivateServer) -> None:
    """Create both tables with the table ids of the incident. Needs a root that never had a table of its own."""
    for table, wanted in sorted(TABLE_IDS.items(), key=lambda item: item[1]):
        used = 0  # the server's own tables have the first ids
        while used < wanted - 1:
            server.query("CREATE TABLE unused (x INT)")
            used = int(server.query("SELECT id FROM tables() WHERE table_name = 'unused'")[0][0])
            server.query("DROP TABLE unused")
        server.query(_CREATE[table])


def load_applied(server: PrivateServer, counts: RowCounts, say: Say) -> None:
    """Insert the applied rows in a few big transactions and wait until they are visible. Raises StationError."""
    for table, total in ((TRADES, counts.trades), (ORDERBOOK, counts.orderbook)):
        step = (_LAST_APPLIED - _FIRST_ROW) // total
        for part in range(_LOADS):
            begin, end = total * part // _LOADS, total * (part + 1) // _LOADS
            if end > begin:
                server.query(_insert(table, begin, end - begin, _LAST_APPLIED - (total - 1 - begin) * step, step))
    patience = 60 + (counts.trades + counts.orderbook) / 100_000
    for table, total in ((TRADES, counts.trades), (ORDERBOOK, counts.orderbook)):
        for late in looks(patience, 0.05):
            if (count := row_count(server, table)) == total:
                break
            if late:
                raise StationError(f"the server applied {count:,} of {total:,} rows of {table}; see {server.log}")
    say(f"{counts.trades:,} trades and {counts.orderbook:,} order book rows are applied")


def row_count(server: PrivateServer, table: str) -> int:
    return int(server.query(f"SELECT count() FROM {table}")[0][0])


def write_unapplied(server: PrivateServer, counts: RowCounts, say: Say) -> None:
    """Commit the order book rows that will not be applied: ILP over HTTP, several writers at once.

    The server must run with `cairo.wal.apply.enabled=false`. Raises StationError where it refuses a row.
    """
    ends = [counts.unapplied * n // counts.unapplied_transactions for n in range(counts.unapplied_transactions + 1)]
    sizes = [end - begin for begin, end in itertools.pairwise(ends)]
    batches = _batches(sizes)
    turn, failures = threading.Lock(), list[str]()

    def write() -> None:
        try:
            with Sender.from_conf(
                f"http::addr=127.0.0.1:{server.http_port};protocol_version=2;auto_flush=off;"
            ) as sender:
                while True:
                    with turn:
                        quotes = next(batches, None)
                    if quotes is None:
                        return
                    _send(sender, quotes)
        except QuestDBError as error:
            failures.append(str(error))

    writers = [threading.Thread(target=write) for _ in range(_WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    if failures:
        raise StationError(f"the server refused order book rows: {failures[0]}")
    transactions = plural(counts.unapplied_transactions, "transaction")
    say(f"{counts.unapplied:,} order book rows in {transactions} are committed and not applied")


def _insert(table: str, first: int, rows: int, start: int, step: int) -> str:
    """Return the INSERT of rows `first`.. (0-based), evenly spaced in time, with prices that wander."""
    names = ", ".join(f"'{symbol}'" for symbol in SYMBOLS)
    cases = " ".join(f"WHEN '{symbol}' THEN {base}" for symbol, (base, _, _) in SYMBOLS.items())
    sizes = " ".join(f"WHEN '{symbol}' THEN {size}" for symbol, (_, _, size) in SYMBOLS.items())
    price = f"(CASE symbol {cases} END) * (1 + 0.012 * sin(n / 9000.0) + 0.004 * sin(n / 700.0) + 0.0002 * (r - 0.5))"
    size = f"(CASE symbol {sizes} END) * (0.05 + 3.0 * q * q)"
    inner = (
        f"SELECT timestamp_sequence({start}::timestamp, {step}L) AS timestamp, rnd_symbol({names}) AS symbol, "
        f"rnd_symbol('buy', 'sell') AS side, x + {first} AS n, rnd_double() AS r, rnd_double() AS q "
        f"FROM long_sequence({rows})"
    )
    if table == TRADES:
        columns = "timestamp, symbol, side, price, size, trade_id"
        values = f"timestamp, symbol, side, round({price}, 5), round({size}, 5), n + {_FIRST_TRADE_ID}"
    else:
        columns = "timestamp, symbol, bid_price, bid_size, ask_price, ask_size, update_id"
        values = (
            f"timestamp, symbol, round({price}, 5), round({size}, 4), round(({price}) * 1.00002, 5), "
            f"round({size} * (1.5 - q), 4), n + {_FIRST_UPDATE_ID}"
        )
    return f"INSERT INTO {table} ({columns}) SELECT {values} FROM ({inner})"


def _batches(sizes: list[int]) -> Iterator[list[Quote]]:
    """Yield the rows of each transaction, spread over the minute before the power loss."""
    market = Market(seed=21, first_id=_FIRST_UPDATE_ID + 100_000_000, symbols=(*SYMBOLS, LISTED_LATE))
    step = (POWER_LOSS - UNAPPLIED_FROM) // sum(sizes)
    row = 0
    for size in sizes:
        yield [market.quote(UNAPPLIED_FROM + (row + n) * step) for n in range(size)]
        row += size


def _send(sender: Sender, quotes: list[Quote]) -> None:
    with sender.transaction(ORDERBOOK) as transaction:
        for quote in quotes:
            transaction.row(
                symbols={"symbol": quote.symbol},
                columns={
                    "bid_price": quote.bid_price, "bid_size": quote.bid_size, "ask_price": quote.ask_price,
                    "ask_size": quote.ask_size, "update_id": quote.update_id,
                },
                at=TimestampNanos(quote.at * 1000),
            )  # fmt: skip
