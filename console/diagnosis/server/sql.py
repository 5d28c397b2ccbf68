"""One PGWire connection for reading, believed only where the server provably serves the directory that is diagnosed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from console.diagnosis.server.served import served_root, serves
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings
from console.text import clean_line

if TYPE_CHECKING:
    import psycopg

DEADLINE: Final = 2.0
"""Seconds for the connection, and as many for a statement that names no other bound."""


class NoAnswer(WalmedicError):
    """The server could not be asked, or did not answer a statement; the message says why in a few words."""


class ServerSql:
    """A connection that was proven to be the right one. Every statement has a deadline, ended by a cancel."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def rows(self, sql: str, deadline: float = DEADLINE) -> list[dict[str, Any]]:
        """Return the rows of one statement by column name. Raises NoAnswer."""
        import psycopg  # a dead copy on another machine is diagnosed without it

        from console.questdb_client.connect import reason, rows_of

        try:
            return rows_of(self._connection, sql, deadline=deadline)
        except psycopg.Error as error:
            raise NoAnswer(reason(error)) from error


@contextmanager
def server_of(settings: QuestDBSettings, database: DatabaseRoot) -> Iterator[ServerSql]:
    """Yield a connection to the server of `database`. Raises NoAnswer where there is none, or it serves another."""
    import psycopg

    from console.questdb_client.connect import connect, reason

    where = f"SQL at {settings.host}:{settings.pg_port}"
    try:
        connection = connect(settings.observing(), DEADLINE)
    except psycopg.Error as error:
        raise NoAnswer(f"{where}: {reason(error)}") from error
    with connection:
        sql = ServerSql(connection)
        root = served_root(sql.rows("(show parameters)"))
        if not root:
            raise NoAnswer(f"{where}: it does not say which directory it serves")
        if not serves(root, database.db):
            raise NoAnswer(
                f"{where}: that server serves {clean_line(root)}, which cannot be proven to be this directory"
            )
        yield sql
