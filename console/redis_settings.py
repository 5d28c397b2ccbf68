"""Where the queue is: one Redis or Valkey, the master that a Sentinel names, or a cluster; and how to log in."""

from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

_TLS: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_FORMS: Final = "redis://HOST:PORT/DATABASE, rediss://… for TLS, or unix:///PATH?db=DATABASE"


@dataclass(frozen=True, slots=True)
class Stream:
    """One Redis stream, the group that reads it, the table it ends in; `max_length` is the feed's MAXLEN (0: none)."""

    name: str
    group: str = "batch-writer"
    table: str = ""
    max_length: int = 0


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where the queue is. `url` says the next seven at once.

    `ca`, `certificate` and `key` are PEM files; without `ca` the system's authorities are trusted. `nodes` are
    `HOST:PORT` of Sentinels, or of nodes of a cluster, to ask first; without them `host` and `port` are asked.
    """

    url: str = ""
    host: str = "127.0.0.1"
    port: int = 6379
    socket: str = ""  # path of its unix socket, instead of host and port
    database: int = 0
    user: str = ""  # of its ACL; empty means `default`
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    nodes: tuple[str, ...] = ()
    sentinel_master: str = ""  # by what name the Sentinels know the master
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)
    cluster: bool = False
    streams: tuple[Stream, ...] = ()

    @property
    def address(self) -> str:
        """Return the place as a sentence names it: `HOST:PORT`, the path of a socket, or a name."""
        if self.sentinel_master:
            return f"{self.sentinel_master} (by Sentinel {', '.join(self.asked)})"
        return self.socket or ", ".join(self.asked)

    @property
    def asked(self) -> tuple[str, ...]:
        """Return `HOST:PORT` of the servers to ask first."""
        return self.nodes or (f"{self.host}:{self.port}",)

    @property
    def local(self) -> bool:
        elsewhere = self.sentinel_master or self.cluster
        return not elsewhere and bool(self.socket or self.host in ("", "127.0.0.1", "localhost", "::1"))

    @property
    def placed(self) -> bool:
        """Return whether somebody has said where it is, other than by a port of this machine."""
        return bool(self.url or self.socket or self.nodes or self.sentinel_master or self.cluster)


def resolved(settings: RedisSettings, given: frozenset[str] = frozenset()) -> RedisSettings:
    """Return `settings` with what its URL says, the password out of the URL; `given` are keys set besides.

    Raises ValueError with the end of a sentence, never a secret.
    """
    if settings.sentinel_master and settings.cluster:
        raise ValueError("redis.sentinel_master and redis.cluster are both set: keep one of them")
    for node in settings.nodes:
        host_and_port(node)
    if not settings.url:
        return settings
    said = _said_by(settings.url)
    if both := sorted(set(said) & given):
        raise ValueError(f"redis.url says what redis.{both[0]} says: keep one of them")
    return replace(settings, url=_shown(settings.url), **said)


def host_and_port(text: str) -> tuple[str, int]:
    """Return the two parts of `HOST:PORT`, `[::1]:6379` included. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"redis.nodes must be HOST:PORT each, not {text!r}")
    return host.strip("[]"), int(port)


def password_in(url: object) -> bool:
    try:
        return isinstance(url, str) and bool(urlsplit(url).password)
    except ValueError:
        return False


def _said_by(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"redis.url must be {_FORMS}; host or port cannot be read") from None
    said: dict[str, Any] = {}
    database = ""
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "db":
            raise ValueError(f"redis.url takes no parameter {name!r}: set redis.{name} if there is such a key")
        database = value
    if parts.scheme == "unix":
        if host or not parts.path.strip("/"):
            raise ValueError(f"redis.url must be {_FORMS}; a path begins with three slashes")
        said["socket"] = unquote(parts.path)
    elif parts.scheme in _TLS and host:
        said["host"] = host
        if port is not None:
            said["port"] = port
        if _TLS[parts.scheme]:
            said["tls"] = True
        database = parts.path.strip("/") or database
    else:
        raise ValueError(f"redis.url must be {_FORMS}")
    if database:
        if not database.isdecimal():
            raise ValueError(f"redis.url: the database must be a number, not {database!r}")
        said["database"] = int(database)
    return said | {key: unquote(value) for key, value in _login(parts.username, parts.password)}


def _login(user: str | None, password: str | None) -> list[tuple[str, str]]:
    return [(key, value) for key, value in (("user", user), ("password", password)) if value]


def _shown(url: str) -> str:
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login.partition(':')[0]}{at}{place}" if at else place).geturl()
