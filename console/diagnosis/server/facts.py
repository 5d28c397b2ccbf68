"""What the server says of its tables, as the diagnosis uses it beside the disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from console.diagnosis.server.sql import NoAnswer, ServerSql, served_root, server_of
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings
from console.text import clean_line

__all__ = ["ServerFacts", "ServerTableFacts", "facts_of", "read_server_facts", "served_root"]


@dataclass(frozen=True, slots=True)
class ServerTableFacts:
    """One row of `wal_tables()`."""

    name: str
    suspended: bool
    writer_txn: int
    sequencer_txn: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`wal_tables()` by raw name, and the raw names that `tables()` calls WAL tables."""

    wal_tables: Mapping[str, ServerTableFacts]
    wal_enabled: frozenset[str] = field(default_factory=frozenset)


def read_server_facts(settings: QuestDBSettings, database: DatabaseRoot) -> ServerFacts | str:
    """Return the facts, or why SQL is left out, in words. Never raises for what a server does or does not answer."""
    try:
        with server_of(settings, database) as server:
            return facts_of(server)
    except NoAnswer as error:
        return str(error)


def facts_of(server: ServerSql) -> ServerFacts:
    """Ask a proven server. Raises NoAnswer."""
    return ServerFacts(
        {facts.name: facts for facts in map(_wal_table, server.rows("wal_tables()"))},
        frozenset(str(row["table_name"]) for row in server.rows("tables()") if row.get("walEnabled")),
    )


def _wal_table(row: Mapping[str, Any]) -> ServerTableFacts:
    error = " ".join(str(row.get(key) or "") for key in ("errorTag", "errorMessage"))
    return ServerTableFacts(
        name=str(row["name"]),
        suspended=bool(row["suspended"]),
        writer_txn=int(row["writerTxn"]),
        sequencer_txn=int(row["sequencerTxn"]),
        error=clean_line(error, 200),
    )
