"""Settings: one frozen value from defaults, a TOML file, the environment and flags, each stronger than the last.

Secrets come only from the environment, a file of mode 0600 or a systemd credential; they are kept out of `repr`, logs
and `doctor`.
"""

import os
import re
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from console import paths, redis_settings
from console.action_settings import GuardSettings as GuardSettings
from console.action_settings import PartitionSettings as PartitionSettings
from console.action_settings import SalvageSettings as SalvageSettings
from console.errors import WalmedicError
from console.redis_settings import RedisSettings as RedisSettings
from console.redis_settings import Stream as Stream

S = TypeVar("S", bound=Any)


COMMAND_LINE: Final = "command line"
"""Where a setting is from that a flag gave."""


class SettingsError(WalmedicError):
    """A settings file or variable that cannot be used; the message names file and key."""


class Role(StrEnum):
    """What a service is to the station; advice such as "stop the writer, keep the feeds" rests on it."""

    DATABASE = "database"
    WRITER = "writer"
    FEED = "feed"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Unit:
    """One service as its backend names it.

    Backend `command`: `status`, `stop`, `start` and `log` are argv lists; `up` is text in the output of `status` that
    means it runs (empty: exit status 0 does). Backend `by-hand`: `process` is text in the command line of its process.
    """

    name: str
    role: Role
    status: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    up: str = ""
    process: str = ""


@dataclass(frozen=True, slots=True)
class QuestDBSettings:
    """Where the server is. `jar` and `java` are for rehearsals; empty means: as the running server, else PATH.
    `maven` allows a jar that is not known to be fetched: `mvn`, or a Maven repository's URL; empty: never."""

    db_root: str = ""
    host: str = "127.0.0.1"
    pg_port: int = 8812
    http_port: int = 9000
    health_port: int = 9003
    user: str = "admin"
    password: str = field(default="quest", repr=False)
    database: str = "qdb"
    readonly_user: str = ""  # observe with this one where the server has it (pg.readonly.user.enabled)
    readonly_password: str = field(default="", repr=False)
    jar: str = ""
    java: str = ""
    maven: str = ""
    log: str = ""  # the server's own log file, where it has one

    def observing(self) -> "QuestDBSettings":
        """Return these settings for whoever only looks: the read-only user, where one is set, in the operator's place.

        The password of the one who may write is not among them then.
        """
        if not self.readonly_user:
            return self
        return replace(self, user=self.readonly_user, password=self.readonly_password)


