"""What the server says, read once over PGWire and believed only where it provably serves the same db directory."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings
from console.text import clean_line

if TYPE_CHECKING:
    import psycopg

_DEADLINE: Final = 2
"""Seconds for the connection, and as many for each statement."""


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
    import psycopg  # a dead copy on another machine is diagnosed without it

    where = f"{settings.host}:{settings.pg_port}"
    try:
        with psycopg.connect(
            host=settings.host, port=settings.pg_port, user=settings.user, password=settings.password,
            dbname=settings.database, autocommit=True, connect_timeout=_DEADLINE, prepare_threshold=None,
            options="", tcp_user_timeout=_DEADLINE * 1000,
        ) as connection:  # fmt: skip
            return _ask(connection, database, where)
    except psycopg.Error as error:
        reason = clean_line(str(error).splitlines()[0] if str(error) else type(error).__name__, 160)
        return f"SQL at {where}: {reason}"


def _ask(connection: "psycopg.Connection[Any]", database: DatabaseRoot, where: str) -> ServerFacts | str:
    parameters = {str(row["property_path"]): row for row in _rows(connection, "(show parameters)")}
    root = served_root(parameters)
    if not root:
        return f"SQL at {where}: it does not say which directory it serves"
    with suppress(OSError):
        if Path(root).samefile(database.db):
            return ServerFacts(
                {facts.name: facts for facts in map(_wal_table, _rows(connection, "wal_tables()"))},
                frozenset(str(row["table_name"]) for row in _rows(connection, "tables()") if row.get("walEnabled")),
            )
    return f"SQL at {where}: that server serves {clean_line(root)}, not this directory"


def _rows(connection: "psycopg.Connection[Any]", sql: str) -> list[dict[str, Any]]:
    """Return the rows of one statement by column name; a cancel ends it after the deadline (Postgres's own way)."""

    import psycopg

    timer = threading.Timer(_DEADLINE, connection.cancel)
    timer.daemon = True
    timer.start()
    try:
        cursor = psycopg.ClientCursor(connection)
        cursor.execute(sql.encode())
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []
    finally:
        timer.cancel()


def _wal_table(row: Mapping[str, Any]) -> ServerTableFacts:
    error = " ".join(str(row.get(key) or "") for key in ("errorTag", "errorMessage"))
    return ServerTableFacts(
        name=str(row["name"]),
        suspended=bool(row["suspended"]),
        writer_txn=int(row["writerTxn"]),
        sequencer_txn=int(row["sequencerTxn"]),
        error=clean_line(error, 200),
    )


def served_root(parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the absolute db directory out of `(show parameters)`, empty where it does not say.

    `cairo.root` is relative by default; the work directory of COPY lies beneath the same one and is absolute, unless
    it was set by hand (measured on 9.1.0).
    """
    root = str(parameters.get("cairo.root", {}).get("value") or "")
    if root.startswith("/"):
        return root
    work = parameters.get("cairo.sql.copy.work.root", {})
    if root and work.get("value_source") == "default" and str(work.get("value") or "").startswith("/"):
        return str(Path(str(work["value"])).parent / root)
    return ""
