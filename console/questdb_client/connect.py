"""Connections to QuestDB, their deadlines, and one statement on them.

Measured on 9.1: a transaction's state means nothing to QuestDB, so autocommit; a prepared statement breaks when a table
is altered, so none; `SET statement_timeout` is accepted and ignored, so the deadline is ours, ended by a cancel.
"""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from console.settings import QuestDBSettings
from console.text import clean_line

_CANCEL: Final = 2.0  # seconds that a server gets to end a statement that it was asked to


class DeadlineError(psycopg.OperationalError):
    """The statement did not end within its deadline."""


def login(settings: QuestDBSettings, seconds: float) -> dict[str, Any]:
    """Return what psycopg connects with; the connection is given up after `seconds`."""
    return {
        "host": settings.host, "port": settings.pg_port, "user": settings.user, "password": settings.password,
        "dbname": settings.database, "application_name": "walmedic", "autocommit": True, "prepare_threshold": None,
        "connect_timeout": int(seconds), "tcp_user_timeout": int(seconds * 1000),
    }  # fmt: skip


def connect(settings: QuestDBSettings, seconds: float) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a new connection. Raises psycopg.Error."""
    return psycopg.connect(**login(settings, seconds))


def rows_of(
    connection: psycopg.Connection[Any], sql: str, parameters: Sequence[object] = (), *, deadline: float
) -> list[dict[str, Any]]:
    """Run one statement; return its rows by column name. Raises DeadlineError after `deadline` seconds, psycopg.Error.

    At the deadline the statement is cancelled on the server, and where that is not heard either (a process that is
    stopped, a host that is gone) the connection is cut.
    """
    with _ended_after(connection, deadline) as over:
        try:
            cursor = psycopg.ClientCursor(connection, row_factory=dict_row)
            cursor.execute(sql.encode(), tuple(parameters) or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            if over.is_set():
                raise DeadlineError(f"no answer within {deadline:g} s") from error
            raise


def tuples_of(connection: psycopg.Connection[tuple[Any, ...]], sql: str) -> list[tuple[Any, ...]]:
    """Run one statement without a deadline; return its rows, none where it has no result. Raises psycopg.Error."""
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(sql.encode())
    return cursor.fetchall() if cursor.description else []


def reason(error: Exception) -> str:
    message = str(error).strip()
    return clean_line(message.splitlines()[0] if message else type(error).__name__, 160)


@contextmanager
def _ended_after(connection: psycopg.Connection[Any], seconds: float) -> Iterator[threading.Event]:
    """End what runs on `connection` within the block after `seconds`; the event says that it came to that."""
    over, left = threading.Event(), threading.Event()

    def end() -> None:
        if left.wait(seconds):
            return
        over.set()
        with suppress(Exception):  # whatever is wrong with the cancel, the cut follows
            connection.cancel_safe(timeout=_CANCEL)
        if not left.wait(_CANCEL):
            _cut(connection)

    thread = threading.Thread(target=end, name="deadline of a statement", daemon=True)
    thread.start()
    try:
        yield over
    finally:
        left.set()


def _cut(connection: psycopg.Connection[Any]) -> None:
    """Shut the socket: whoever waits on the connection gets an error at once, in whatever thread."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)
