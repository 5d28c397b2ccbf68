"""`init`: find the running station and write the settings file that a person would have written."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click

from console import paths
from console.commands.options import Invocation, station_options
from console.errors import WalmedicError
from console.settings import COMMAND_LINE, RedisSettings, Settings, Unit, load

_SHOWN = ("db_root", "host", "pg_port", "http_port", "health_port", "jar", "java", "log")


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), help="The file to write (default: the user's settings file)."
)
@click.option("--print", "only_print", is_flag=True, help="Show the file and write nothing.")
@station_options
def init(invocation: Invocation, output: Path | None, only_print: bool) -> int:
    """Find the running station and write a settings file.

    Nothing else is touched, and a file that is there already is never overwritten. Look at what it says in doubt.
    """
    from console.probes.discovery import discover

    given = invocation.settings
    named = given.questdb.db_root if given.sources.get("questdb.db_root") == COMMAND_LINE else ""
    found = discover(named, load().redis)
    text = render(found.settings)
    place = output or paths.default_settings_file()
    if not only_print:
        _write(place, text)
    if invocation.as_json:
        sources = dict(found.settings.sources)
        invocation.emit(
            {
                "schema": 1,
                "file": None if only_print else str(place),
                "content": text,
                "sources": sources,
                "doubts": list(found.doubts),
            }
        )
        return 0
    click.echo(text, nl=False)
    for doubt in found.doubts:
        click.echo(f"? {doubt}", err=True)
    if not only_print:
        click.echo(f"written to {place}; `walmedic doctor` says whether all of it can be reached", err=True)
    return 0


def render(settings: Settings) -> str:
    """Return `settings` as TOML with the source of each value; no secret is ever among them."""
    return "\n".join([*_lines(settings)]) + "\n"


def _lines(settings: Settings) -> Iterator[str]:
    quest, queue, services = settings.questdb, settings.redis, settings.services
    yield "# Written by walmedic init from what was running. Passwords go into the environment"
    yield "# (WALMEDIC_QUESTDB_PASSWORD, WALMEDIC_REDIS_PASSWORD), or here once the file is yours alone (chmod 600)."
    yield _pair("station", settings.station, settings, "station")
    yield "\n[questdb]"
    for name in _SHOWN:
        value = getattr(quest, name)
        if value:
            yield _pair(name, value, settings, f"questdb.{name}")
    yield "\n[redis]"
    yield from _queue(queue, settings)
    for stream in queue.streams:
        yield "\n[[redis.streams]]"
        yield _pair("name", stream.name)
        yield _pair("group", stream.group)
        if stream.table:
            yield _pair("table", stream.table)
        if stream.max_length:
            yield _pair("max_length", stream.max_length, settings, f"redis.streams.{stream.name}.max_length")
        else:
            yield "# max_length = 0  # the feed's MAXLEN, if any: walmedic then says when unread entries are trimmed"
    yield "\n[services]"
    yield _pair("backend", services.backend, settings, "services.backend")
    if services.namespace:
        yield _pair("namespace", services.namespace, settings, "services.namespace")
    if services.socket:
        yield _pair("socket", services.socket, settings, "services.socket")
    for unit in services.units:
        yield "\n[[services.units]]"
        yield _pair("name", unit.name)
        yield _pair("role", unit.role.value)
        yield from _own_words(unit)


def _queue(queue: RedisSettings, settings: Settings) -> Iterator[str]:
    """Yield where Redis is; what a URL says is not said again."""
    usual = RedisSettings()
    said = () if queue.url else ("host", "socket", "database", "user", "tls")
    if not queue.url and not queue.socket and not queue.nodes:
        yield _pair("port", queue.port, settings, "redis.port")
    for name in ("url", *said, "ca", "certificate", "key", "sentinel_master", "sentinel_user", "cluster"):
        value = getattr(queue, name)
        if value != getattr(usual, name):
            yield _pair(name, value, settings, f"redis.{name}")
    if queue.nodes:
        yield f"nodes = [{', '.join(_written(node) for node in queue.nodes)}]"


def _own_words(unit: Unit) -> Iterator[str]:
    """Yield what a unit says besides name and role, by hand or of its commands."""
    for name in ("up", "process"):
        if getattr(unit, name):
            yield _pair(name, getattr(unit, name))
    for name in ("status", "stop", "start", "log"):
        if argv := getattr(unit, name):
            yield f"{name} = [{', '.join(_written(word) for word in argv)}]"


def _pair(name: str, value: str | int, settings: Settings | None = None, key: str = "") -> str:
    source = settings.sources.get(key, "the usual one") if settings else ""
    return f"{name} = {_written(value)}" + (f"  # {source}" if source else "")


def _written(value: str | int) -> str:
    """Return a TOML value: a JSON string is a TOML basic string, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(place: Path, text: str) -> None:
    """Write a new file of mode 0600. Raises WalmedicError where there is one, or it cannot be made."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise WalmedicError(f"{place} is there already and is not overwritten; --print shows what was found") from None
    except OSError as error:
        raise WalmedicError(f"{place} cannot be written ({error.strerror}); name another with --output") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
