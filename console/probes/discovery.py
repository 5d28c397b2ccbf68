"""Finding the running station: data root, ports, queue, streams, units and what each unit is to the station."""

import contextlib
import re
import socket
from dataclasses import dataclass, replace

from console.errors import WalmedicError
from console.probes import running
from console.probes.found_queue import found_queue
from console.probes.found_server import found_server, questdb_settings, read_only_user
from console.probes.found_services import found_services
from console.probes.running import Owner
from console.questdb.server_processes import ServerProcess
from console.services.supervisor import SupervisorControl
from console.settings import RedisSettings, Settings
from console.text import clean_line

_CONTAINER = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")  # how Docker names one that nobody named


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found: settings with the source of each value, and what a person has to look at, one sentence each."""

    settings: Settings
    doubts: tuple[str, ...]


def discover(db_root: str = "", queue: RedisSettings | None = None) -> Discovery:
    """Return the station that runs on this machine, that on `db_root` where several do. Nothing is changed.

    `queue` is what is known of its Redis already: the login, or where it is.

    Raises WalmedicError where no QuestDB is found, or several and none is named.
    """
    server, database = found_server(db_root)
    doubts: list[str] = []
    sources: dict[str, str] = {}
    questdb = questdb_settings(server, database, sources, doubts)
    if read_only_user(server, database):
        doubts.append("the server has a read-only user: set questdb.readonly_user and its password to observe with it")
    owner = running.owner_of(server.pid) if server else None
    queue_pid, found = found_queue(owner, queue or RedisSettings(), database, sources, doubts)
    services = found_services(server, queue_pid, found, owner, sources, doubts)
    settings = Settings(questdb=questdb, redis=found, services=services, sources=sources)
    log = _log(server, owner)
    if log:
        sources["questdb.log"] = "where its output goes"
        settings = replace(settings, questdb=replace(questdb, log=log))
    name, sources["station"] = _name(settings)
    return Discovery(replace(settings, station=name), tuple(doubts))


def _name(settings: Settings) -> tuple[str, str]:
    """Return what a person would call the station, and from where: the machine's name, unless that is a container's."""
    host = socket.gethostname().partition(".")[0]
    if host and host != "localhost" and not _CONTAINER.fullmatch(host):
        return clean_line(host), "the machine's name"
    return settings.station_name, "the data root's directory"


def _log(server: ServerProcess | None, owner: Owner | None) -> str:
    """Return the file that the server's output goes to, empty where it goes to the journal or is not known."""
    if server is None:
        return ""
    if owner is not None and owner.manager.backend == "supervisor":
        with contextlib.suppress(WalmedicError):
            return SupervisorControl(owner.manager.socket).log_file(owner.unit)
        return ""
    return running.output_file(server.pid)
