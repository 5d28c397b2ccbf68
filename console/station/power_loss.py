"""What a power loss does to a table's own files: six damages to both tables of the station, and what they cost.

This code writes test damage on purpose. It counts by SQL, and shares no reader with the engine that repairs it.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from console.recovery.server.private_server import PrivateServer
from console.station.downloads import Say
from console.station.layout import ORDERBOOK, TRADES, Layout, StationError

_TORN_DAY, _GONE_DAY = "2025-11-08", "2025-11-07"
TORN_COLUMN = "price"
_WIPED = 96  # bytes of _txn that are left, all zero: the classic of a power loss
_DOUBLE = 8


@dataclass(frozen=True, slots=True)
class Days:
    """Rows of the two partitions that are damaged, as SQL counted them before."""

    torn: int  # trades of the day whose price column is torn
    gone: int  # order book rows of the day whose partition is gone

    @classmethod
    def counted_by(cls, server: PrivateServer) -> "Days":
        counts = (
            server.query(f"SELECT count() FROM {table} WHERE timestamp IN '{day}'")[0][0]
            for table, day in ((TRADES, _TORN_DAY), (ORDERBOOK, _GONE_DAY))
        )
        return cls(*map(int, counts))

    @property
    def values_lost(self) -> int:
        return self.torn - self.torn // 2


def break_files(layout: Layout, days: Days, say: Say) -> None:
    """Damage three files of each table but the order book's log, which `incident.lose_power` shortens."""
    trades, book = layout.table_dir(TRADES), layout.table_dir(ORDERBOOK)
    (trades / "_txn").write_bytes(bytes(_WIPED))
    say(f"power loss: {TRADES}'s _txn is {_WIPED} zero bytes")
    for suffix in "kv":
        _only(trades, f"symbol.{suffix}").unlink()
    say(f"power loss: {TRADES}'s symbol map lost its hash index (symbol.k, symbol.v)")
    os.truncate(_only(_only(trades, _TORN_DAY), f"{TORN_COLUMN}.d"), _DOUBLE * (days.torn - days.values_lost))
    say(f"power loss: {TRADES}'s column {TORN_COLUMN} of {_TORN_DAY} lost its second half: {days.values_lost:,} values")
    metadata = book / "_meta"
    metadata.write_bytes(bytes(metadata.stat().st_size))
    say(f"power loss: {ORDERBOOK}'s _meta is zeros")
    shutil.rmtree(_only(book, _GONE_DAY))
    say(f"power loss: {ORDERBOOK}'s partition {_GONE_DAY} is gone: {days.gone:,} rows")


def _only(place: Path, name: str) -> Path:
    """Return the one file or directory of that name, whatever transaction its name ends with."""
    found = [path for path in place.iterdir() if path.name == name or path.name.startswith(f"{name}.")]
    if len(found) != 1:
        raise StationError(f"{place} has {len(found)} of {name}, not one; the scenario cannot be shown here")
    return found[0]
