"""Connections to the station's Redis, and what their failures mean in a sentence. The client never retries."""

import errno
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from console.redis_queue.answers import NOT_REDIS, AnswerTooLargeError, BoundedAsyncParser, BoundedParser
from console.settings import RedisSettings
from console.text import clean_line

FAILURES: Final = (RedisError, OSError, TimeoutError, *NOT_REDIS)
"""What a call raises that Redis does not answer, or not as a Redis does."""


def connect(settings: RedisSettings, seconds: float) -> redis.Redis:
    """Return a client of which every answer comes within `seconds`. It connects at the first call."""
    pool = redis.ConnectionPool(**_login(settings, seconds), retry=Retry(NoBackoff(), 0), parser_class=BoundedParser)
    return redis.Redis.from_pool(pool)


def connect_async(settings: RedisSettings, seconds: float) -> redis.asyncio.Redis:
    """Return the same for asyncio."""
    pool = redis.asyncio.ConnectionPool(
        **_login(settings, seconds), retry=AsyncRetry(NoBackoff(), 0), parser_class=BoundedAsyncParser
    )
    return redis.asyncio.Redis.from_pool(pool)


def refused(error: Exception) -> bool:
    """Return whether Redis lives and does not let this user look."""
    known = isinstance(error, NoPermissionError | AuthorizationError | AuthenticationError)
    return known or str(error).lower().startswith(("noauth", "wrongpass"))


def failure(error: Exception, settings: RedisSettings, seconds: float) -> str:
    """Return the sentence for one of FAILURES."""
    why = _why(error, seconds, given=bool(settings.password))
    return f"Redis at {settings.host}:{settings.port} {why}"


def _login(settings: RedisSettings, seconds: float) -> dict[str, Any]:
    return {
        "host": settings.host, "port": settings.port, "password": settings.password or None,
        "socket_timeout": seconds, "socket_connect_timeout": min(seconds, 3.0), "client_name": "walmedic",
        "decode_responses": True, "encoding_errors": "replace",
    }  # fmt: skip


def _why(error: Exception, seconds: float, *, given: bool) -> str:
    """Return the rest of the sentence `Redis at HOST:PORT …`."""
    message = clean_line(str(error), 200)
    low = message.lower()
    if isinstance(error, NoPermissionError):
        return f"does not let this user look: {message}"
    if refused(error):
        if given:
            return (
                "refuses the default user with this password: check redis.password, and whether that user is switched "
                "on; walmedic logs in as no other"
            )
        return "asks for a password: set WALMEDIC_REDIS_PASSWORD"
    if isinstance(error, NOT_REDIS):
        return f"answers as no Redis does ({type(error).__name__}): check redis.port"
    if isinstance(error, AnswerTooLargeError):
        return f"{message}: whatever listens there is not the Redis that it should be"
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return f"accepts connections and does not answer within {seconds:g} s"
    if "refused" in low or f"error {errno.ECONNREFUSED} " in low:
        return "refuses connections: nothing listens there"
    if "closed" in low or "reset" in low:
        return "closed the connection"
    if isinstance(error, ResponseError):
        return f"refused: {message}"
    return f"cannot be reached: {message or type(error).__name__}"
