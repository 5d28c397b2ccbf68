"""What can be reached and done here, and from where each setting is known: the checks behind `walmedic doctor`."""

import asyncio
import dataclasses
import os
import platform
import shutil
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import __version__
from console.diagnosis.server.liveness import Life, liveness
from console.errors import WalmedicError
from console.probes.backlog import BacklogProbe
from console.probes.checks import Check, Level
from console.probes.checkup_server import check_server
from console.probes.checkup_user import check_user
from console.probes.contents import UnitState
from console.probes.journal import JournalProbe
from console.probes.precautions import precautions
from console.probes.sample import Probe, Sample, Status
from console.probes.scheduler import read_once
from console.probes.services import ServicesProbe
from console.questdb.layout import DatabaseRoot
from console.questdb.version_behaviour import behaviour_of
from console.recovery.guard.state import read_state
from console.recovery.server.binary import running as running_server
from console.recovery.server.binary import version_to_start
from console.recovery.store.places import free_space
from console.recovery.store.state import StateDir
from console.settings import Settings, is_secret
from console.text import clean_line, plural


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """One setting, its value as it may be shown, and where it comes from."""

    key: str
    value: str
    source: str


def known_settings(settings: Settings) -> tuple[KnownSetting, ...]:
    """Return every setting with its source; of a secret only whether it is set."""
    return tuple(_settings_of(settings, settings, ""))


def _settings_of(settings: Settings, value: Any, prefix: str) -> Iterator[KnownSetting]:
    for field in dataclasses.fields(value):
        key, content = f"{prefix}{field.name}", getattr(value, field.name)
        if key in ("file", "bare", "sources"):
            continue
        if dataclasses.is_dataclass(content):
            yield from _settings_of(settings, content, f"{key}.")
            continue
        source = settings.sources.get(key, "default")
        if is_secret(key):
            usual = content and source == "default"
            shown = ("set, not shown" if not usual else "QuestDB's usual one") if content else "not set"
        elif isinstance(content, Mapping):
            shown = ", ".join(f"{name} = {value}" for name, value in content.items()) or "the usual ones"
        elif isinstance(content, tuple):
            shown = ", ".join(str(getattr(each, "name", each)) for each in content) or "none"
        else:
            shown = str(content)
        yield KnownSetting(key, clean_line(shown) or "not set", clean_line(source))


async def checkup(settings: Settings) -> tuple[Check, ...]:
    """Return what can be reached and done here. Takes as long as the slowest source's deadline; never raises."""
    gathered = await asyncio.gather(
        _guarded("QuestDB", lambda: check_server(settings)),
        _guarded("Redis", lambda: _queue(settings)),
        _guarded("services", lambda: _services(settings)),
        _guarded("journal", lambda: _journal(settings)),
    )
    return (
        Check("walmedic", Level.OK, f"{__version__} on Python {platform.python_version()}, {platform.system()}"),
        *_settings_file(settings),
        *_data_root(settings),
        *_state_dir(settings),
        _guard(settings),
        *(check for checks in gathered for check in checks),
    )


async def _guarded(subject: str, check: Callable[[], Coroutine[Any, Any, list[Check]]]) -> list[Check]:
    try:
        return await check()
    except WalmedicError as error:
        return [Check(subject, Level.PROBLEM, str(error))]


def _settings_file(settings: Settings) -> list[Check]:
    if settings.bare:
        return [
            Check("settings", Level.NOTE, "a directory of no configured station: services, Redis and SQL not checked")
        ]
    if not settings.file:
        return [Check("settings", Level.NOTE, "no settings file was read; defaults, environment and flags only")]
    return [Check("settings", Level.OK, f"read from {clean_line(settings.file)}")]


def _data_root(settings: Settings) -> list[Check]:
    """Check the files: found, readable, ours to repair, room to do it."""
    if not settings.questdb.db_root:
        return [Check("data root", Level.PROBLEM, "not configured; name it with --db-root or questdb.db_root")]
    try:
        database = DatabaseRoot.locate(Path(settings.questdb.db_root))
        tables = database.tables()
    except WalmedicError as error:
        closed = isinstance(error.__cause__, PermissionError)
        user = check_user(settings, Path(settings.questdb.db_root)) if closed else ()
        return [Check("data root", Level.PROBLEM, str(error)), *user]
    owner = _owner(database.db)
    found = [Check("data root", Level.OK, f"{database.root}, {plural(len(tables), 'table')}, owned by {owner}")]
    found += check_user(settings, database.db)
    lives = liveness(database.db, settings.questdb)
    level = Level.OK if lives.life is not Life.UNKNOWN else Level.PROBLEM if lives.may_write else Level.NOTE
    found.append(Check("server lock", level, lives.sentence))
    return [
        *found, _version(settings, database), disk_room("disk of the data", database.db),
        _rehearsal(settings, database), *precautions(settings, database),
    ]  # fmt: skip


def _version(settings: Settings, database: DatabaseRoot) -> Check:
    """Say which QuestDB the next start runs: what a start does to damage depends on it."""
    version, origin = version_to_start(settings, database, StateDir(settings.state_path))
    if version is None:
        message = "unknown: set questdb.jar; until then every start is judged by the version that destroys most"
        return Check("QuestDB version", Level.NOTE, message)
    locks = "" if behaviour_of(version).file_locks_hold_wal else "; its purge ignores file locks"
    return Check("QuestDB version", Level.OK, f"{version}, by {origin}{locks}")


