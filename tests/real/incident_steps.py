"""The way back from the incident as an operator takes it, and what must be true at its end."""

import time

from console.station import answers
from console.station.build import Station
from console.station.tables import POWER_LOSS

# Action, the table it is for, and the phrase that the console must ask for.
STEPS = (
    ("freeze-writer", None, "freeze-writer demo"),
    ("stop-server", None, "stop-server demo"),
    ("capture-evidence", None, "capture-evidence demo"),
    ("rebuild-sequencer", "market_orderbook", "market_orderbook lose 0"),
    ("restore-sequencer", "market_trades", "market_trades lose 0"),
    ("start-server", None, "start-server demo"),
    ("thaw-writer", None, "thaw-writer demo"),
)

# Rows committed before the power loss, and the column that numbers the events.
_LOGGED = {"market_orderbook": (412_445, "update_id"), "market_trades": (160_594, "trade_id")}


def all_is_back(station: Station) -> None:
    """Assert by SQL that no row was lost but what the scenario destroyed, that none came twice, and new ones come."""
    for table, (logged, identifier) in _LOGGED.items():
        left = logged - station.facts(table).rows_lost
        assert answers.rows_between(station.layout, table, 0, POWER_LOSS) == left
        written, missing, twice = answers.continuity(station.layout, table, identifier, POWER_LOSS)
        assert written > 0
        assert (missing, twice) == (0, 0)
        deadline = time.monotonic() + 60
        while answers.continuity(station.layout, table, identifier, POWER_LOSS)[0] == written:
            assert time.monotonic() < deadline, f"{table} takes no writes"
            time.sleep(0.2)
