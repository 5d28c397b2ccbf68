"""Where everything of one demo station lies: one directory, free loopback ports, a name for each process."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from console import paths
from console.errors import WalmedicError
from console.recovery.server.private_server import free_ports
from console.settings import Role, Stream, Unit

STATION = "demo"
TRADES, ORDERBOOK = "market_trades", "market_orderbook"
GROUP = "batch-writer"
# MAXLEN is beyond what half an hour without a writer brings, so that nothing unread is trimmed while one looks.
STREAMS = (
    Stream("market_trades_stream", group=GROUP, table=TRADES, max_length=500_000),
    Stream("market_orderbook_stream", group=GROUP, table=ORDERBOOK, max_length=500_000),
)
UNITS = (
    Unit("questdb", Role.DATABASE),
    Unit("redis", Role.QUEUE),
    Unit("binance-trades", Role.FEED),
    Unit("binance-bookticker", Role.FEED),
    Unit("batch-writer", Role.WRITER),
)
# The directories' names are the incident's: `name~id`.
TABLE_IDS = {TRADES: 8, ORDERBOOK: 19}
_LONGEST_SOCKET = 100  # sun_path holds 108 bytes


class StationError(WalmedicError):
    """The demo station could not be built or run; the message says what and where."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths and ports of the station in `directory`."""

    directory: Path
    http_port: int
    pg_port: int
    health_port: int
    redis_port: int
    socket: Path = field(default=Path())

    @property
    def data_root(self) -> Path:
        """QuestDB's root, as `-d` takes it; it holds `db/`."""
        return self.directory / "data" / "hot"

    @property
    def log_dir(self) -> Path:
        return self.directory / "log"

    @property
    def questdb_log(self) -> Path:
        return self.log_dir / "questdb.log"

    @property
    def settings_file(self) -> Path:
        return self.directory / "walmedic.toml"

    @property
    def state_dir(self) -> Path:
        """Journal, evidence and locks of the recovery."""
        return self.directory / "state"

    @property
    def supervisor_file(self) -> Path:
        return self.directory / "supervisord.conf"

    @property
    def redis_dir(self) -> Path:
        return self.directory / "redis"

    def table_dir(self, table: str) -> Path:
        return self.data_root / "db" / f"{table}~{TABLE_IDS[table]}"

    def sequencer(self, table: str) -> Path:
        return self.table_dir(table) / "txn_seq"


def lay_out(directory: Path) -> Layout:
    """Make the folders of a new station in `directory`, which is empty, and choose its ports."""
    http, pg, health, redis = free_ports(4)
    socket = directory / "supervisor.sock"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET:
        socket = Path(tempfile.mkdtemp(prefix="walmedic-")) / "supervisor.sock"
    layout = Layout(directory, http, pg, health, redis, socket)
    for folder in (layout.data_root / "conf", layout.log_dir, layout.redis_dir):
        folder.mkdir(parents=True)
    paths.make_private(layout.state_dir)
    return layout
