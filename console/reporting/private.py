"""What must not leave the machine, gathered from where it is known, and taken out of everything that leaves."""

import dataclasses
import enum
import getpass
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from console.questdb.layout import DatabaseRoot
from console.redaction import Redactor
from console.redis_settings import host_and_port
from console.reporting.incident import Incident
from console.reporting.reading import Unreadable, read_text
from console.settings import Role, Settings

T = TypeVar("T")


def redactor_for(incident: Incident, *, private: bool) -> Redactor:
    """Return a redactor that knows the station's secrets; with `private` also its people and places.

    Learns from settings, server.conf and the unit files: what is secret there is hidden wherever else it stands.
    """
    settings = incident.settings
    made = Redactor(secrets=secrets_of(settings), private=private)
    for path in (*configuration_files(incident.database), *unit_files(incident)):
        try:
            made.configuration(read_text(path).text)
        except Unreadable:
            continue  # named as missing where it is asked for
    _places(made, settings, incident.database)
    operators = {past.operator for past in incident.past_actions}
    hosts = {past.host for past in incident.past_actions} | {socket.gethostname(), socket.gethostname().split(".")[0]}
    hosts |= {settings.questdb.host, settings.redis.host}
    hosts |= {host_and_port(node)[0] for node in settings.redis.nodes}
    made.people("<host>", *(host for host in hosts if not host[:1].isdigit()))  # addresses are taken out as such
    made.people("<operator>", *operators, *(name.split()[0] for name in operators if name.split()), _user())
    made.removed.clear()
    return made


def redacted(value: T, redactor: Redactor) -> T:
    """Return a record that may leave the machine: every text in it, at any depth, without what `redactor` takes out."""
    made: Any = value
    if isinstance(value, (enum.Enum, bytes, int, float, type(None))):
        return value
    if isinstance(value, str):
        made = redactor.text(value)
    elif isinstance(value, Path):
        made = Path(redactor.text(str(value)))
    elif isinstance(value, (Settings, DatabaseRoot)):
        return value  # never passed on as they are; texts made of them go through the redactor on their own
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: redacted(getattr(value, field.name), redactor) for field in dataclasses.fields(value)}
        made = dataclasses.replace(value, **fields)
    elif isinstance(value, tuple):
        made = tuple(redacted(item, redactor) for item in value)
    elif isinstance(value, (dict, list)):
        made = redactor.value(value)
    return made  # type: ignore[no-any-return]


def secrets_of(settings: Settings) -> tuple[str, ...]:
    quest = settings.questdb
    queue = settings.redis
    return tuple(filter(None, (quest.password, quest.readonly_password, queue.password, queue.sentinel_password)))


def configuration_files(database: DatabaseRoot) -> tuple[Path, ...]:
    """Return the server's configuration files that say how it runs; others in `conf/` hold keys and passwords."""
    return tuple(database.root / "conf" / name for name in ("server.conf", "log.conf"))


def unit_files(incident: Incident) -> Iterator[Path]:
    """Yield the unit files of the services, the database's first, and what is dropped into them."""
    units = incident.services.units if incident.services else ()
    for unit in sorted(units, key=lambda unit: unit.role != Role.DATABASE.value):
        if not unit.unit_file:
            continue
        file = Path(unit.unit_file)
        yield file
        for folder in dict.fromkeys((file.parent, Path("/etc/systemd/system"), Path("/run/systemd/system"))):
            try:
                yield from sorted((folder / f"{file.name}.d").glob("*.conf"))
            except OSError:
                continue


def _places(made: Redactor, settings: Settings, database: DatabaseRoot) -> None:
    for path in {str(database.root), settings.questdb.db_root}:
        made.place(path, "<data root>")
    for path in {str(settings.state_path), str(settings.state_path.resolve())}:
        made.place(path, "<state>")
    made.place(str(Path(settings.file).parent) if settings.file else "", "<settings>")
    home = str(Path.home())
    made.place(home if home != "/root" else "", "<home>")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
