"""The command that prints the log of a unit, for the backends that have one."""

from dataclasses import dataclass

from console.services.model import ServiceError
from console.settings import Settings


@dataclass(frozen=True, slots=True)
class LogCommand:
    """An argv. `stamped` says that each line begins with an RFC 3339 time."""

    argv: tuple[str, ...]
    stamped: bool


def log_command(settings: Settings, unit: str, lines: int, *, follow: bool) -> LogCommand:
    """Return what prints the last `lines` of `unit`, and with `follow` each new one.

    A configured command is run as it is.

    Raises ServiceError where the settings name none.
    """
    services = settings.services
    asked = ("logs", "--timestamps", f"--tail={lines}", *(("--follow",) if follow else ()))
    match services.backend:
        case "docker" | "podman":
            return LogCommand((services.backend, *asked, unit), True)
        case "kubernetes":
            namespace = (f"--namespace={services.namespace}",) if services.namespace else ()
            return LogCommand(("kubectl", *namespace, *asked, unit), True)
        case "command":
            argv = next((each.log for each in services.units if each.name == unit), ())
            if argv:
                return LogCommand(argv, False)
            raise ServiceError(f'{unit} has no log command: set log = ["…"] of this unit in services.units')
        case "by-hand":
            raise ServiceError(f"walmedic knows no log of {unit}; of the database set questdb.log to its file")
    raise ServiceError("no services are configured (settings: services.backend), so there is no log of them")
