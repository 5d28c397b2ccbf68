"""One PGWire connection to QuestDB that is made again when it breaks and never waits longer than its deadline."""

import asyncio
import contextlib
from typing import Any

import psycopg
from psycopg.rows import dict_row

from console.errors import WalmedicError
from console.questdb_client.connect import login
from console.settings import QuestDBSettings
from console.text import clean_line

_CONNECT = 3.0  # seconds
_CANCEL = 1.0  # seconds that a cancel gets before the connection is thrown away


class ServerUnreachable(WalmedicError):
    """QuestDB did not answer; the message says what was tried and what came back."""


class UserRefused(ServerUnreachable):
    """QuestDB lives and does not let this user in."""


class PgWire:
    """A connection of one who only looks. Not for use by two tasks at once."""

    def __init__(self, settings: QuestDBSettings) -> None:
        self._settings = settings.observing()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self.address = f"{settings.host}:{settings.pg_port}"

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.closed

    async def query(self, sql: str, deadline: float) -> list[dict[str, Any]]:
        """Run one statement and return its rows by column name.

        After `deadline` seconds the statement is cancelled on the server; the connection survives that.
        Raises ServerUnreachable without an answer, WalmedicError for a refusal.
        """
        connection = await self._connected()
        task = asyncio.create_task(_rows(connection, sql))
        try:
            done, _ = await asyncio.wait({task}, timeout=deadline)
            if not done:
                await self._give_up(connection, task)
                raise ServerUnreachable(
                    f"QuestDB at {self.address} took the statement and did not answer within {deadline:g} s"
                )
            return task.result()
        except asyncio.CancelledError:
            task.cancel()
            await self.close()
            raise
        except psycopg.OperationalError as error:
            await self.close()
            raise ServerUnreachable(f"QuestDB at {self.address} {_why(error, self._settings.user)}") from error
        except psycopg.Error as error:
            if connection.closed:
                await self.close()
            raise WalmedicError(f"QuestDB refused `{sql}`: {clean_line(str(error))}") from error

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            async with asyncio.timeout(_CONNECT):
                self._connection = await psycopg.AsyncConnection.connect(**login(self._settings, _CONNECT))
        except TimeoutError:
            raise ServerUnreachable(
                f"QuestDB at {self.address} accepts connections and does not answer within {_CONNECT:g} s"
            ) from None
        except psycopg.Error as error:
            kind = UserRefused if _refused(error) else ServerUnreachable
            raise kind(f"QuestDB at {self.address} {_why(error, self._settings.user)}") from error
        return self._connection

    async def _give_up(self, connection: psycopg.AsyncConnection[Any], task: "asyncio.Task[Any]") -> None:
        """Cancel what runs; throw the connection away where even that is not answered."""
        with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
            await asyncio.wait_for(connection.cancel_safe(timeout=_CANCEL), _CANCEL * 1.5)
        done, _ = await asyncio.wait({task}, timeout=_CANCEL)
        if done:
            task.exception()
            return
        task.cancel()
        await self.close()


async def _rows(connection: psycopg.AsyncConnection[Any], sql: str) -> list[dict[str, Any]]:
    cursor = psycopg.AsyncClientCursor(connection, row_factory=dict_row)
    await cursor.execute(sql.encode())
    return await cursor.fetchall() if cursor.description else []


def _refused(error: psycopg.Error) -> bool:
    low = str(error).lower()
    return "invalid username/password" in low or "authentication" in low


def _why(error: psycopg.Error, user: str) -> str:
    """Return the rest of the sentence `QuestDB at HOST:PORT …`."""
    message = str(error)
    low = message.lower()
    if "connection refused" in low:
        return "refuses connections: nothing listens there"
    if _refused(error):
        return f"refuses the user {user!r}: check name and password in the settings"
    if "timeout" in low:
        return f"does not answer within {_CONNECT:g} s"
    if "resolve host" in low or "name or service not known" in low:
        return "cannot be found: its name is not known"
    if "closed the connection" in low or "connection is lost" in low or "terminat" in low or "consuming input" in low:
        return "closed the connection"
    return f"failed: {clean_line(message.rpartition('failed: ')[2] or message, 200)}"
