"""Which QuestDB a rehearsal starts: the station's own jar and Java, never one from elsewhere.

Taken in this order: the settings, the command line of the server that runs on the database, the one last seen running
there, the unit file of the station's database; last the jar of the version that ran here, by its Maven coordinates,
where the setting `questdb.maven` allows it. Else nothing is downloaded.
"""

import contextlib
import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path

from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.questdb.server_processes import CommandLine, parse, servers
from console.questdb.server_version import Version, read_versions, version_of_jar
from console.recovery.server.coordinates import NoBinaryError, jar_of
from console.recovery.server.jvm import LEAST_JAVA, ServerBinary, java_version
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir, write_private
from console.settings import Role, Settings
from console.text import clean_line

_SETTINGS = "settings"
_MAIN = "io.questdb.ServerMain"


def server_binary(settings: Settings, database: DatabaseRoot, state: StateDir) -> tuple[ServerBinary, str]:
    """Return what to run for `database` and from where that is known.

    Raises NoBinaryError naming the setting that would say it.
    """
    line, origin = _known(note_running(database, state), settings, database, state)
    jar, java = line.jar, line.java
    last = read_versions(database.db).last
    if not jar and last is not None and settings.questdb.maven:
        jar, origin = str(jar_of(last, settings.questdb.maven)), f"Maven, org.questdb:questdb:{last}"
    if not jar:
        which = f"; QuestDB {last} ran here last (Maven: org.questdb:questdb:{last})" if last is not None else ""
        raise NoBinaryError(
            f"no server runs on {database.root} and none was seen there, so it is not known which QuestDB to rehearse "
            f"with{which}; name its jar: questdb.jar in the settings file, WALMEDIC_QUESTDB_JAR, or --jar; or allow "
            "it to be fetched: questdb.maven, or --maven"
        )
    _check_jar(Path(jar), origin)
    return ServerBinary(Path(jar), _java(settings.questdb.java or java)), origin


def version_to_start(settings: Settings, database: DatabaseRoot, state: StateDir) -> tuple[Version | None, str]:
    """Return the version that the station's next start runs, and what tells it; None where nothing does."""
    line, origin = _known(running(database), settings, database, state)
    version = version_of_jar(Path(line.jar)) if line.jar else None
    if version is not None:
        return version, f"the jar of {origin}" if origin != _SETTINGS else "the jar in the settings"
    return read_versions(database.db).last, "the last start on this data root"


def _known(
    seen: CommandLine | None, settings: Settings, database: DatabaseRoot, state: StateDir
) -> tuple[CommandLine, str]:
    """Return the first of the jars that are known, with its java and what tells it; an empty one where none is."""
    if settings.questdb.jar:
        return CommandLine(settings.questdb.jar, settings.questdb.java, ""), _SETTINGS
    found = ((line, origin) for line, origin in _found(seen, settings, database, state) if line.jar)
    return next(found, (CommandLine("", "", ""), ""))


def note_running(database: DatabaseRoot, state: StateDir) -> CommandLine | None:
    """Return the command line of the server that runs on `database` and remember it for when it is down."""
    line = running(database)
    if line is not None and line.jar:
        path = _remembered(database, state)
        with contextlib.suppress(OSError, WalmedicError):
            state.made(path.parent)
            write_private(path, json.dumps({"jar": line.jar, "java": line.java, "root": line.root}).encode())
    return line


def running(database: DatabaseRoot) -> CommandLine | None:
    """Return the command line of the server on `database`, as /proc tells it; None where there is none to be seen.

    Of a server in a container jar and java are by their names here, empty where they have none.
    """
    for server in servers():
        if server.serves(database.root):
            return CommandLine(server.jar, server.java, str(database.root))
    return None


def _found(
    seen: CommandLine | None, settings: Settings, database: DatabaseRoot, state: StateDir
) -> list[tuple[CommandLine, str]]:
    found = [(seen, "the running server")] if seen is not None else []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(_remembered(database, state).read_bytes())
        line = CommandLine(str(document["jar"]), str(document["java"]), str(document["root"]))
        if Path(line.jar).is_file():
            found.append((line, "the server last seen there"))
    if not settings.bare:
        found += [(line, "the unit file") for line in _unit_files(settings, database)]
    return found


def _unit_files(settings: Settings, database: DatabaseRoot) -> list[CommandLine]:
    from console.services.control import control_for

    units = [unit for unit in settings.services.units if unit.role is Role.DATABASE]
    found: list[CommandLine] = []
    with contextlib.suppress(WalmedicError, OSError):
        services = control_for(settings)
        for sample in services.states(units) if services is not None and units else ():
            if sample.unit_file:
                found += of_unit_file(Path(sample.unit_file), database)
    return found


def of_unit_file(path: Path, database: DatabaseRoot) -> list[CommandLine]:
    """Return the command lines of a systemd unit file that start a server on `database`. Raises OSError."""
    found = []
    text = path.read_text(errors="replace").replace("\\\n", " ")
    for command in re.findall(r"(?m)^ExecStart=[@:+!-]*(.+)$", text):
        with contextlib.suppress(ValueError):
            line = parse(shlex.split(command), Path("/"))
            if line is not None and _same_root(line.root, database):
                found.append(line)
    return found


def _remembered(database: DatabaseRoot, state: StateDir) -> Path:
    return state.root / "servers" / f"{root_key(database.db)}.json"


def _same_root(root: str, database: DatabaseRoot) -> bool:
    try:
        return root_key(Path(root) / "db") == root_key(database.db)
    except OSError:
        return False


def _check_jar(jar: Path, origin: str) -> None:
    try:
        with zipfile.ZipFile(jar) as archive:
            archive.getinfo(f"{_MAIN.replace('.', '/')}.class")
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        why = "it holds no QuestDB" if isinstance(error, KeyError) else clean_line(str(error), 200)
        raise NoBinaryError(
            f"{clean_line(str(jar))} (from {origin}) cannot be used as QuestDB's jar: {why}; name the right one with "
            "questdb.jar in the settings file, or --jar"
        ) from error


def _java(named: str) -> Path:
    path = shutil.which(named) if named else shutil.which("java")
    if path is None:
        raise NoBinaryError(
            f"there is no Java {'at ' + clean_line(named) if named else 'on PATH'}; install Java {LEAST_JAVA} or "
            "later, or name it: questdb.java in the settings file, or --java"
        )
    version = java_version(Path(path))
    if version is None or version < LEAST_JAVA:
        raise NoBinaryError(
            f"{clean_line(path)} is {f'Java {version}' if version else 'no Java that answers'}; QuestDB needs "
            f"Java {LEAST_JAVA} or later: name one with questdb.java in the settings file, or --java"
        )
    return Path(path)
