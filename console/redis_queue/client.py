"""Connections to the station's Redis, and what their failures mean in a sentence. The client never retries."""

import errno
import re
import ssl
from typing import Any, Final, TypeVar

import redis
import redis.asyncio
from redis import _parsers as parsers
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from console.settings import RedisSettings
from console.text import clean_line

E = TypeVar("E", bound=BaseException)
_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
MOST_BYTES: Final = 64 << 20  # of one answer; the largest asked for are 5,000 entries
MOST_LINES: Final = 2_000_000  # each is an object here, of far more bytes than on the wire
_PROMISE: Final = re.compile(rb"(?:^|\r\n)(?:\$\d{9}|[*%~>]\d{7})")  # a length that no answer has
NOT_REDIS: Final = (AttributeError, TypeError, KeyError, IndexError, ValueError)
"""What the client raises where the answer has not the form of any that Redis gives."""


class AnswerTooLargeError(InvalidResponse):
    """An answer that is larger than anything that Redis says to what is asked."""


class _BoundedReader:
    """Hiredis's reader, given no more than an answer may have."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._bytes = self._lines = 0

    def feed(self, data: Any, *span: int) -> None:
        start, length = span or (0, len(data))
        given = bytes(memoryview(data)[start : start + length])
        self._bytes += len(given)
        self._lines += given.count(b"\r\n")
        if self._bytes > MOST_BYTES or self._lines > MOST_LINES or _PROMISE.search(given):
            raise AnswerTooLargeError(f"answers with more than {MOST_BYTES >> 20} MiB at once")
        self._reader.feed(given)

    def gets(self, *decode: bool) -> Any:
        found = self._reader.gets(*decode)
        if found is not parsers.hiredis.NOT_ENOUGH_DATA:
            self._bytes = self._lines = 0
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class BoundedParser(parsers._HiredisParser):
    """For a synchronous connection: `ConnectionPool(parser_class=BoundedParser)`."""

    def on_connect(self, connection: Any, **kwargs: Any) -> None:
        super().on_connect(connection, **kwargs)  # type: ignore[no-untyped-call]
        self._reader = _BoundedReader(self._reader)  # type: ignore[assignment]


class BoundedAsyncParser(parsers._AsyncHiredisParser):
    """The same for asyncio."""

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        self._reader = _BoundedReader(self._reader)  # type: ignore[assignment]


class LocationError(RedisError):
    """Where the streams are cannot be told; the message is the whole sentence."""


FAILURES: Final = (RedisError, OSError, TimeoutError, *NOT_REDIS)
"""What a call raises that Redis does not answer, or not as a Redis does."""


def connect(settings: RedisSettings, seconds: float) -> redis.Redis:
    """Return a client of one server, of which every answer comes within `seconds`. It connects at the first call."""
    kinds = (redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection)
    pool = redis.ConnectionPool(
        _kind(settings, kinds), **_login(settings, seconds), retry=Retry(NoBackoff(), 0), parser_class=BoundedParser
    )
    return redis.Redis.from_pool(pool)


def connect_async(settings: RedisSettings, seconds: float) -> redis.asyncio.Redis:
    """Return the same for asyncio."""
    kinds = (redis.asyncio.Connection, redis.asyncio.SSLConnection, redis.asyncio.UnixDomainSocketConnection)
    pool = redis.asyncio.ConnectionPool(
        _kind(settings, kinds),
        **_login(settings, seconds),
        retry=AsyncRetry(NoBackoff(), 0),
        parser_class=BoundedAsyncParser,
    )
    return redis.asyncio.Redis.from_pool(pool)


def refused(error: Exception) -> bool:
    """Return whether Redis lives and does not let this user look."""
    known = isinstance(error, NoPermissionError | AuthorizationError | AuthenticationError)
    return known or str(error).lower().startswith(("noauth", "wrongpass"))


def failure(
    error: Exception, settings: RedisSettings, seconds: float, what: str = "Redis", keys: str = "redis."
) -> str:
    """Return the sentence for one of FAILURES. `what` was asked; `keys` is how the keys of its login begin."""
    if isinstance(error, LocationError):
        return str(error)
    why = _refusal(error, settings, keys) or _tls(error, settings) or _silence(error, settings, seconds)
    return f"{what} at {settings.address} {why}"


def _kind(settings: RedisSettings, kinds: tuple[Any, Any, Any]) -> Any:
    """Return which of the connections to TCP, TCP with TLS, and a unix socket is to be made."""
    return kinds[2] if settings.socket else kinds[1] if settings.tls else kinds[0]


def _login(settings: RedisSettings, seconds: float) -> dict[str, Any]:
    place: dict[str, Any] = {"host": settings.host, "port": settings.port}
    if settings.socket:
        place = {"path": settings.socket}
    elif settings.tls:
        place |= {
            "ssl_ca_certs": settings.ca or None, "ssl_certfile": settings.certificate or None,
            "ssl_keyfile": settings.key or None, "ssl_cert_reqs": "required", "ssl_check_hostname": True,
        }  # fmt: skip
    return place | {
        "db": settings.database, "username": settings.user or None, "password": settings.password or None,
        "socket_timeout": seconds, "socket_connect_timeout": min(seconds, 3.0), "client_name": "walmedic",
        "decode_responses": True, "encoding_errors": "replace",
    }  # fmt: skip


def _refusal(error: Exception, settings: RedisSettings, keys: str) -> str:
    """Return the rest of the sentence `Redis at PLACE …` if it lives and refuses; empty if that is not it."""
    message = clean_line(str(error), 200)
    user = clean_line(settings.user)
    if isinstance(error, NoPermissionError):
        return f"does not let {f'user {user}' if user else 'this user'} look: {message}"
    if refused(error):
        if not settings.password:
            return f"asks for a password: set {f'walmedic_{keys}password'.replace('.', '_').upper()}"
        if user:
            return f"refuses user {user} with this password: check {keys}user, {keys}password, and that it is on"
        return (
            f"refuses the default user with this password: check {keys}password, and whether that user is switched "
            f"on; {keys}user names another"
        )
    if isinstance(error, MovedError):
        return "is a node of a cluster: set redis.cluster = true"
    if isinstance(error, AnswerTooLargeError):
        return f"{message}: whatever listens there is not the Redis that it should be"
    return f"refused: {message}" if isinstance(error, ResponseError) else ""


def _tls(error: Exception, settings: RedisSettings) -> str:
    """Return the rest of the sentence if TLS failed, by OpenSSL's codes; empty if that is not it."""
    untrusted = _caused_by(error, ssl.SSLCertVerificationError)
    if untrusted is not None:
        why = clean_line(untrusted.verify_message)
        match untrusted.verify_code:
            case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
                return f"shows a certificate for another name ({why}): use the name that is in the certificate"
            case 9 | 10:  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
                return (
                    f"shows a certificate that is not valid today ({why}): renew it, or set the clock of this machine"
                )
        ca = f"that {clean_line(settings.ca)} does not trust" if settings.ca else "that this machine does not trust"
        return f"shows a certificate {ca} ({why}): set redis.ca to the file of its authority"
    failed = _caused_by(error, ssl.SSLError)
    if failed is None or isinstance(failed, _ENDED):
        return ""
    reason = str(failed.reason or "")
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return "does not speak TLS on this port: use redis:// in redis.url, or the port that does"
    if "CERTIFICATE_REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and not settings.certificate):
        return "asks for a client certificate: set redis.certificate and redis.key"
    if "ALERT" in reason and settings.certificate:
        return f"refuses the certificate of redis.certificate ({clean_line(reason)})"
    return f"cannot be reached by TLS ({clean_line(reason or str(failed), 100)})"


