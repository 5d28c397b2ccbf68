"""Whether a server on the station's ports says that it serves a directory: PGWire first, HTTP where that is off.

Nothing but its own words, so that it proves a server that no file shows; never that none lives.
"""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from console.diagnosis.server.served import served_root, serves
from console.settings import QuestDBSettings

_WAIT: Final = 2.0
"""Seconds for a connection, and as many for an answer."""
_QUERY: Final = "(show parameters)"
_MOST: Final = 4 << 20


def answers(settings: QuestDBSettings, db: Path) -> bool:
    """Return whether a server answers and names `db`, compared by inode. False if none does, or it does not say."""
    return any(
        serves(served_root(read(settings)), db) is True
        for port, read in ((settings.pg_port, _by_pgwire), (settings.http_port, _by_http))
        if _listens(settings.host, port)
    )


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _WAIT).close()
    except OSError:
        return False
    return True


def _by_pgwire(settings: QuestDBSettings) -> list[dict[str, Any]]:
    import psycopg  # a dead copy on another machine is diagnosed without it

    from console.questdb_client.connect import connect, rows_of

    try:
        with connect(settings.observing(), _WAIT) as connection:
            return rows_of(connection, _QUERY, deadline=_WAIT)
    except psycopg.Error:
        return []


def _by_http(settings: QuestDBSettings) -> list[dict[str, Any]]:
    """Return the rows of `/exec`: its JSON has names in `columns`, and in `dataset` a list of values for each row."""
    connection = http.client.HTTPConnection(settings.host, settings.http_port, timeout=_WAIT)
    try:
        connection.request("GET", f"/exec?query={quote(_QUERY)}")
        document: Mapping[str, Any] = json.loads(connection.getresponse().read(_MOST))
        names = [str(column["name"]) for column in document["columns"]]
        return [dict(zip(names, row, strict=False)) for row in document["dataset"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []
    finally:
        connection.close()
