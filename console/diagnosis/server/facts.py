"""What the server says of its tables, as the diagnosis uses it beside the disk."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from console.diagnosis.server.sql import NoAnswer, ServerSql, server_of
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings
from console.text import clean_line

LISTED: Final = "SELECT table_name, walEnabled FROM tables()"
"""Not all columns: of a table of nanoseconds 9.3 says times that lie too far ahead to be read."""
_WATCHED: Final = 1.0  # seconds between two looks at a table that has something to apply


@dataclass(frozen=True, slots=True)
class ServerTableFacts:
    """One row of `wal_tables()`. `stands_still`: rows wait, and writerTxn did not move while it was watched."""

    name: str
    suspended: bool
    writer_txn: int
    sequencer_txn: int
    error: str = ""
    stands_still: bool = False

    @property
    def lags(self) -> bool:
        """Return whether the server has something to apply, and is not held up by a suspension."""
        return not self.suspended and 0 <= self.writer_txn < self.sequencer_txn


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`wal_tables()` by raw name, and the raw names that `tables()` calls WAL tables.

    `applies` is the server's setting cairo.wal.apply.enabled, None if it does not say.
    """

    wal_tables: Mapping[str, ServerTableFacts]
    wal_enabled: frozenset[str] = field(default_factory=frozenset)
    applies: bool | None = None


def read_server_facts(settings: QuestDBSettings, database: DatabaseRoot) -> ServerFacts | str:
    """Return the facts, or why SQL is left out, in words. Never raises for what a server does or does not answer."""
    try:
        with server_of(settings, database) as server:
            return facts_of(server)
    except NoAnswer as error:
        return str(error)


def facts_of(server: ServerSql) -> ServerFacts:
    """Ask a proven server; of a table that has something to apply twice, to see whether it moves. Raises NoAnswer."""
    tables = _wal_tables(server)
    if any(table.lags for table in tables.values()):
        time.sleep(_WATCHED)
        tables = {name: watched(tables.get(name), now) for name, now in _wal_tables(server).items()}
    listed = frozenset(str(row["table_name"]) for row in server.rows(LISTED) if row.get("walEnabled"))
    return ServerFacts(tables, listed, applies_wal(server.rows("(show parameters)")))


def watched(before: ServerTableFacts | None, now: ServerTableFacts) -> ServerTableFacts:
    """Return `now`, with whether the table stood still since `before`."""
    still = before is not None and before.lags and now.lags and before.writer_txn == now.writer_txn
    return replace(now, stands_still=still)


def applies_wal(parameters: Iterable[Mapping[str, Any]]) -> bool | None:
    """Return cairo.wal.apply.enabled out of `(show parameters)`, None if it is not among them."""
    name = "cairo.wal.apply.enabled"
    value = next((row["value"] for row in parameters if row.get("property_path") == name), None)
    return None if value is None else str(value).lower() == "true"


def _wal_tables(server: ServerSql) -> dict[str, ServerTableFacts]:
    return {facts.name: facts for facts in map(_wal_table, server.rows("wal_tables()"))}


def _wal_table(row: Mapping[str, Any]) -> ServerTableFacts:
    error = " ".join(str(row.get(key) or "") for key in ("errorTag", "errorMessage"))
    return ServerTableFacts(
        name=str(row["name"]),
        suspended=bool(row["suspended"]),
        writer_txn=int(row["writerTxn"]),
        sequencer_txn=int(row["sequencerTxn"]),
        error=clean_line(error, 200),
    )
