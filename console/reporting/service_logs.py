"""What the service manager knows of the past: when services started, ended and how, and what the database reported.

From systemd's journal its own messages are taken by their MESSAGE_ID (systemd's catalog, sd-messages.h), so that no
wording matters; from supervisord's log the lines that its history is made of.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.reporting.events import Event, Kind
from console.reporting.reading import MOST, MOST_OF_A_LOG, Unreadable, read_text
from console.services.command import run
from console.services.logs import log_command
from console.services.model import ServiceError
from console.services.supervisor import SupervisorControl
from console.services.supervisor_log import run_events
from console.services.systemd import ended_how
from console.settings import Role, Settings
from console.text import clean_line

_ASKED: Final = 20.0  # seconds for one journalctl
_MOST_EVENTS, _MOST_LINES = 20_000, 50_000

_PLAIN: Final = {
    "39f53479d3a045ac8e11786248231fbf": "started",
    "9d1aaa27d60140bd96365438aad20286": "stopped",
    "fe6faa94e7774663a0da52717891d8ef": "was killed by the kernel: out of memory",
}
_PROCESS_ENDED: Final = "98e322203f7a4ed290d09fe03c09fe15"
_FAILED: Final = "d9b373ed55a64feb8242e02dbe79a49c"
_NAMED_BY_THE_PROCESS = ("exit-code", "signal", "core-dump", "")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The newest lines of a log. `source` says where they are from, as a command or a file's path."""

    name: str
    source: str
    text: str
    cut: bool


@dataclass(frozen=True, slots=True)
class ServiceLogs:
    """Events of all services, excerpts of the database's log, and one sentence for each thing that is missing."""

    events: tuple[Event, ...] = ()
    excerpts: tuple[Excerpt, ...] = ()
    missing: tuple[str, ...] = ()


def service_logs(settings: Settings, since: float | None = None, directory: Path | None = None) -> ServiceLogs:
    """Return what there is since `since` (epoch seconds; None: all). Never raises: what cannot be read is missing.

    `directory` names a journal's directory where it is not the machine's own.
    """
    match settings.services.backend:
        case "systemd" | "systemd-user":
            return _from_journal(settings, since, directory)
        case "supervisor":
            return _from_supervisor(settings, since)
        case "none":
            return ServiceLogs(missing=("service events: no services are configured (settings: services.backend)",))
    return _from_commands(settings)


def _from_commands(settings: Settings) -> ServiceLogs:
    """Return what the log command of the database prints; these backends keep no events that could be read here."""
    excerpts: list[Excerpt] = []
    missing = [f"service events: not read from {settings.services.backend}"]
    for unit in settings.services.units:
        if unit.role is not Role.DATABASE:
            continue
        try:
            command = log_command(settings, unit.name, _MOST_LINES, follow=False)
            finished = run(command.argv, _ASKED)
            if finished.status:
                raise ServiceError(clean_line(finished.error, 200) or f"exit {finished.status}")
        except ServiceError as error:
            missing.append(f"the log of {clean_line(unit.name)}: {error}")
            continue
        text = finished.output + finished.error
        name = f"{settings.services.backend}.{clean_line(unit.name)}".replace("/", "-")
        cut = len(text) > MOST_OF_A_LOG
        excerpts.append(Excerpt(name, clean_line(shlex.join(command.argv)), text[-MOST_OF_A_LOG:], cut))
    return ServiceLogs((), tuple(excerpts), tuple(missing))


