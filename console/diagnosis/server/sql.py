"""One PGWire connection for reading, believed only where the server provably serves the directory that is diagnosed."""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from console.diagnosis.server.liveness import always_open
from console.diagnosis.server.open_files import users_of
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings
from console.text import clean_line

if TYPE_CHECKING:
    import psycopg

DEADLINE: Final = 2.0
"""Seconds for the connection, and as many for a statement that names no other bound."""
_CANCEL: Final = 2.0  # seconds that a server gets to end a statement that it was told to


class NoAnswer(WalmedicError):
    """The server could not be asked, or did not answer a statement; the message says why in a few words."""


class ServerSql:
    """A connection that was proven to be the right one. Every statement has a deadline, ended by a cancel."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def rows(self, sql: str, deadline: float = DEADLINE) -> list[dict[str, Any]]:
        """Return the rows of one statement by column name. Raises NoAnswer."""
        import psycopg  # a dead copy on another machine is diagnosed without it

        with ended_after(self._connection, deadline) as over:
            try:
                cursor = psycopg.ClientCursor(self._connection)
                cursor.execute(sql.encode())
                names = [column.name for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []
            except psycopg.Error as error:
                raise NoAnswer(f"no answer within {deadline:g} s" if over.is_set() else _reason(error)) from error


@contextmanager
def ended_after(connection: "psycopg.Connection[Any]", seconds: float) -> Iterator[threading.Event]:
    """End what runs on `connection` within the block after `seconds`; the event says that it came to that.

    QuestDB ignores statement_timeout, so the deadline is ours: the statement is cancelled on the server, and where that
    is not heard either (a process that is stopped, a host that is gone) the connection is cut.
    """
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


def _cut(connection: "psycopg.Connection[Any]") -> None:
    """Shut the socket: whoever waits on the connection is told so at once, in whatever thread."""
    import psycopg

    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)


@contextmanager
def server_of(settings: QuestDBSettings, database: DatabaseRoot) -> Iterator[ServerSql]:
    """Yield a connection to the server of `database`. Raises NoAnswer where there is none, or it serves another."""
    import psycopg

    where = f"SQL at {settings.host}:{settings.pg_port}"
    settings = settings.observing()
    try:
        connection = psycopg.connect(
            host=settings.host, port=settings.pg_port, user=settings.user, password=settings.password,
            dbname=settings.database, autocommit=True, connect_timeout=int(DEADLINE), prepare_threshold=None,
            tcp_user_timeout=int(DEADLINE * 1000),
        )  # fmt: skip
    except psycopg.Error as error:
        raise NoAnswer(f"{where}: {_reason(error)}") from error
    with connection:
        sql = ServerSql(connection)
        root = served_root({str(row["property_path"]): row for row in sql.rows("(show parameters)")})
        if not root:
            raise NoAnswer(f"{where}: it does not say which directory it serves")
        if not serves(root, database.db):
            raise NoAnswer(
                f"{where}: that server serves {clean_line(root)}, which cannot be proven to be this directory"
            )
        yield sql


def serves(root: str, db: Path) -> bool:
    """Return whether a server's `root` is proven to be `db`, by device and inode.

    A server in a container has names of its own: `root` is looked up as each process that has files of `db` mapped, or
    open for writing, sees it.
    """
    if _is(Path(root), db):
        return True
    users = users_of(db, always_open(db)).processes
    return any(_is(Path(f"/proc/{user.pid}/root{root}"), db) for user in users)


def _is(path: Path, db: Path) -> bool:
    try:
        return path.samefile(db)
    except OSError:
        return False


def _reason(error: Exception) -> str:
    said = str(error).strip()
    return clean_line(said.splitlines()[0] if said else type(error).__name__, 160)


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