def _rehearsal(settings: Settings, database: DatabaseRoot) -> Check:
    """Check whether there is a server binary to rehearse with; nothing is noted."""
    line = running_server(database)
    jar = settings.questdb.jar or (line.jar if line is not None else "")
    if not jar:
        message = "it is not known which QuestDB to rehearse with: start the server once, or set questdb.jar"
        return Check("rehearsal", Level.NOTE, message)
    if not os.access(jar, os.R_OK):
        return Check("rehearsal", Level.PROBLEM, f"{clean_line(jar)} cannot be read: set questdb.jar")
    java = settings.questdb.java or (line.java if line is not None else "") or shutil.which("java") or ""
    if not (java and (shutil.which(java) or os.access(java, os.X_OK))):
        return Check("rehearsal", Level.PROBLEM, "no Java was found to rehearse with: set questdb.java")
    return Check("rehearsal", Level.OK, f"with {clean_line(Path(jar).name)} and {clean_line(java)}")


def _state_dir(settings: Settings) -> list[Check]:
    """Check where journal and evidence go; nothing is made."""
    place = settings.state_path
    there = next((each for each in (place, *place.parents) if each.exists()), Path("/"))
    if not os.access(there, os.W_OK | os.X_OK):
        message = f"{place} cannot be written: without a journal nothing is done; name another with --state-dir"
        return [Check("state directory", Level.PROBLEM, message)]
    if there == place and place.stat().st_mode & 0o022:
        message = f"{place} can be written by others; make it yours alone (chmod 700)"
        return [Check("state directory", Level.PROBLEM, message)]
    made = "" if there == place else ", made when it is needed"
    return [Check("state directory", Level.OK, f"{place}{made}"), disk_room("disk of the evidence", there)]


def _guard(settings: Settings) -> Check:
    """Say how old the guard's copies are: with them repairs are exact."""
    state = read_state(settings.guard_path)
    if state is None:
        return Check("guard", Level.NOTE, "no copies are kept: `walmedic guard` keeps those that make repairs exact")
    age = max(0, int(time.time() - state.at))
    message = f"last looked {age:,} s ago, {plural(state.tables, 'table')}, {state.used >> 20:,} MiB of copies"
    if state.left_out:
        name, why = next(iter(state.left_out.items()))
        return Check("guard", Level.NOTE, f"{message}; {clean_line(name)} is not copied: {clean_line(why)}")
    late = age > 10 * settings.guard.every
    return Check("guard", Level.NOTE if late else Level.OK, f"{message}{'; it does not run' if late else ''}")


def disk_room(subject: str, place: Path) -> Check:
    """Say how much room there is, and whether it is too little for a repair."""
    try:
        free, reserve = free_space(place)
        total = shutil.disk_usage(place).total
    except OSError as error:
        return Check(subject, Level.PROBLEM, f"{place} cannot be measured: {error.strerror}")
    message = f"{_size(free)} of {_size(total)} free, {_size(reserve)} stay free"
    if free < reserve:
        return Check(subject, Level.PROBLEM, f"{message}: too little for any repair, make room first")
    return Check(subject, Level.OK, message)


async def _queue(settings: Settings) -> list[Check]:
    sample = await _read(BacklogProbe(settings))
    if sample.data is None:
        return [_failed("Redis", sample)]
    data = sample.data
    found = [Check("Redis", Level.OK, f"{data.version} at {settings.redis.address}, {data.persistence}")]
    for stream in data.streams:
        if stream.error:
            found.append(Check("Redis", Level.PROBLEM, stream.error))
        else:
            waits = "an unknown number wait" if stream.waiting is None else f"{stream.waiting:,} wait"
            message = f"{stream.stream}: {stream.length:,} entries, {waits} for {stream.group}"
            found.append(Check("Redis", Level.OK, message))
    return [*found, *(Check("Redis", Level.NOTE, warning) for warning in data.warnings)]


async def _services(settings: Settings) -> list[Check]:
    sample = await _read(ServicesProbe(settings))
    if sample.data is None:
        return [_failed("services", sample)]
    found = []
    for unit in sample.data.units:
        well = unit.state is UnitState.UP and not unit.loop
        level = Level.PROBLEM if unit.state is UnitState.UNKNOWN else Level.OK if well else Level.NOTE
        ended = "" if unit.state is UnitState.UP else unit.result
        policy = f"restart policy {unit.restart_policy}" if unit.restart_policy else ""
        how = ", ".join(word for word in (unit.state, unit.health, ended, unit.loop, policy) if word)
        found.append(Check("services", level, f"{unit.name} ({unit.role}): {how}"))
    if sample.data.backend == "systemd" and os.geteuid() != 0:
        message = "this user cannot start or stop system units unless polkit says so; the commands are shown with sudo"
        found.append(Check("services", Level.NOTE, message))
    return found


async def _journal(settings: Settings) -> list[Check]:
    sample = await _read(JournalProbe(settings))
    if sample.data is None:
        return [_failed("journal", sample)]
    if not sample.data.chain_ok:
        return [Check("journal", Level.PROBLEM, f"its chain is broken: {sample.error}")]
    unfinished = [line.entry for line in sample.data.lines if line.outcome == "unfinished"]
    if unfinished:
        message = f"{unfinished[0]} was cut off: run its action again to finish it, or undo it"
        return [Check("journal", Level.NOTE, message)]
    return [Check("journal", Level.OK, f"{plural(len(sample.data.lines), 'entry', 'entries')}, chain whole")]


async def _read(probe: Probe[Any]) -> Sample[Any]:
    try:
        return await read_once(probe)
    finally:
        await probe.close()


def _failed(subject: str, sample: Sample[Any]) -> Check:
    return Check(subject, Level.NOTE if sample.status is Status.UNKNOWN else Level.PROBLEM, sample.error)


def _owner(place: Path) -> str:
    try:
        return place.owner()
    except (KeyError, OSError):
        return f"uid {place.stat().st_uid}"


def _size(count: int) -> str:
    """Return e.g. `12.3 GiB`."""
    return f"{count / 2**30:,.1f} GiB"
