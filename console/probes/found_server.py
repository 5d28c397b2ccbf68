"""The part of `init` that finds the server: data root, jar, Java, and the ports that reach it from here."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from console.diagnosis.server.liveness import Life, liveness
from console.errors import WalmedicError
from console.probes import running
from console.questdb.layout import DatabaseRoot
from console.questdb.server_processes import ServerProcess, has_own_network, servers
from console.services.containers import address_of, name_of, project_of, published
from console.settings import QuestDBSettings
from console.text import clean_line

_LARGEST_CONF: Final = 1 << 20  # bytes
# Settings of server.conf, newest spelling first, and the port where none is there (QuestDB 9.1). In the environment
# each is QDB_ and its name in capitals with _ for every dot; the environment wins.
_PORTS: Final = {
    "pg_port": (("pg.net.bind.to",), 8812),
    "http_port": (("http.bind.to", "http.net.bind.to"), 9000),
    "health_port": (("http.min.bind.to", "http.min.net.bind.to"), 9003),
}


def found_server(db_root: str) -> tuple[ServerProcess | None, DatabaseRoot]:
    """Return the server on `db_root`, or the only one that runs here, and its data root by a name that is valid here.

    Raises WalmedicError where no QuestDB is found, several and none is named, or the data root has no name here.
    """
    found = servers()
    if db_root:
        database = DatabaseRoot.locate(Path(db_root))
        return next((each for each in found if each.serves(database.root)), None), database
    roots = sorted({str(server.root or server.inside) for server in found})
    if not roots:
        raise WalmedicError("no QuestDB that this user may see runs here; start it, or name its directory: --db-root")
    if len(roots) > 1:
        shown = ", ".join(map(clean_line, roots))
        unseen = any(server.root is None for server in found) and os.geteuid() != 0
        sees = "; some may be in containers: run walmedic init as root (sudo -E) to see where" if unseen else ""
        raise WalmedicError(f"{len(roots)} QuestDB servers run here ({shown}); name one of them with --db-root{sees}")
    (server, *_) = found
    if server.root is None:
        raise WalmedicError(_unnamed(server))
    return server, DatabaseRoot.locate(server.root)


def _unnamed(server: ServerProcess) -> str:
    """Return what to do about a data root that has no name here."""
    inside = clean_line(server.inside)
    if os.geteuid() != 0:
        return (
            f"QuestDB (pid {server.pid}) runs on {inside}, and this user may not see whether that is in a container; "
            "run walmedic init as root (sudo -E), or name the directory of this machine: --db-root"
        )
    return (
        f"QuestDB (pid {server.pid}) runs on {inside} inside of a container, which no directory of this machine shows: "
        "keep its data in a bind mount or volume, or run walmedic in a container with the same volume"
    )


def questdb_settings(
    server: ServerProcess | None, database: DatabaseRoot, sources: dict[str, str], doubts: list[str]
) -> QuestDBSettings:
    """Return what reaches the server from here; `sources` and `doubts` get why, and what a person has to look at."""
    values = _ports(server, database, sources)
    known = running.container_of(server.pid) if server is not None and server.contained else None
    container = known[1] if known else None
    host = ""
    if server is not None:
        host = _reach(server, container, values, sources, doubts)
        sources["questdb.jar"] = sources["questdb.java"] = f"pid {server.pid}"
        if not server.jar:
            doubts.append("the server's jar is in its container only: set questdb.jar to a copy of it for rehearsals")
    where = f"command line of pid {server.pid}" if server else "--db-root"
    if server is not None and container is not None:
        compose = f" of {project_of(container)}" if project_of(container) else ""
        where = f"container {clean_line(name_of(container))}{compose}, there {clean_line(server.inside)}"
    elif server is not None and str(server.root) != server.inside:
        where = f"{where}, there {clean_line(server.inside)}"
    sources["questdb.db_root"] = where
    if server is None:
        doubts.append(_unseen(database))
    quest = QuestDBSettings(
        db_root=str(database.root),
        jar=server.jar if server else "",
        java=server.java if server else "",
        pg_port=values["pg_port"],
        http_port=values["http_port"],
        health_port=values["health_port"],
    )
    return replace(quest, host=host) if host else quest


def _unseen(database: DatabaseRoot) -> str:
    """Return why there is no process to learn from: none lives, or none can be seen from here."""
    found = liveness(database.db)
    if found.life is Life.DOWN:
        return "no server runs on it: ports are those of its configuration"
    if found.life is Life.ALIVE:
        return (
            "a server runs on it that cannot be seen from here (another container, or another user's): ports are those "
            "of its configuration; run init on the host as root to find the rest"
        )
    return f"{found.sentence}; ports are those of its configuration"


def _ports(server: ServerProcess | None, database: DatabaseRoot, sources: dict[str, str]) -> dict[str, int]:
    """Return the ports as the server was told: by its environment, else by server.conf, else the usual ones."""
    conf = database.root / "conf" / "server.conf"
    properties = properties_of(conf)
    variables: Mapping[str, str] = server.variables if server else {}
    values: dict[str, int] = {}
    for name, (keys, usual) in _PORTS.items():
        values[name] = usual
        for key in keys:
            variable = f"QDB_{key.upper().replace('.', '_')}"
            told = (
                (variables.get(variable), f"{variable} of pid {server.pid if server else 0}"),
                (properties.get(key), f"{key} in {clean_line(str(conf))}"),
            )
            found = next(((port, why) for text, why in told if (port := port_of(text or ""))), None)
            if found is not None:
                values[name], sources[f"questdb.{name}"] = found
                break
    return values


def _reach(
    server: ServerProcess,
    container: Mapping[str, Any] | None,
    values: dict[str, int],
    sources: dict[str, str],
    doubts: list[str],
) -> str:
    """Put the ports of this machine in the place of those inside; return the address to use, empty for this machine."""
    for name, port in values.items():
        if server.ports and port not in server.ports and name != "health_port":
            doubts.append(f"the server (pid {server.pid}) does not listen on {port}: check questdb.{name}")
    if not has_own_network(server.pid):
        return ""
    shown = published(container) if container is not None else {}
    if values["pg_port"] in shown:
        for name, port in values.items():
            if port in shown:
                values[name], sources[f"questdb.{name}"] = shown[port], f"published port {port} of the container"
            elif name != "health_port":
                doubts.append(f"port {port} of the container is not published: questdb.{name} reaches nothing")
        return ""
    address = address_of(container) if container is not None else ""
    if address:
        sources["questdb.host"] = "address of the container, whose ports are not published"
        return address
    doubts.append(
        f"the server (pid {server.pid}) has a network of its own and port {values['pg_port']} is not published: SQL "
        "cannot be asked from here; publish it to 127.0.0.1"
    )
    return ""


def read_only_user(server: ServerProcess | None, database: DatabaseRoot) -> bool:
    told = server.variables.get("QDB_PG_READONLY_USER_ENABLED") if server else None
    found = told or properties_of(database.root / "conf" / "server.conf").get("pg.readonly.user.enabled")
    return found == "true"


def properties_of(conf: Path) -> dict[str, str]:
    """Return the settings of a server.conf; nothing where it cannot be read (all is then as usual)."""
    try:
        descriptor = os.open(conf, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        text = os.read(descriptor, _LARGEST_CONF).decode(errors="replace")
    except OSError:
        return {}
    finally:
        os.close(descriptor)
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith(("#", "!")))
    return {key.strip(): value.strip() for key, _, value in pairs}


def port_of(address: str) -> int:
    """Return the port of `host:port` or `port`, 0 where there is none."""
    digits = address.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and 0 < int(digits) < 65_536 else 0