@dataclass(frozen=True, slots=True)
class ServicesSettings:
    """Which backend runs the services: one of BACKENDS."""

    backend: str = "none"
    socket: str = ""  # supervisor: path of its unix socket
    units: tuple[Unit, ...] = ()
    namespace: str = ""  # kubernetes: empty means that of kubectl's context

    def named(self, role: Role) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.units if unit.role is role)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `sources` maps a dotted key to where its value came from, for `doctor`."""

    station: str = ""
    state_dir: str = ""
    questdb: QuestDBSettings = field(default_factory=QuestDBSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    services: ServicesSettings = field(default_factory=ServicesSettings)
    salvage: SalvageSettings = field(default_factory=SalvageSettings)
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    guard: GuardSettings = field(default_factory=GuardSettings)
    file: str = ""
    bare: bool = False  # a directory that belongs to no configured station: no services, no SQL
    mouse: bool = False  # whether the console takes the mouse
    keys: Mapping[str, str] = field(default_factory=dict, hash=False)  # name of a binding -> keys, parted by commas
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    def observing(self) -> "Settings":
        """Return these settings for whoever only looks; see QuestDBSettings."""
        return replace(self, questdb=self.questdb.observing())

    @property
    def state_path(self) -> Path:
        """Return the folder for journal, evidence and locks."""
        return Path(self.state_dir) if self.state_dir else paths.default_state_dir()

    @property
    def guard_path(self) -> Path:
        return Path(self.guard.to) if self.guard.to else self.state_path / "guard"

    @property
    def station_name(self) -> str:
        """Return the station's name: as set, else the name of the data root's directory."""
        if self.station:
            return self.station
        root = Path(self.questdb.db_root)
        return (root.parent.name if root.name == "db" else root.name) or "station"


_SECRETS = {"questdb.password", "questdb.readonly_password", "redis.password", "redis.sentinel_password"}
_LONGEST_SECRET = 4_096  # bytes
_LONGEST_FILE = 1 << 20  # bytes
_SECRET_KEYS = [tuple(key.split(".")) for key in _SECRETS]
# systemd.unit(5), and what supervisord takes as well: no path, no option, nothing that a terminal obeys.
_UNIT_NAME = re.compile(r"[A-Za-z0-9_@:][A-Za-z0-9_.@:\\-]{0,254}")
_WORKLOAD = re.compile(r"(?:statefulset|deployment)/[a-z0-9][a-z0-9.-]{0,252}")  # as kubectl names one
BACKENDS: Final = (
    "systemd", "systemd-user", "supervisor", "docker", "podman", "kubernetes", "command", "by-hand", "none",
)  # fmt: skip
_NOT_SET = {"file", "bare", "sources"}


def is_unit_name(name: str) -> bool:
    """Return whether a service of this name can be set: no path, no option, nothing that a terminal obeys."""
    return (_UNIT_NAME.fullmatch(name) or _WORKLOAD.fullmatch(name)) is not None


def is_secret(key: str) -> bool:
    """Return whether the setting `key` (dotted) must never be shown."""
    return key in _SECRETS


def _coerce(key: str, value: object, kind: Any, where: str) -> object:
    """Return `value` as `kind`. Raises SettingsError naming `where` and `key`, never a secret."""
    if kind is int:
        try:
            number = int(str(value if isinstance(value, int | str) else ""))
        except ValueError:
            raise SettingsError(f"{where}: {key} must be a whole number, not {reprlib.repr(value)}") from None
        if key.endswith("port") and not 0 < number < 65_536:
            raise SettingsError(f"{where}: {key} must be a port from 1 to 65535, not {number}")
        return number
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and isinstance(value, str):
        return value
    if kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise SettingsError(f"{where}: {key} must be true or false, not {reprlib.repr(value)}")
        return str(value).lower() == "true"
    if kind == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) and "\0" not in each for each in value):
            raise SettingsError(f'{where}: {key} must be a list of words, such as ["sv", "stop", "questdb"]')
        return tuple(value)
    shown = "" if key in _SECRETS else f", not {reprlib.repr(value)}"
    raise SettingsError(f"{where}: {key} must be {'true or false' if kind is bool else 'text'}{shown}")


def _entries(key: str, value: object, kind: type[Stream] | type[Unit], where: str) -> tuple[Any, ...]:
    """Return the tables of an array such as `redis.streams` as records of `kind`."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise SettingsError(f"{where}: {key} must be a list of tables such as [[{key}]]")
    known = {f.name for f in fields(kind)}
    made = []
    for item in value:
        if unknown := set(item) - known:
            raise SettingsError(f"{where}: {key} has no key {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
        if "name" not in item:
            raise SettingsError(f"{where}: every entry of {key} needs a name")
        values = dict(item)
        if kind is Unit:
            try:
                values["role"] = Role(item.get("role", ""))
            except ValueError:
                raise SettingsError(f"{where}: {key}: role must be one of {', '.join(Role)}") from None
        hints = get_type_hints(kind)
        for name in set(values) - {"role"}:
            values[name] = _coerce(f"{key}.{name}", values[name], hints[name], where)
        make: Any = kind
        made.append(make(**values))
    return tuple(made)


def _merge(base: S, values: Mapping[str, Any], where: str, sources: dict[str, str], prefix: str = "") -> S:
    """Return `base` with `values` over it; every key taken is noted in `sources`."""
    hints = get_type_hints(type(base))
    changed: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in hints or key in _NOT_SET:
            known = ", ".join(sorted(set(hints) - _NOT_SET))
            raise SettingsError(f"{where}: there is no setting {key!r}; known here: {known}")
        current = getattr(base, name)
        if name == "keys":
            if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
                raise SettingsError(f'{where}: keys must be a table of names and keys, such as journal = "J"')
            changed[name] = {**current, **value}
            sources[key] = where
            continue
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{where}: {key} must be a table")
            changed[name] = _merge(current, value, where, sources, f"{key}.")
            continue
        if name == "streams":
            changed[name] = _entries(key, value, Stream, where)
        elif name == "units":
            changed[name] = _entries(key, value, Unit, where)
            for unit in changed[name]:
                if not is_unit_name(unit.name):
                    raise SettingsError(
                        f"{where}: {unit.name!a} is no name of a unit: letters, digits and any of :_.@\\- only "
                        "(kubernetes: statefulset/NAME or deployment/NAME)"
                    )
        else:
            changed[name] = _coerce(key, value, hints[name], where)
        if key == "services.backend" and changed[name] not in BACKENDS:
            raise SettingsError(f"{where}: {key} must be one of {', '.join(BACKENDS)}")
        sources[key] = where
    merged: S = replace(base, **changed)
    return merged


_NO_SETTINGS = ("WALMEDIC_CONFIG", "WALMEDIC_TERMINAL")  # where the file is; from which terminal a run was started


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return settings named by variables such as WALMEDIC_QUESTDB_PG_PORT, nested as in the file."""
    sections = {f.name for f in fields(Settings) if f.name in {"questdb", "redis", "services", "salvage", "guard"}}
    found: dict[str, Any] = {}
    for variable, value in environment.items():
        if not variable.startswith("WALMEDIC_") or variable in _NO_SETTINGS:
            continue
        name = variable.removeprefix("WALMEDIC_").lower()
        section = next((s for s in sections if name.startswith(f"{s}_")), None)
        if section:
            found.setdefault(section, {})[name.removeprefix(f"{section}_")] = value
        else:
            found[name] = value
    return found


def _from_credentials(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the secrets that systemd gave the unit (LoadCredential=walmedic.redis.password:…), nested as in the file.

    systemd.exec(5): each is a file of $CREDENTIALS_DIRECTORY that only the unit may read. Raises SettingsError where
    one cannot be read.
    """
    folder = environment.get("CREDENTIALS_DIRECTORY", "")
    found: dict[str, Any] = {}
    for section, name in _SECRET_KEYS if folder else ():
        file = Path(folder) / f"walmedic.{section}.{name}"
        try:
            value = paths.read_file(file, _LONGEST_SECRET).decode().removesuffix("\n")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            why = "is no text" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
            raise SettingsError(f"the credential {file} {why}; see LoadCredential= of the unit") from None
        found.setdefault(section, {})[name] = value
    return found


def _holds_secret(values: Mapping[str, Any]) -> bool:
    queue = values.get("redis")
    if isinstance(queue, dict) and redis_settings.password_in(queue.get("url")):
        return True
    return any(isinstance(values.get(section), dict) and name in values[section] for section, name in _SECRET_KEYS)


def _there(path: Path) -> bool:
    """Return whether there is a settings file; one in a folder that may not be entered is no settings file missing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _from_file(path: Path) -> dict[str, Any]:
    """Return what the TOML file holds. Raises SettingsError in one sentence."""
    try:
        return tomllib.loads(paths.read_file(path, _LONGEST_FILE).decode())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); name another with --config") from error
    except ValueError as error:  # also of a number with thousands of digits
        raise SettingsError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError:
        raise SettingsError(f"{path}: is not valid TOML: it is nested too deeply") from None


def station_files(file: str | Path) -> tuple[Path, ...]:
    """Return the settings files beside `file`, it among them, or those in it if it is a directory: one a station."""
    place = Path(file)
    return tuple(sorted((place if place.is_dir() else place.parent).glob("*.toml"))) if str(file) else ()


def load(
    file: Path | None = None, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of `file` (or WALMEDIC_CONFIG, or the default file), environment and `flags`.

    Of a directory it is the first file in it. Raises SettingsError naming file and key where something is unknown,
    malformed, or a secret that others can read.
    """
    env = os.environ if environment is None else environment
    named = file or (Path(env["WALMEDIC_CONFIG"]) if env.get("WALMEDIC_CONFIG") else None)
    path = named or paths.default_settings_file()
    if path.is_dir():
        path = named = next(iter(station_files(path)), path / "walmedic.toml")
    sources: dict[str, str] = {}
    settings = Settings()
    if named or _there(path):
        values = _from_file(path)
        if _holds_secret(values) and path.stat().st_mode & 0o077:
            raise SettingsError(f"{path}: holds a password and can be read by others; make it yours alone (chmod 600)")
        settings = replace(_merge(settings, values, str(path), sources), file=str(path))
    settings = _merge(settings, _from_credentials(env), "systemd credential", sources)
    settings = _merge(settings, _from_environment(env), "environment", sources)
    if flags:
        settings = _merge(settings, flags, COMMAND_LINE, sources)
    given = frozenset(key.removeprefix("redis.") for key in sources if key.startswith("redis."))
    try:
        queue = redis_settings.resolved(settings.redis, given)
    except ValueError as error:
        raise SettingsError(f"{sources.get('redis.url', path)}: {error}") from None
    return replace(settings, redis=queue, sources=sources)


def for_db_root(settings: Settings, db_root: str) -> Settings:
    """Return `settings` for the database at `db_root`.

    A root that is not the configured station's is a bare one: it keeps the state directory and nothing that would reach
    the station's services, queue or server, so that a copy is never mistaken for the original.
    """
    configured = settings.questdb.db_root
    if configured and _data_root(configured) == _data_root(db_root):
        return settings
    # Which binary to rehearse with leads to no station: it is kept.
    binary = settings.questdb
    questdb = QuestDBSettings(db_root=db_root, jar=binary.jar, java=binary.java, maven=binary.maven)
    bare = Settings(
        state_dir=settings.state_dir, questdb=questdb, salvage=settings.salvage, partition=settings.partition,
        guard=settings.guard, bare=True,
    )  # fmt: skip
    return replace(bare, sources={"questdb.db_root": COMMAND_LINE})


def _data_root(path: str) -> Path:
    resolved = Path(path).resolve()
    return resolved.parent if resolved.name == "db" else resolved