def _silence(error: Exception, settings: RedisSettings, seconds: float) -> str:
    """Return the rest of the sentence if it does not answer, or not as a Redis."""
    message = clean_line(str(error), 200)
    low = message.lower()
    if isinstance(error, NOT_REDIS):
        return f"answers as no Redis does ({type(error).__name__}): check redis.port"
    if isinstance(error, TimeoutError | RedisTimeoutError):
        # A Redis without TLS waits for the end of a line in the handshake.
        hint = "; if it does not speak TLS, use redis:// in redis.url" if settings.tls else ""
        return f"accepts connections and does not answer within {seconds:g} s{hint}"
    system = _caused_by(error, OSError)
    number = system.errno if system is not None else None
    if settings.socket and number in (errno.ENOENT, errno.ENOTDIR):
        return "cannot be reached: there is no such socket"
    if settings.socket and number in (errno.EACCES, errno.EPERM):
        return "cannot be reached: this user may not open the socket"
    if number == errno.ECONNREFUSED or "refused" in low or f"error {errno.ECONNREFUSED} " in low:
        return "refuses connections: nothing listens there"
    if (
        _caused_by(error, ssl.SSLError) is not None
        or "closed" in low
        or "reset" in low
        or number in (errno.EPIPE, errno.ECONNRESET)
    ):
        if settings.tls and not settings.certificate:
            return "closed the connection; if it asks for a client certificate, set redis.certificate and redis.key"
        return "closed the connection" + (
            "" if settings.tls or settings.socket else "; if it takes TLS only: rediss://"
        )
    return f"cannot be reached: {message or type(error).__name__}"


def _caused_by(error: BaseException | None, kind: type[E]) -> E | None:
    """Return the first of `kind` among `error` and what it was raised for."""
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