def _from_journal(settings: Settings, since: float | None, directory: Path | None) -> ServiceLogs:
    events: list[Event] = []
    excerpts: list[Excerpt] = []
    missing: list[str] = []
    user = settings.services.backend == "systemd-user"
    base = ["journalctl", "--no-pager", *([f"--directory={directory}"] if directory else [])]
    hidden = ""
    for unit in settings.services.units:
        name = unit.name if "." in unit.name else f"{unit.name}.service"
        asked = [*base, "--output=json", f"--lines={_MOST_EVENTS}", *([f"--since=@{int(since)}"] if since else [])]
        try:
            printed, complaint = _output([*asked, f"{'USER_UNIT' if user else 'UNIT'}={name}"])
            hidden = hidden or complaint
            events += _manager_events(printed, clean_line(unit.name))
            if unit.role is Role.DATABASE:
                # What an expert asks for, in the words of the command that the operator would type.
                lines = [f"--lines={_MOST_LINES}", "--output=short-iso", "--no-hostname"]
                which = f"--user-unit={name}" if user else f"--unit={name}"
                text, _ = _output([*base, "--boot", *lines, which])
                shown = f"journalctl {'--user-unit ' if user else '-u '}{clean_line(unit.name)} -b"
                excerpts.append(
                    Excerpt(f"journal.{clean_line(unit.name)}", shown, text[-MOST_OF_A_LOG:], len(text) > MOST_OF_A_LOG)
                )
        except ServiceError as error:
            missing.append(f"the journal of {clean_line(unit.name)}: {error}")
    missing += [f"a part of the journal: {hidden}"] if hidden else []
    return ServiceLogs(tuple(events), tuple(excerpts), tuple(missing))


def _output(argv: list[str]) -> tuple[str, str]:
    """Return what journalctl wrote, and what it reported of messages that this user may not see."""
    finished = run(argv, _ASKED)
    if finished.status:
        printed = clean_line(finished.error, 200) or f"exit {finished.status}"
        raise ServiceError(f"journalctl failed: {printed}")
    hint = "not seeing messages" in finished.error
    return finished.output, "this user may not see all of it; the group systemd-journal may" if hint else ""


def _manager_events(output: str, unit: str) -> Iterator[Event]:
    for line in output.splitlines():
        try:
            printed: dict[str, Any] = json.loads(line)
            at = int(printed["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError):
            continue
        what = _manager_word(printed)
        if what:
            yield Event(at, Kind.SERVICE, f"{unit} {what}")


def _manager_word(printed: Mapping[str, Any]) -> str:
    """Return what a message of the manager says of a unit, empty for those that add nothing."""
    message = str(printed.get("MESSAGE_ID", ""))
    if message in _PLAIN:
        return _PLAIN[message]
    if message == _PROCESS_ENDED:
        how = ended_how(str(printed.get("EXIT_CODE", "")), str(printed.get("EXIT_STATUS", "")))
        return f"ended: {how}" if how else ""
    if message == _FAILED:
        result = clean_line(str(printed.get("UNIT_RESULT", "")), 60)
        return "" if result in _NAMED_BY_THE_PROCESS else f"failed: {result}"
    if "repeated too quickly" in str(printed.get("MESSAGE", "")):
        return "was given up: its start limit was hit"
    return ""


def _from_supervisor(settings: Settings, since: float | None) -> ServiceLogs:
    events: list[Event] = []
    excerpts: list[Excerpt] = []
    missing: list[str] = []
    names = {unit.name.rpartition(":")[2]: unit.name for unit in settings.services.units}
    control = None
    try:
        control = SupervisorControl(settings.services.socket)
        for each in run_events(control.manager_log(MOST)):
            if each.name in names and (since is None or each.at >= since):
                events.append(Event(each.at, Kind.SERVICE, f"{clean_line(names[each.name])} {clean_line(each.what)}"))
    except ServiceError as error:
        missing.append(f"service events: {error}")
    for unit in settings.services.units:
        if unit.role is not Role.DATABASE:
            continue
        try:
            if control is None:
                raise ServiceError("supervisord cannot be asked where it is")
            path = Path(control.log_file(unit.name))
            read = read_text(path, MOST_OF_A_LOG, end=True)
            name = f"supervisor.{clean_line(unit.name)}"
            excerpts.append(Excerpt(name, clean_line(str(path)), read.text, read.cut))
        except (ServiceError, Unreadable) as error:
            missing.append(f"the log of {clean_line(unit.name)}: {error}")
    return ServiceLogs(tuple(events), tuple(excerpts), tuple(missing))
