"""Asking the station's QuestDB over PGWire: short-lived connections, own deadlines, reads only, our own server only."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from console.diagnosis.server.served import served_root, serves
from console.errors import WalmedicError
from console.questdb_client.connect import DeadlineError, connect, rows_of
from console.recovery.store.locks import server_is_down
from console.settings import QuestDBSettings
from console.text import clean_line
from console.waiting import looks

_CONNECT = 10  # seconds: a server that is busy applying answers slowly
_ANSWER = 60.0


class SqlError(WalmedicError):
    """The server did not answer, or refused."""


class OtherDatabaseError(SqlError):
    """The server that answers works on another database."""


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Server:
    """The configured server. Every call connects anew: a server that was just started answers as soon as it can.

    It connects as the user of its settings: for a plan the one who observes, for a run the one who may write.
    """

    def __init__(self, settings: QuestDBSettings) -> None:
        self._settings = settings
        self.address = f"{settings.host}:{settings.pg_port}"

    def rows(self, sql: str, parameters: Sequence[object] = (), deadline: float = _ANSWER) -> list[dict[str, Any]]:
        """Run one statement. Raises SqlError without an answer in time, or for a refusal."""
        try:
            with contextlib.closing(connect(self._settings, _CONNECT)) as connection:
                return rows_of(connection, sql, parameters, deadline=deadline)
        except DeadlineError as error:
            message = f"did not answer `{clean_line(sql, 200)}` within {deadline:g} s"
            raise SqlError(f"QuestDB at {self.address} {message}") from error
        except psycopg.OperationalError as error:
            raise SqlError(f"QuestDB at {self.address} does not answer ({clean_line(str(error), 200)})") from error
        except psycopg.Error as error:
            raise SqlError(f"QuestDB refused `{clean_line(sql, 200)}`: {clean_line(str(error), 300)}") from error

    def wait_until_up(self, db: Path, timeout: float) -> float:
        """Wait until the server answers and prove that it is the one on `db`; return the seconds it took.

        Raises SqlError where it does not answer in time, or another database answers on the port.
        """
        began = time.monotonic()
        for late in looks(timeout, 0.1):
            try:
                self.prove_ours(db)
                break
            except OtherDatabaseError:
                raise
            except SqlError:
                if late:
                    raise
        return time.monotonic() - began

    def prove_ours(self, db: Path) -> None:
        """Compare the directory that the server works on with `db`. Raises SqlError where it is another's.

        A server in a container names paths of its own, which may prove nothing here: then that a server holds our lock
        must do.
        """
        root = served_root(self.rows("(show parameters)"))
        ours = serves(root, db)
        if ours or (ours is None and server_is_down(db) is False):
            return
        raise OtherDatabaseError(
            f"the server at {self.address} works on another database ({clean_line(root) or 'unknown'}); "
            f"set questdb.pg_port to the server of {db}"
        )

    def parameter(self, name: str) -> str | None:
        found = self.rows("SELECT value FROM (SHOW PARAMETERS) WHERE property_path = %s", (name,))
        return str(found[0]["value"]) if found else None

    def wal_table(self, table: str) -> dict[str, Any] | None:
        """Return the row of `wal_tables()` of a table: name, suspended, writerTxn, sequencerTxn, …"""
        found = self.rows("SELECT * FROM wal_tables() WHERE name = %s", (table,))
        return found[0] if found else None

    def suspended_tables(self) -> list[dict[str, Any]]:
        """Return the rows of `wal_tables()` of the suspended tables, by name."""
        return sorted(self.rows("SELECT * FROM wal_tables() WHERE suspended"), key=lambda row: str(row["name"]))
